package token_test

import (
	"context"
	"testing"

	"github.com/credence-mesh/credence/policy"
)

// Row 13: whose a token is does not depend on where it was shown before. Else it would be shown first where the other issuer alone is
// accepted, and a rule for this one passed by.
func TestRow13OrderOfIssuersUnderTheCache(t *testing.T) {
	first, second := defaultIssuer(), defaultIssuer()
	first.Name.Name, second.Name.Name = "first", "second"
	second.Audiences = []string{aud, "https://ledger"}
	strict := defaultIssuer()
	strict.Name.Name, strict.Profile = "ids", policy.IDToken
	b := newBench(t, first, second, strict)
	verify := func(raw string, accepted ...policy.Issuer) string {
		t.Helper()
		var list []policy.Name
		for _, i := range accepted {
			list = append(list, i.Name)
		}
		user, err := b.Verify(context.Background(), raw, list)
		if err != nil {
			t.Fatal(err)
		}
		return user.Issuer.Name
	}
	ours, theirs := sign(header(), claims()), sign(header(), claims().with("aud", "https://ledger"))
	for range 2 {
		for _, c := range []struct {
			name, raw, want string
			accepted        []policy.Issuer
		}{
			{"the second alone", ours, "second", []policy.Issuer{second}},
			{"both", ours, "first", []policy.Issuer{first, second}},
			{"both, the other way", ours, "second", []policy.Issuer{second, first}},
			{"one that does not take it before", ours, "second", []policy.Issuer{strict, second}},
			{"one that does not take it, and both", ours, "first", []policy.Issuer{strict, first, second}},
			{"not the first's", theirs, "second", []policy.Issuer{first, second}},
		} {
			if got := verify(c.raw, c.accepted...); got != c.want {
				t.Errorf("%s: it is %s's, want %s's", c.name, got, c.want)
			}
		}
	}
}
