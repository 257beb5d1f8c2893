package token

import (
	"cmp"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// maxProbes is how many accepted issuers are looked up in the cache before a token is parsed: one lookup costs a fraction of parsing.
const maxProbes = 8

// state is one configuration. Immutable.
type state struct {
	issuers map[policy.Name]*issuer
	// byIss are the issuers of an iss, by name: a token's are found as fast among a thousand as among a few.
	byIss map[string][]*issuer
}

func newState(issuers map[policy.Name]*issuer) *state {
	s := &state{issuers: issuers, byIss: map[string][]*issuer{}}
	for _, i := range issuers {
		for iss := range i.tenants {
			s.byIss[iss] = append(s.byIss[iss], i)
		}
	}
	return s
}

// candidates are the accepted issuers of this iss, in the order of accepted: at least one, or an error. The caller owns the list.
func (st *state) candidates(iss string, accepted []policy.Name) ([]*issuer, error) {
	if iss == "" {
		return nil, invalid(ReasonClaimMissing, "iss is missing")
	}
	type candidate struct {
		*issuer
		at int
	}
	var found []candidate
	for _, i := range st.byIss[iss] {
		if at := slices.Index(accepted, i.conf.Name); at >= 0 {
			found = append(found, candidate{i, at})
		}
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b candidate) int { return cmp.Compare(a.at, b.at) })
		out := make([]*issuer, len(found))
		for n, c := range found {
			out[n] = c.issuer
		}
		return out, nil
	}
	missing := func(name policy.Name) bool { return st.issuers[name] == nil }
	switch {
	case len(st.issuers) == 0 || slices.ContainsFunc(accepted, missing):
		return nil, unavailable(ReasonIssuerConfig, "an accepted issuer is not configured")
	case len(st.byIss[iss]) > 0:
		return nil, invalid(ReasonIssuerNotAccepted, "the issuer is configured but not accepted here")
	}
	return nil, invalid(ReasonIssuerUnknown, "no issuer has this iss")
}

// knownFirst puts those first that have the key, or whose keys come from where that one comes from: an issuer whose token it
// isn't must not be asked for a key, and waited for, before the one whose it is. Else the order stays: it says whose a token is that
// several would take.
func knownFirst(candidates []*issuer, kid, alg string) {
	if len(candidates) < 2 {
		return
	}
	type place struct{ url, discovery string }
	of := func(i *issuer) place { return place{i.conf.Keys.URL, i.conf.Keys.Discovery} }
	known := map[place]bool{}
	for _, i := range candidates {
		if _, ok := i.keys.Set().Lookup(kid, alg); ok {
			known[of(i)] = true
		}
	}
	rank := func(i *issuer) int {
		if known[of(i)] {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(candidates, func(a, b *issuer) int { return cmp.Compare(rank(a), rank(b)) })
}

// rightful tells whether a token that i took before is i's among the accepted: no other of them comes first that might take it. Where it was
// shown before must not decide whose it is.
func (st *state) rightful(hit *verified, i *issuer, accepted []policy.Name) bool {
	if len(st.byIss[hit.claims.iss]) == 1 {
		return true
	}
	candidates, err := st.candidates(hit.claims.iss, accepted)
	if err != nil {
		return false
	}
	knownFirst(candidates, hit.kid, hit.key.Algorithm)
	for _, c := range candidates {
		if c == i {
			return true
		}
		if !slices.Contains(hit.refusedBy, c.hash) {
			return false
		}
	}
	return false
}

// names of candidates.
func names(candidates []*issuer) []policy.Name {
	out := make([]policy.Name, len(candidates))
	for n, i := range candidates {
		out[n] = i.conf.Name
	}
	return out
}
