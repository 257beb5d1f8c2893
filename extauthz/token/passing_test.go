package token_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// Row 13: an issuer that comes first, and refuses a token for a reason that passes, has it back once the reason is gone: what either
// has cached says nothing of that. Keys change, and clocks go back.
func TestRow13RefusalsThatPass(t *testing.T) {
	k := testKeys()
	good := jwkSet(jwkOf("rsa", &k.rsa.PublicKey))
	foreign := jwkOf("rsa", &k.rsa.PublicKey)
	foreign["issuer"] = "https://other.example"
	for _, c := range []struct {
		name   string
		keys   string        // of the first issuer, for a time
		later  time.Duration // of the clock, for a time
		claims members
	}{
		{name: "no key", keys: jwkSet()},
		{name: "another key under its kid", keys: jwkSet(jwkOf("rsa", &k.stranger.PublicKey))},
		{name: "a key for another issuer", keys: jwkSet(foreign)},
		{name: "expired", keys: good, later: 310 * time.Second},
		{name: "not yet valid", keys: good, later: -5 * time.Second, claims: members{"nbf": now.Unix()}},
		{name: "issued in the future", keys: good, later: -5 * time.Second, claims: members{"iat": now.Unix()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := defaultIssuer(), defaultIssuer()
			first.Name.Name, first.Keys, first.Leeway = "first", policy.KeySource{Development: true}, 0
			second.Name.Name, second.ExpLeeway = "second", time.Minute
			at, current := now.Add(c.later), c.keys
			clock := func() time.Time { return at }
			v, err := token.New(token.Options{Now: clock, Keys: jwks.New(jwks.Options{
				Now: clock, Log: slog.New(slog.DiscardHandler), Development: func(string) ([]byte, error) { return []byte(current), nil },
			})})
			if err != nil {
				t.Fatal(err)
			}
			all := claims()
			for name, value := range c.claims {
				all[name] = value
			}
			raw := sign(header(), all)
			whose := func() string {
				t.Helper()
				v.Publish([]policy.Issuer{first, second})
				user, err := v.Verify(context.Background(), raw, []policy.Name{first.Name, second.Name})
				if err != nil {
					t.Fatal(err)
				}
				return user.Issuer.Name
			}
			for range 2 { // the second time from the cache
				if got := whose(); got != "second" {
					t.Errorf("meanwhile it is %s's", got)
				}
			}
			at, current = now, good
			for range 2 {
				if got := whose(); got != "first" {
					t.Errorf("afterwards it is %s's", got)
				}
			}
			// What the first has cached, and can't answer for now, is not an answer either.
			at, current = now.Add(c.later), c.keys
			if got := whose(); got != "second" {
				t.Errorf("once more it is %s's", got)
			}
		})
	}
}
