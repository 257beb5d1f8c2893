package introspect

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// KeySource holds the keys of issuers that sign their answers; *jwks.Keys is one.
type KeySource interface {
	// Source of the issuer, as published last; nil: it has none.
	Source(name policy.Name) *jwks.Source
}

var _ KeySource = (*jwks.Keys)(nil)

// Options of a Verifier.
type Options struct {
	// Keys is required. Whatever publishes to it does so before the Verifier's Publish.
	Keys KeySource
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log of what fails and heals. Nil: slog.Default.
	Log *slog.Logger
	// CacheBytes bounds the memory of cached facts, roughly. 0: 32 MiB.
	CacheBytes uint64
	// Questions is how many may be asked of one issuer at once, and Waiting how many requests may wait for that. 0: 16 and 256.
	Questions, Waiting int
	// Refusals per second, and at once, that one issuer may be asked for by tokens that are not good. 0: 50 and 200.
	Refusals, RefusalBurst int
	// Proxy of a request. Nil: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
}

// Verifier verifies opaque tokens. Safe for concurrent use; it starts nothing.
type Verifier struct {
	opts    Options
	cache   *otter.Cache[cacheKey, *entry]
	flights flights
	state   atomic.Pointer[state]

	mu        sync.Mutex
	endpoints map[policy.Name]*endpoint
}

// cacheKey: facts hold for one configuration of one issuer and one exact token.
type cacheKey struct {
	issuer [sha256.Size]byte
	token  [sha256.Size]byte
}

// state is one configuration. Immutable.
type state struct {
	issuers map[policy.Name]*issuer
}

// Bounds of what is cached, in bytes and time.
const (
	entryOverhead = 1024
	entryFactor   = 4
	refusedFor    = 5 * time.Second
)

// maxToken bounds what is asked about, in bytes; usualToken is a size that most tokens have room in.
const (
	maxToken   = 16 << 10
	usualToken = 512
)

// New makes a Verifier without issuers: it can tell nothing until Publish. It errs when Keys is missing or the cache can't be made.
func New(o Options) (*Verifier, error) {
	if o.Keys == nil {
		return nil, errors.New("introspection: no key source")
	}
	o = o.withDefaults()
	cache, err := otter.New(&otter.Options[cacheKey, *entry]{
		MaximumWeight: o.CacheBytes,
		Weigher:       func(_ cacheKey, e *entry) uint32 { return e.weight },
		// Maintenance on the goroutine that calls: the cache then owns none.
		Executor: func(task func()) { task() },
	})
	if err != nil {
		return nil, fmt.Errorf("introspection cache: %w", err)
	}
	v := &Verifier{opts: o, cache: cache, endpoints: map[policy.Name]*endpoint{}}
	v.flights.running = map[cacheKey]*flight{}
	v.state.Store(&state{})
	return v, nil
}

func (o Options) withDefaults() Options {
	or := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	or(&o.Questions, 16)
	or(&o.Waiting, 256)
	or(&o.Refusals, 50)
	or(&o.RefusalBurst, 200)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return o
}

// Publish swaps the configuration: every Verify that starts later uses those of issuers that have Introspection and no other, and facts
// cached under a configuration that changed are not found again. An issuer that can't be used makes tokens unavailable, never valid.
// Calls must not overlap.
func (v *Verifier) Publish(issuers []policy.Issuer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	next, endpoints := map[policy.Name]*issuer{}, map[policy.Name]*endpoint{}
	for n := range issuers {
		conf := &issuers[n]
		if conf.Introspection == nil {
			continue
		}
		e := v.endpoints[conf.Name]
		if e == nil || e.conf != *conf.Introspection {
			if e != nil {
				e.close()
			}
			e = newEndpoint(conf.Name, *conf.Introspection, &v.opts)
		}
		endpoints[conf.Name], next[conf.Name] = e, newIssuer(conf, v.opts.Keys.Source(conf.Name), e, v.opts.Now)
	}
	for name, e := range v.endpoints {
		if endpoints[name] == nil {
			e.close()
		}
	}
	v.endpoints = endpoints
	v.state.Store(&state{issuers: next})
}

// Snapshot verifies by one configuration, whatever is published later. Safe for concurrent use.
type Snapshot struct {
	v     *Verifier
	state *state
}

// Snapshot is the configuration that was published last.
func (v *Verifier) Snapshot() Snapshot { return Snapshot{v: v, state: v.state.Load()} }

// Verify is Snapshot.Verify by the configuration that was published last.
func (v *Verifier) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	return v.Snapshot().Verify(ctx, raw, accepted)
}

// Verify tells who the opaque token raw speaks for, by the one accepted issuer that has introspection; a token is shown to no two servers,
// so several are unavailable. The User is shared and must not be changed. The error is ErrInvalid, ErrLimited or ErrUnavailable. It waits
// for the server's answer, until ctx ends at the latest.
func (s Snapshot) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	i, err := s.one(accepted)
	if err != nil {
		return nil, err
	}
	if err := checkForm(raw); err != nil {
		return nil, err
	}
	var room [usualToken]byte
	key := cacheKey{issuer: i.hash, token: sha256.Sum256(append(room[:0], raw...))}
	known, _ := s.v.cache.GetIfPresent(key)
	e := known
	if !i.stands(e) {
		if e, err = s.v.ask(ctx, i, key, raw, known != nil && known.err == nil); err != nil {
			return nil, err
		}
	}
	user, err := i.again(e)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, credential.Unavailable(token.ReasonCanceled, "%v", err)
	}
	return user, nil
}

// one is the accepted issuer that is asked.
func (s Snapshot) one(accepted []policy.Name) (*issuer, error) {
	var found *issuer
	for _, name := range accepted {
		i := s.state.issuers[name]
		switch {
		case i == nil:
		case found != nil:
			return nil, credential.Unavailable(token.ReasonIssuerConfig, "the issuers %s and %s both have introspection: it is open which one is asked", found.conf.Name, name)
		default:
			found = i
		}
	}
	switch {
	case found == nil:
		return nil, credential.Unavailable(token.ReasonIssuerConfig, "no accepted issuer with introspection is configured")
	case found.unusable != "":
		return nil, credential.Unavailable(token.ReasonIssuerConfig, "issuer %s: %s", found.conf.Name, found.unusable)
	}
	return found, nil
}

// checkForm refuses what is no b64token (RFC 6750 §2.1): nothing else is put to a server.
func checkForm(raw string) error {
	switch {
	case raw == "":
		return credential.Invalid(token.ReasonMalformed, "an empty token")
	case len(raw) > maxToken:
		return credential.Invalid(token.ReasonTooLarge, "token over %d bytes", maxToken)
	}
	end := len(raw)
	for end > 0 && raw[end-1] == '=' {
		end--
	}
	for n := range end {
		switch c := raw[n]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return credential.Invalid(token.ReasonMalformed, "byte %d is none of a bearer token", n)
		}
	}
	if end == 0 {
		return credential.Invalid(token.ReasonMalformed, "a token of nothing but =")
	}
	return nil
}
