package introspect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
)

// endpoint is where one issuer is asked, within limits: a flood of tokens here must not be one there. Safe for concurrent use.
type endpoint struct {
	name   policy.Name
	conf   policy.Introspection
	opts   *Options
	client *client
	// unusable says why it can never be asked.
	unusable string
	// slots are taken by the questions that are being asked, waiting counts the requests that wait for one.
	slots   chan struct{}
	waiting atomic.Int64
	// refusals bounds how often tokens that are not good may have the server asked.
	refusals *rate.Limiter
	counts   counts

	mu     sync.Mutex
	health health
}

// health is what Status tells. Zero times: not yet.
type health struct {
	answered, failed time.Time
	failure          string
	// logged is when the log heard last, and told whether it was of a failure: whoever has one odd token must not be able to fill it.
	logged time.Time
	told   bool
}

func newEndpoint(name policy.Name, conf policy.Introspection, o *Options) *endpoint {
	e := &endpoint{
		name: name, conf: conf, opts: o, slots: make(chan struct{}, o.Questions),
		refusals: rate.NewLimiter(rate.Limit(o.Refusals), o.RefusalBurst),
	}
	var err error
	if e.client, err = newClient(&e.conf, o); err != nil {
		e.unusable = err.Error()
	}
	if why := e.local(); why != "" {
		o.Log.Warn("opaque tokens of issuer can't be told", "issuer", name.String(), "err", why)
	}
	return e
}

// local is what on this machine keeps the server from being asked; empty: nothing.
func (e *endpoint) local() string {
	if e.unusable != "" {
		return e.unusable
	}
	err := e.client.prepare()
	if err == nil {
		_, err = e.client.authorization()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (e *endpoint) close() {
	if e.client != nil {
		e.client.close()
	}
}

// ask puts one question and returns the body of a sound answer. good: the token was good the last time, so it is none of a flood.
func (e *endpoint) ask(ctx context.Context, raw string, good bool) ([]byte, error) {
	if !good && e.refusals.TokensAt(e.opts.Now()) < 1 {
		e.counts.add(resultLimited)
		return nil, credential.Limited(ReasonLimited, "issuer %s was asked for more than %d tokens per second that were not good", e.name, e.opts.Refusals)
	}
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer func() { <-e.slots }()
	body, err := e.client.ask(ctx, raw)
	if err == nil {
		return body, nil
	}
	if ctxErr := ctx.Err(); errors.Is(ctxErr, context.Canceled) {
		return nil, ended(ctxErr) // nobody waits any more: that says nothing of the server
	}
	reason := ReasonFailed
	var refused *refusedError
	if errors.As(err, &refused) {
		reason = ReasonRefused
	}
	err = credential.Unavailable(reason, "issuer %s: %v", e.name, err)
	e.fail(err)
	return nil, err
}

// enter waits for a slot.
func (e *endpoint) enter(ctx context.Context) error {
	select {
	case e.slots <- struct{}{}:
		return nil
	default:
	}
	defer e.waiting.Add(-1)
	if e.waiting.Add(1) > int64(e.opts.Waiting) {
		e.counts.add(resultBusy)
		return credential.Unavailable(ReasonBusy, "issuer %s: %d requests wait already to have it asked", e.name, e.opts.Waiting)
	}
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		e.counts.add(resultBusy)
		return credential.Unavailable(ReasonBusy, "issuer %s: %d questions are being asked, and the time of this request ended before one of them", e.name, e.opts.Questions)
	}
}

// answered notes a sound answer. refusal is why the token is not good, or nil.
func (e *endpoint) answered(refusal error) {
	now := e.opts.Now()
	if refusal != nil {
		e.counts.add(resultRefused)
		e.refusals.AllowN(now, 1)
	} else {
		e.counts.add(resultActive)
	}
	e.mu.Lock()
	healed := e.health.told && now.Sub(e.health.logged) >= logPause
	e.health.answered, e.health.failure = now, ""
	if healed {
		e.health.told, e.health.logged = false, now
	}
	e.mu.Unlock()
	if healed {
		e.opts.Log.Info("issuer answers introspection again", "issuer", e.name.String())
	}
}

// fail notes that there was no sound answer.
func (e *endpoint) fail(err error) {
	e.counts.add(resultFailed)
	e.note(strings.TrimPrefix(credential.Detail(err), "issuer "+e.name.String()+": ")) // it is told beside its name
}

// maxFailure bounds the text of a failure, in bytes, and logPause how often the log hears of it.
const (
	maxFailure = 500
	logPause   = 10 * time.Second
)

// note is logged when it changes, and not often.
func (e *endpoint) note(text string) {
	if len(text) > maxFailure {
		text = strings.ToValidUTF8(text[:maxFailure], "") + " …"
	}
	now := e.opts.Now()
	e.mu.Lock()
	news := e.health.failure != text && now.Sub(e.health.logged) >= logPause
	e.health.failed, e.health.failure = now, text
	if news {
		e.health.told, e.health.logged = true, now
	}
	e.mu.Unlock()
	if news {
		e.opts.Log.LogAttrs(context.Background(), slog.LevelWarn, "opaque tokens of issuer can't be told", slog.String("issuer", e.name.String()), slog.String("err", text))
	}
}

// refusedError is an answer with another status than 200.
type refusedError struct{ status int }

func (r *refusedError) Error() string {
	switch {
	case r.status == 401 || r.status == 403:
		return fmt.Sprintf("the answer is %d: the server does not take our client id and secret, or token", r.status)
	case r.status >= 300 && r.status < 400:
		return fmt.Sprintf("the answer is %d: a redirect, which is not followed with a token", r.status)
	}
	return fmt.Sprintf("the answer is %d", r.status)
}
