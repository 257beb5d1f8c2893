package introspect

import (
	"context"
	"errors"
	"sync"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/token"
)

// flights are the questions that are being asked: many requests with one token ask once.
type flights struct {
	mu      sync.Mutex
	running map[cacheKey]*flight
}

// flight is one question. entry and err are set before done is closed.
type flight struct {
	done  chan struct{}
	entry *entry
	err   error
	// abandoned: the request that asked has ended before the answer. Those that wait ask themselves.
	abandoned bool
}

// ask has the server asked about raw, once for all requests that want to know. good: the token was good the last time.
func (v *Verifier) ask(ctx context.Context, i *issuer, key cacheKey, raw string, good bool) (*entry, error) {
	if i.conf.Introspection.CacheFor <= 0 {
		// Every request asks: an answer to a question that was put before this request began may be older than a revocation. What is kept only
		// tells that the token was good.
		e, err := i.question(ctx, raw, good)
		if err == nil {
			v.cache.Set(key, e)
		}
		return e, err
	}
	for {
		f, first := v.flights.join(key)
		if first {
			v.lead(ctx, f, i, key, raw, good)
			return f.entry, f.err
		}
		select {
		case <-ctx.Done():
			return nil, ended(ctx.Err())
		case <-f.done:
		}
		if !f.abandoned {
			return f.entry, f.err
		}
	}
}

// ended is the error of a request whose time is over.
func ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return credential.Unavailable(ReasonFailed, "the server has not answered in the time that the request had")
	}
	return credential.Unavailable(token.ReasonCanceled, "%v", err)
}

func (f *flights) join(key cacheKey) (_ *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running := f.running[key]; running != nil {
		return running, false
	}
	made := &flight{done: make(chan struct{})}
	f.running[key] = made
	return made, true
}

// lead asks, and caches the answer before others may ask again. A panic on the way leaves nobody waiting.
func (v *Verifier) lead(ctx context.Context, f *flight, i *issuer, key cacheKey, raw string, good bool) {
	f.abandoned = true
	f.err = credential.Unavailable(ReasonFailed, "the question was not put")
	defer func() {
		v.flights.mu.Lock()
		delete(v.flights.running, key)
		v.flights.mu.Unlock()
		close(f.done)
	}()
	// Another request may have asked between the look into the cache and here.
	if e, ok := v.cache.GetIfPresent(key); ok && i.stands(e) {
		f.entry, f.err, f.abandoned = e, nil, false
		return
	}
	f.entry, f.err = i.question(ctx, raw, good)
	f.abandoned = f.err != nil && ctx.Err() != nil
	if f.err == nil {
		v.cache.Set(key, f.entry)
	}
}
