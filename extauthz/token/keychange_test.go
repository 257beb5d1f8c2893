package token_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// Row 13 and requirement 9: with the configuration untouched, a token that was verified before is good exactly as long as its very
// key is in the key set.
func TestRow13KeysChangeUnderTheCache(t *testing.T) {
	k := testKeys()
	with, without := jwkSet(jwkOf("rsa", &k.rsa.PublicKey)), jwkSet()
	replaced := jwkSet(jwkOf("rsa", &k.stranger.PublicKey))
	foreign := jwkOf("rsa", &k.rsa.PublicKey)
	foreign["issuer"] = "https://other.example"
	conf := defaultIssuer()
	conf.Keys = policy.KeySource{Development: true}
	current := with
	ks := jwks.New(jwks.Options{
		Log: slog.New(slog.DiscardHandler),
		Development: func(string) ([]byte, error) {
			if current == "" {
				return nil, errors.New("gone")
			}
			return []byte(current), nil
		},
	})
	v, err := token.New(token.Options{Keys: ks, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Verifier: v}
	raw := sign(header(), claims())
	for _, step := range []struct{ name, keys, reason string }{
		{"there", with, ""},
		{"gone", without, token.ReasonKidUnknown},
		{"there again", with, ""},
		{"another key under its kid", replaced, token.ReasonSignature},
		{"back", with, ""},
		{"for another issuer", jwkSet(foreign), token.ReasonKeyIssuer},
		{"for all again", with, ""},
	} {
		current = step.keys
		v.Publish([]policy.Issuer{conf})
		for range 2 {
			_, err := b.verify(raw)
			if step.reason == "" && err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if step.reason != "" {
				wantReason(t, err, token.ErrInvalid, step.reason)
			}
		}
	}
}
