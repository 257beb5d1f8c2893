package jwks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Times of fetching.
const (
	minRefresh = time.Minute
	maxRefresh = time.Hour
	minBackoff = 5 * time.Second
	maxBackoff = 5 * time.Minute
)

const (
	acceptKeys     = "application/jwk-set+json, application/json"
	acceptMetadata = "application/json"
)

// fetcher fetches the keys of one source. Used by one goroutine.
type fetcher struct {
	keys   *Keys
	source *Source
	client client
	found  found
	// etag of the document in use, and the URL that gave it.
	etag, etagOf string
	failures     int
	// saved is when the disk heard last, and lastSaved what.
	saved     time.Time
	lastSaved []byte
}

func (k *Keys) newFetcher(s *Source) *fetcher {
	f := &fetcher{keys: k, source: s}
	f.client = client{opts: &k.opts, caFile: s.from.CAFile, tokenFile: s.from.BearerTokenFile}
	if u, err := parseURL(f.address(), s.from.Insecure); err == nil {
		f.client.configured = authorityOf(u)
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			k.opts.Log.Warn("keys of issuer are fetched over http: whoever is on the way can choose them", "issuer", s.name.String())
		}
	}
	return f
}

// address is the configured one.
func (f *fetcher) address() string {
	if f.source.from.Discovery != "" {
		return f.source.from.Discovery
	}
	return f.source.from.URL
}

// run owns the fetches of the source until ctx ends: on time, and when requests ask for one.
func (f *fetcher) run(ctx context.Context) {
	s := f.source
	s.own(true)
	defer s.own(false)
	f.restoreClock()
	next := wall(s.now())
	for {
		at := next
		s.health.next.Store(&at)
		asked, ok := f.await(ctx, next)
		if !ok {
			return
		}
		s.takeOff()
		after, err := f.fetch(ctx)
		s.landing(err)
		now := wall(s.now())
		// A failure that requests have caused must not put off the next fetch on time.
		if err == nil || !asked || !next.After(now) {
			next = now.Add(after)
		}
	}
}

// await waits until next, or until requests ask for a fetch; ok is false where ctx has ended. Timers stand still while the machine
// sleeps, and clocks are set: the time is looked at every minute, and a next that no fetch can have meant is now.
func (f *fetcher) await(ctx context.Context, next time.Time) (asked, ok bool) {
	for ctx.Err() == nil {
		wait := next.Sub(wall(f.source.now()))
		if wait <= 0 || wait > 2*maxRefresh {
			return false, true
		}
		t := time.NewTimer(min(wait, time.Minute))
		select {
		case <-ctx.Done():
		case <-f.source.demand.wake:
			asked = true
		case <-t.C:
		}
		t.Stop()
		if asked {
			return true, ctx.Err() == nil
		}
	}
	return false, false
}

// wall is t without the reading of the monotonic clock, which stands still while the machine sleeps.
func wall(t time.Time) time.Time { return t.Round(0) }

// fetch reads the keys once and returns how long to wait before the next time.
func (f *fetcher) fetch(ctx context.Context) (time.Duration, error) {
	age, err := f.once(ctx)
	if err == nil {
		f.failures = 0
		f.keys.succeeded(f.source)
		return jitter(min(max(age, minRefresh), maxRefresh)), nil
	}
	if ctx.Err() == nil {
		f.source.counts.fetches[fetchFailed].Add(1)
		f.keys.fail(f.source, err)
	}
	wait := minBackoff << min(f.failures, 10)
	f.failures++
	return jitter(min(wait, maxBackoff)), err
}

// once returns for how long a good answer is fresh.
func (f *fetcher) once(ctx context.Context) (time.Duration, error) {
	at, err := f.where(ctx)
	if err != nil {
		return 0, err
	}
	old, etag := f.source.current.Load(), ""
	if old != nil && f.etagOf == at.String() {
		etag = f.etag
	}
	resp, err := f.client.get(ctx, at, acceptKeys, etag)
	if err != nil {
		f.etag = "" // it may be what the server does not bear
		f.found.doubt()
		return 0, fmt.Errorf("fetch keys: %w", err)
	}
	raw, result := resp.body, fetchChanged
	if resp.unchanged {
		raw, result = old.raw, fetchUnchanged
	}
	if err := f.keys.accept(f.source, loaded{raw: raw, named: f.found.named, at: f.source.now()}); err != nil {
		f.found.doubt()
		return 0, fmt.Errorf("fetch keys: GET %s: %w", show(at), describe(err, resp.header))
	}
	f.source.counts.fetches[result].Add(1)
	if !resp.unchanged {
		f.etag, f.etagOf = resp.header.Get("ETag"), at.String()
	}
	if ctx.Err() == nil { // else perhaps a successor has the file by now
		f.save()
	}
	return fresh(resp.header), nil
}

// where is the URL of the key set.
func (f *fetcher) where(ctx context.Context) (*url.URL, error) {
	if f.source.from.Discovery != "" {
		return f.discover(ctx)
	}
	u, err := parseURL(f.source.from.URL, f.source.from.Insecure)
	if err != nil {
		return nil, fmt.Errorf("keys url: %w", err)
	}
	return u, nil
}

// describe adds what came to the fault of a document.
func describe(err error, h http.Header) error {
	kind := h.Get("Content-Type")
	if kind == "" {
		kind = "no content type"
	}
	if errors.Is(err, ErrDocument) {
		err = ErrDocument // what its cause quotes was chosen by whoever answered
	}
	return fmt.Errorf("%w (the answer says %.64q)", err, kind)
}

// fresh is how long an answer may be used without asking again (RFC 9111 §4.2.1, §5.1); 0: not said.
func fresh(h http.Header) time.Duration {
	var maxAge time.Duration
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch {
		case strings.EqualFold(name, "no-store") || strings.EqualFold(name, "no-cache"):
			return 0
		case strings.EqualFold(name, "max-age"):
			maxAge = seconds(strings.Trim(value, `"`))
		}
	}
	return max(0, maxAge-seconds(h.Get("Age")))
}

func seconds(text string) time.Duration {
	s, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// jitter is d ±10 %, so that many agents don't ask at once.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)/5*float64(d)) //nolint:gosec // no secret
}
