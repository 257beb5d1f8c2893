package revocation

import (
	"time"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// index has each revocation once, by its most selective field. It is never changed.
type index struct {
	byToken, bySubject, byClient, byIssuer map[string][]policy.Revocation
	// others name no field to look up.
	others []policy.Revocation
}

func newIndex() *index {
	return &index{
		byToken: map[string][]policy.Revocation{}, bySubject: map[string][]policy.Revocation{},
		byClient: map[string][]policy.Revocation{}, byIssuer: map[string][]policy.Revocation{},
	}
}

func (x *index) add(r *policy.Revocation) {
	switch {
	case r.TokenID != "":
		x.byToken[r.TokenID] = append(x.byToken[r.TokenID], *r)
	case r.Subject != "":
		x.bySubject[r.Subject] = append(x.bySubject[r.Subject], *r)
	case r.Client != "":
		x.byClient[r.Client] = append(x.byClient[r.Client], *r)
	case r.Issuer != "":
		x.byIssuer[r.Issuer] = append(x.byIssuer[r.Issuer], *r)
	default:
		x.others = append(x.others, *r)
	}
}

// revoked is the id of an entry that covers u at now, or "".
func (x *index) revoked(u *decide.User, now time.Time) string {
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
