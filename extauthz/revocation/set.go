package revocation

import (
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Set is what is revoked now. All methods may be called at the same time.
type Set struct {
	index atomic.Pointer[index]
}

// index has each revocation once, by its most selective field. It is never changed.
type index struct {
	byToken, bySubject, byClient, byIssuer map[string][]policy.Revocation
	// others name no field to look up.
	others []policy.Revocation
}

// New makes a Set that revokes nothing.
func New() *Set {
	s := &Set{}
	s.index.Store(&index{})
	return s
}

// Publish makes list, and nothing else, what is revoked. It is in force when Publish returns. The list is not kept.
func (s *Set) Publish(list []policy.Revocation) {
	next := &index{
		byToken: map[string][]policy.Revocation{}, bySubject: map[string][]policy.Revocation{},
		byClient: map[string][]policy.Revocation{}, byIssuer: map[string][]policy.Revocation{},
	}
	for _, r := range list {
		switch {
		case r.TokenID != "":
			next.byToken[r.TokenID] = append(next.byToken[r.TokenID], r)
		case r.Subject != "":
			next.bySubject[r.Subject] = append(next.bySubject[r.Subject], r)
		case r.Client != "":
			next.byClient[r.Client] = append(next.byClient[r.Client], r)
		case r.Issuer != "":
			next.byIssuer[r.Issuer] = append(next.byIssuer[r.Issuer], r)
		default:
			next.others = append(next.others, r)
		}
	}
	s.index.Store(next)
}

// Revoked is the ID of a revocation that covers u at now, "" where none does. It does not block and allocates nothing.
func (s *Set) Revoked(u *decide.User, now time.Time) string {
	x := s.index.Load()
	for _, list := range [...][]policy.Revocation{
		x.byToken[u.TokenID], x.bySubject[u.Subject], x.byClient[u.Client], x.byIssuer[u.IssuerURL], x.others,
	} {
		for i := range list {
			if covers(&list[i], u, now) {
				return list[i].ID
			}
		}
	}
	return ""
}

// covers tells whether every field that r sets is true of u. A credential that does not say when it was issued is never spared.
func covers(r *policy.Revocation, u *decide.User, now time.Time) bool {
	switch {
	case !r.Until.IsZero() && !now.Before(r.Until),
		r.TokenID != "" && r.TokenID != u.TokenID,
		r.Subject != "" && r.Subject != u.Subject,
		r.Client != "" && r.Client != u.Client,
		r.Issuer != "" && r.Issuer != u.IssuerURL,
		!r.IssuedBefore.IsZero() && !u.IssuedAt.IsZero() && !u.IssuedAt.Before(r.IssuedBefore):
		return false
	}
	return true
}
