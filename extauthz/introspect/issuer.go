package introspect

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// maxLeeway bounds what a configuration may forgive.
const maxLeeway = time.Minute

// issuer is one TokenIssuer with introspection, ready to verify. Immutable.
type issuer struct {
	conf policy.Issuer
	// hash of conf: cached facts are found under it only.
	hash     [sha256.Size]byte
	endpoint *endpoint
	keys     *jwks.Source
	// unusable says why nothing can be verified with conf.
	unusable string
	now      func() time.Time
}

// entry are the facts of one token, or why it is refused. Immutable.
type entry struct {
	user *decide.User
	said *token.Statement
	// err is an ErrInvalid.
	err error
	// signed says what has signed the answer; nil: nothing has.
	signed *signed
	// until is when the server is asked again.
	until time.Time
	// weight in the cache, in bytes.
	weight uint32
}

func newIssuer(conf *policy.Issuer, keys *jwks.Source, e *endpoint, now func() time.Time) *issuer {
	i := &issuer{conf: *conf, endpoint: e, keys: keys, now: now}
	text, err := json.Marshal(conf)
	in := conf.Introspection
	switch {
	case err != nil:
		i.unusable = "its configuration can't be encoded"
	// Each of these would switch a check off instead of failing it.
	case slices.Contains(conf.Issuers, ""):
		i.unusable = "it has an empty issuer URL"
	case conf.Tenant != nil:
		i.unusable = "tenants can't be told apart by introspection"
	case len(conf.Audiences) == 0 || slices.Contains(conf.Audiences, ""):
		i.unusable = "it has no audience, or an empty one"
	case in.JWT && (in.ClientID == "" || len(conf.Issuers) == 0 || len(conf.Algorithms) == 0 || keys == nil):
		i.unusable = "signed answers need a client id, an issuer, algorithms and keys"
	case e.unusable != "":
		i.unusable = e.unusable
	}
	i.hash = sha256.Sum256(text)
	return i
}

func clamp(d time.Duration) time.Duration { return min(max(d, 0), maxLeeway) }

// question asks the server about raw. An entry, also of a refusal, is an answer; an error is none.
func (i *issuer) question(ctx context.Context, raw string, good bool) (*entry, error) {
	body, err := i.endpoint.ask(ctx, raw, good)
	if err != nil {
		return nil, err
	}
	all, sig, err := i.answer(ctx, body)
	if err == nil {
		var e *entry
		if e, err = i.read(all); err == nil {
			e.signed, e.weight = sig, uint32(len(body)*entryFactor+entryOverhead) //nolint:gosec // at most maxBody
			i.endpoint.answered(e.err)
			return e, nil
		}
	}
	if ctx.Err() != nil {
		return nil, ended(ctx.Err())
	}
	// What is wrong with an answer is the server's fault, whatever it is: nobody may be let in or sent away by it.
	err = credential.Unavailable(ReasonAnswer, "issuer %s: %s: %s", i.conf.Name, credential.Reason(err), credential.Detail(err))
	i.endpoint.fail(err)
	return nil, err
}

// read makes facts of an answer. Its error says what is wrong with the answer itself.
func (i *issuer) read(all map[string]any) (*entry, error) {
	active, ok := all["active"].(bool)
	if !ok {
		return nil, credential.Invalid(token.ReasonClaimType, "active is not a boolean")
	}
	now := i.now()
	e := &entry{until: now.Add(i.conf.Introspection.CacheFor)}
	if !active {
		// RFC 7662 §2.2: whatever stands beside it says nothing.
		e.err = credential.Invalid(ReasonInactive, "the server of issuer %s says that the token is not active", i.conf.Name)
	} else {
		said, err := token.ReadStatement(&i.conf, all)
		if err != nil {
			return nil, err
		}
		e.said = said
		if e.err = i.judge(said); e.err == nil {
			e.err = i.inTime(said, now)
		}
		if e.err == nil {
			e.user, e.err = i.user(said)
		}
		// The wall clock alone: it is what exp means.
		if left := said.Expires.Sub(now); !said.Expires.IsZero() && left < i.conf.Introspection.CacheFor {
			e.until = now.Add(max(0, left))
		}
	}
	if soon := now.Add(refusedFor); e.err != nil && e.until.After(soon) {
		e.until = soon
	}
	return e, nil
}

// stands tells whether e may be used without asking. Both clocks are asked: the one stands still while the machine sleeps, the other can be
// set back.
func (i *issuer) stands(e *entry) bool {
	if e == nil {
		return false
	}
	now := i.now()
	if !now.Before(e.until) || !now.Round(0).Before(e.until.Round(0)) {
		return false
	}
	return e.signed == nil || e.signed.still(i.keys, &i.conf)
}

// again is what e says now.
func (i *issuer) again(e *entry) (*decide.User, error) {
	if e.err != nil {
		return nil, e.err
	}
	if err := i.inTime(e.said, i.now()); err != nil {
		return nil, err
	}
	return e.user, nil
}

// inTime compares the times that the answer names.
func (i *issuer) inTime(s *token.Statement, now time.Time) error {
	early := now.Add(clamp(i.conf.Leeway))
	switch {
	case !s.Expires.IsZero() && !now.Before(s.Expires.Add(clamp(i.conf.ExpLeeway))):
		return credential.Invalid(token.ReasonExpired, "expired %s ago", now.Sub(s.Expires).Round(time.Second))
	case early.Before(s.NotBefore):
		return credential.Invalid(token.ReasonNotYetValid, "nbf is %s ahead of this clock, leeway %s", s.NotBefore.Sub(now).Round(time.Millisecond), clamp(i.conf.Leeway))
	case early.Before(s.IssuedAt):
		return credential.Invalid(token.ReasonIssuedInFuture, "the issuer's clock is %s ahead of this one, leeway %s",
			s.IssuedAt.Sub(now).Round(time.Millisecond), clamp(i.conf.Leeway))
	}
	return nil
}
