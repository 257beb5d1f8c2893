package token_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// What is accepted, golang-jwt's Parser with all its strict options accepts too, with the same claims.
func FuzzVerifyAgainstParser(f *testing.F) {
	conf := defaultIssuer()
	conf.Profile = policy.LegacyAccessToken
	ks := jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})
	v, err := token.New(token.Options{Keys: ks, Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	v.Publish([]policy.Issuer{conf})
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256", "ES256", "EdDSA"}), jwt.WithStrictDecoding(), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithIssuer(iss), jwt.WithAudience(aud), jwt.WithLeeway(30*time.Second), jwt.WithJSONNumber(),
		jwt.WithTimeFunc(func() time.Time { return now }))
	key := func(tok *jwt.Token) (any, error) {
		k := testKeys()
		switch tok.Method.Alg() {
		case "RS256":
			return &k.rsa.PublicKey, nil
		case "ES256":
			return &k.ec.PublicKey, nil
		}
		return k.ed.Public(), nil
	}
	for _, h := range []members{header(), header().with("alg", "ES256").with("kid", "ec"), header().without("kid", "typ")} {
		f.Add(h.json(), claims().json(), uint8(0), uint16(0))
		f.Add(h.json(), claims().with("nbf", 1.5).with("scp", []string{"a"}).json(), uint8(0), uint16(0))
		f.Add(h.with("crit", []string{"b64"}).json(), `{"iss":"https://idp.example","exp":1e300}`, uint8(1), uint16(40))
	}
	f.Fuzz(func(t *testing.T, head, payload string, change uint8, at uint16) {
		alg := "RS256"
		if strings.Contains(head, "ES256") {
			alg = "ES256"
		}
		raw := []byte(signText(head, payload, alg))
		raw[int(at)%len(raw)] ^= change
		user, err := v.Verify(context.Background(), string(raw), both)
		if err != nil {
			if token.Reason(err) == "" || user != nil {
				t.Fatalf("%v, %v", user, err)
			}
			return
		}
		oracle := jwt.MapClaims{}
		if _, err := parser.ParseWithClaims(string(raw), oracle, key); err != nil {
			t.Fatalf("accepted, the oracle says %v: %q %q", err, head, payload)
		}
		got, err := json.Marshal(plain(user.Claims))
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(oracle)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Fatalf("claims (-oracle +ours):\n%s", diff)
		}
	})
}

// plain makes decoded claims what encoding/json decodes them to.
func plain(v any) any {
	switch v := v.(type) {
	case decide.Number:
		return json.Number(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return v
}
