package revocation

import (
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// margin is added to every end: internal tokens carry what they were made of on for up to 300 s, and clocks differ.
const margin = 10 * time.Minute

// until is when nothing that r covers can live, as far as set tells; zero: never. A jti belongs to one token, which had been issued when it
// was revoked, and IssuedBefore bounds what is covered; any other revocation covers what has not been issued yet.
func until(r *policy.Revocation, created time.Time, set *policy.Set) time.Time {
	if set == nil || r.TokenID == "" && r.IssuedBefore.IsZero() {
		return time.Time{}
	}
	life, known := longest(r, set)
	if !known {
		return time.Time{}
	}
	last := created
	if r.IssuedBefore.After(last) {
		last = r.IssuedBefore
	}
	end := last.Add(life + margin)
	if end.UTC().Year() > maxYear {
		return time.Time{}
	}
	return end
}

// longest life of a credential that r can cover, with leeways. It is not known where an issuer bounds none. Users of Credentials, and workloads
// that call by themselves, prove themselves for as long as they like, but have no token that a jti could name.
func longest(r *policy.Revocation, set *policy.Set) (time.Duration, bool) {
	if r.Issuer == "" && r.TokenID == "" && (len(set.Credentials) > 0 || strings.HasPrefix(r.Subject, "spiffe://")) {
		return 0, false
	}
	life, found := time.Duration(0), false
	for i := range set.Issuers {
		issuer := &set.Issuers[i]
		// Whoever is asked about opaque tokens may name any iss, where none is listed, or none: that is introspection/NAMESPACE/NAME.
		if r.Issuer != "" && issuer.Introspection == nil && !slices.Contains(issuer.Issuers, r.Issuer) {
			continue
		}
		if issuer.MaxLifetime <= 0 {
			return 0, false
		}
		life, found = max(life, issuer.MaxLifetime+issuer.Leeway+issuer.ExpLeeway), true
	}
	return life, found
}

// incomplete: an issuer that policies name can't be read now. When it can again, its tokens are good again, for how long nobody knows yet.
func incomplete(set *policy.Set) bool {
	return slices.ContainsFunc(set.Policies, func(p policy.Policy) bool { return len(p.MissingIssuers) > 0 })
}

// later of two ends, zero being never.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if b.After(a) {
		return b
	}
	return a
}
