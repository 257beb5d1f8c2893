package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// KeySource holds the issuers' keys; *jwks.Keys is one.
type KeySource interface {
	// Publish makes issuers the ones whose keys are held, and returns where each one's keys are found from now on.
	Publish(issuers []policy.Issuer) map[policy.Name]*jwks.Source
}

var _ KeySource = (*jwks.Keys)(nil)

// Options of a Verifier.
type Options struct {
	// Keys is required.
	Keys KeySource
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// CacheBytes bounds the memory of cached facts, roughly. 0: 64 MiB.
	CacheBytes uint64
}

// Verifier verifies bearer tokens. Safe for concurrent use; it starts nothing.
type Verifier struct {
	opts    Options
	methods map[string]jwt.SigningMethod
	state   atomic.Pointer[state]
	cache   *otter.Cache[cacheKey, *verified]
}

// cacheKey: facts hold for one configuration of one issuer and one exact token.
type cacheKey struct {
	issuer [sha256.Size]byte
	token  [sha256.Size]byte
}

// entryOverhead of cached facts beside the token's own size, in bytes; decoded claims take about factor times their text.
const (
	entryOverhead = 1024
	entryFactor   = 4
)

// usualToken is a size that most tokens have room in, in bytes.
const usualToken = 2 << 10

// New makes a Verifier without issuers: it can tell nothing until Publish. It errs when Keys is missing or the cache can't be made.
func New(o Options) (*Verifier, error) {
	if o.Keys == nil {
		return nil, errors.New("token verifier: no key source")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	cache, err := otter.New(&otter.Options[cacheKey, *verified]{
		MaximumWeight: o.CacheBytes,
		Weigher:       func(_ cacheKey, v *verified) uint32 { return v.weight },
		// Maintenance on the goroutine that calls: the cache then owns none.
		Executor: func(task func()) { task() },
	})
	if err != nil {
		return nil, fmt.Errorf("token cache: %w", err)
	}
	v := &Verifier{opts: o, methods: methods(), cache: cache}
	v.state.Store(&state{})
	return v, nil
}

// Publish swaps the configuration: every Verify that starts later uses issuers and no other, and facts cached under a configuration
// that changed are not found again. It tells the key source of all of them first. An issuer that can't be used makes tokens unavailable,
// never valid; one with Introspection is none here. Calls must not overlap.
func (v *Verifier) Publish(issuers []policy.Issuer) {
	sources := v.opts.Keys.Publish(issuers)
	next := make(map[policy.Name]*issuer, len(issuers))
	for _, conf := range issuers {
		if conf.Introspection == nil {
			next[conf.Name] = newIssuer(conf, sources[conf.Name], v.methods, v.opts.Now)
		}
	}
	v.state.Store(newState(next))
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

// Verify tells who the bearer token raw speaks for, by the issuers that are accepted: the token's iss picks among them, exactly. The
// User is shared and must not be changed. The error is ErrInvalid or ErrUnavailable; its Reason is for logs, its text names no claim.
// It blocks for nothing but computing, and for an issuer whose keys are looked at once more because of an unknown kid (Source.Refresh).
func (s Snapshot) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	user, _, err := s.VerifyIssued(ctx, raw, accepted)
	return user, err
}

// VerifyIssued is Verify for a caller that can ask others too: issued tells whether raw is a JWT with the iss of an accepted issuer, or one
// that an accepted issuer which can't be used may have issued. Nobody else may judge it then.
func (s Snapshot) VerifyIssued(ctx context.Context, raw string, accepted []policy.Name) (user *decide.User, issued bool, err error) {
	v, st := s.v, s.state
	if len(raw) > maxToken {
		return nil, false, invalid(ReasonTooLarge, "token over %d bytes", maxToken)
	}
	var room [usualToken]byte
	sum := sha256.Sum256(append(room[:0], raw...))
	if len(accepted) <= maxProbes {
		user, err = v.cached(st, sum, accepted)
	}
	issued = true
	if user == nil && err == nil {
		user, issued, err = v.fresh(ctx, st, sum, raw, accepted)
	}
	if err != nil {
		return nil, issued, err
	}
	if err := ctx.Err(); err != nil {
		return nil, issued, unavailable(ReasonCanceled, "%v", err)
	}
	return user, true, nil
}

// cached returns nothing where there is no entry that still stands, or where another accepted issuer of the same iss may still say yes.
func (v *Verifier) cached(st *state, sum [sha256.Size]byte, accepted []policy.Name) (*decide.User, error) {
	for _, name := range accepted {
		i, ok := st.issuers[name]
		if !ok {
			continue
		}
		key := cacheKey{issuer: i.hash, token: sum}
		hit, ok := v.cache.GetIfPresent(key)
		if !ok {
			continue
		}
		good, err := i.again(hit)
		if good && st.rightful(hit, i, accepted) {
			return hit.user, nil
		}
		if good {
			continue
		}
		if err == nil {
			v.cache.Invalidate(key)
			continue
		}
		if all, _ := st.candidates(hit.claims.iss, accepted); len(all) == 1 {
			return nil, err
		}
	}
	return nil, nil
}

func (v *Verifier) fresh(ctx context.Context, st *state, sum [sha256.Size]byte, raw string, accepted []policy.Name) (_ *decide.User, issued bool, _ error) {
	p, err := parse(raw)
	if err != nil {
		return nil, false, err
	}
	candidates, err := st.candidates(p.claims.iss, accepted)
	if err != nil {
		return nil, errors.Is(err, ErrUnavailable), err
	}
	if len(accepted) > maxProbes {
		if user, err := v.cached(st, sum, names(candidates)); user != nil || err != nil {
			return user, true, err
		}
	}
	knownFirst(candidates, p.kid, p.alg)
	var first error
	var refusedBy [][sha256.Size]byte
	for _, i := range candidates {
		facts, err := i.verify(ctx, p)
		if err == nil {
			facts.refusedBy = refusedBy
			facts.weight = uint32(len(raw)*entryFactor + entryOverhead) //nolint:gosec // at most maxToken
			v.cache.Set(cacheKey{issuer: i.hash, token: sum}, facts)
			return facts.user, true, nil
		}
		if final(err) {
			refusedBy = append(refusedBy, i.hash)
		}
		if first == nil || (errors.Is(err, ErrUnavailable) && !errors.Is(first, ErrUnavailable)) {
			first = err
		}
	}
	return nil, true, first
}

// final tells whether the same token can't become good under the same configuration, whatever keys there are and what time it is.
func final(err error) bool {
	switch Reason(err) {
	case ReasonKidUnknown, ReasonKeysPending, ReasonKeyIssuer, ReasonSignature, ReasonExpired, ReasonNotYetValid, ReasonIssuedInFuture:
		return false // clocks go back too
	}
	return errors.Is(err, ErrInvalid)
}
