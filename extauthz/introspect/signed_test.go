package introspect_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func keyPair(t *testing.T, kid string) (ed25519.PrivateKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return private, fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"%s","x":"%s"}]}`, kid, base64.RawURLEncoding.EncodeToString(public))
}

// signedAnswer is RFC 9701 §5, with changes; nil removes.
func signedAnswer(t *testing.T, key ed25519.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	c := jwt.MapClaims{
		"iss": iss, "aud": "credence:1", "iat": start.Unix(),
		"token_introspection": map[string]any{"active": true, "sub": "alice", "aud": aud, "iss": iss},
	}
	maps.Copy(c, claims)
	tok := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	tok.Header["typ"], tok.Header["kid"] = "token-introspection+jwt", "one"
	maps.Copy(tok.Header, header)
	for _, m := range []map[string]any{tok.Header, c} {
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	}
	raw, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSignedAnswers(t *testing.T) {
	key, set := keyPair(t, "one")
	stranger, _ := keyPair(t, "one")
	signed := func(i *policy.Issuer, _ *introspect.Options) {
		i.Introspection.JWT, i.Issuers, i.Algorithms, i.Keys = true, []string{iss}, []string{"EdDSA"}, policy.KeySource{Inline: set}
	}
	type m = map[string]any
	unsigned := func() string {
		tok := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{
			"iss": iss, "aud": "credence:1", "iat": start.Unix(),
			"token_introspection": m{"active": true, "sub": "alice", "aud": aud, "iss": iss},
		})
		tok.Header["typ"] = "token-introspection+jwt"
		raw, err := tok.SignedString(jwt.UnsafeAllowNoneSignatureType)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, r := range []struct {
		name, body string
		class      error
		reason     string
	}{
		{"good", signedAnswer(t, key, nil, nil), nil, ""},
		{"good, with application/", signedAnswer(t, key, m{"typ": "application/token-introspection+jwt"}, nil), nil, ""},
		{"inactive", signedAnswer(t, key, nil, m{"token_introspection": m{"active": false}}), credential.ErrInvalid, introspect.ReasonInactive},
		{
			"another audience of the token", signedAnswer(t, key, nil, m{"token_introspection": m{"active": true, "sub": "a", "iss": iss, "aud": "x"}}),
			credential.ErrInvalid, token.ReasonAudience,
		},
		{"signed by a stranger", signedAnswer(t, stranger, nil, nil), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"unsigned", unsigned(), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"an access token", signedAnswer(t, key, m{"typ": "at+jwt"}, nil), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"any JWT", signedAnswer(t, key, m{"typ": nil}, nil), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"a key in the header", signedAnswer(t, key, m{"jwk": m{}}, nil), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"crit", signedAnswer(t, key, m{"crit": []string{"exp"}}, nil), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"another issuer", signedAnswer(t, key, nil, m{"iss": "https://evil.example"}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"for another client", signedAnswer(t, key, nil, m{"aud": "somebody"}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"for nobody", signedAnswer(t, key, nil, m{"aud": nil}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"of no time", signedAnswer(t, key, nil, m{"iat": nil}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"an old answer again", signedAnswer(t, key, nil, m{"iat": start.Unix() - 91}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"of the future", signedAnswer(t, key, nil, m{"iat": start.Unix() + 31}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{"no answer within", signedAnswer(t, key, nil, m{"token_introspection": nil, "active": true, "sub": "alice"}), credential.ErrUnavailable, introspect.ReasonAnswer},
		{
			"active is a string", signedAnswer(t, key, nil, m{"token_introspection": m{"active": "true", "sub": "a", "aud": aud, "iss": iss}}),
			credential.ErrUnavailable, introspect.ReasonAnswer,
		},
		{"JSON", good(""), credential.ErrUnavailable, introspect.ReasonAnswer},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := newBench(t, signed)
			b.server.say(200, "application/token-introspection+jwt", r.body)
			if r.class == nil {
				b.allowed("tok")
				b.allowed("tok")
				b.asked(1)
				return
			}
			b.refused("tok", r.class, r.reason)
		})
	}
	t.Run("JSON where a signature is wanted", func(t *testing.T) {
		b := newBench(t, signed)
		b.refused("tok", credential.ErrUnavailable, introspect.ReasonFailed)
	})
	t.Run("the key goes", func(t *testing.T) {
		b := newBench(t, signed)
		b.server.say(200, "application/token-introspection+jwt", signedAnswer(t, key, nil, nil))
		b.allowed("tok")
		// The same configuration: only what the issuer publishes changes.
		gone := b.conf
		gone.Keys.Inline = `{"keys":[]}`
		b.keys.Publish([]policy.Issuer{gone})
		b.publish(gone)
		b.refused("tok", credential.ErrUnavailable, introspect.ReasonAnswer)
	})
}

// jwts stands for token.Snapshot: tokens that begin with "j" are JWTs of its issuer.
type jwts struct {
	asked []string
	with  [][]policy.Name
	err   error
}

func (j *jwts) VerifyIssued(_ context.Context, raw string, accepted []policy.Name) (*decide.User, bool, error) {
	j.asked, j.with = append(j.asked, raw), append(j.with, accepted)
	switch {
	case raw[0] != 'j':
		return nil, false, credential.Invalid(token.ReasonMalformed, "no JWT")
	case j.err != nil:
		return nil, true, j.err
	}
	return &decide.User{Subject: "jwt"}, true, nil
}

func TestBearerChooses(t *testing.T) {
	b := newBench(t, nil)
	idp := policy.Name{Namespace: "default", Name: "idp"}
	mixed := []policy.Name{idp, opaque}
	j := &jwts{}
	bearer := introspect.Bearer{JWT: j, Opaque: b.Snapshot()}
	subject := func(raw string, accepted []policy.Name) string {
		t.Helper()
		u, err := bearer.Verify(t.Context(), raw, accepted)
		if err != nil {
			t.Fatal(err)
		}
		return u.Subject
	}
	if got := subject("j.w.t", mixed); got != "jwt" || len(j.with[0]) != 1 || j.with[0][0] != idp {
		t.Errorf("%q, asked with %v", got, j.with)
	}
	b.asked(0)
	if got := subject("opaque", mixed); got != "alice" {
		t.Error(got)
	}
	if got := subject("j.w.t", accepted); got != "alice" { // no JWT issuer is accepted: it is opaque
		t.Error(got)
	}
	if got := subject("j.w.t", []policy.Name{idp}); got != "jwt" {
		t.Error(got)
	}
	b.asked(2)
	// A JWT that is not good is shown to nobody else.
	for _, class := range []error{credential.Invalid("signature", "x"), credential.Unavailable("no_keys", "x")} {
		j.err = class
		user, err := bearer.Verify(t.Context(), "j.w.t.2", mixed)
		if user != nil || !errors.Is(err, class) {
			t.Errorf("%v, %v", user, err)
		}
	}
	b.asked(2)
	user, err := bearer.Verify(t.Context(), "opaque", []policy.Name{idp})
	wantRefusal(t, user, err, credential.ErrInvalid, token.ReasonMalformed)
	b.asked(2)
}

// With the real verifier of JWTs: by its iss, whatever else is wrong with it.
func TestBearerWithTokens(t *testing.T) {
	key, set := keyPair(t, "one")
	stranger, _ := keyPair(t, "one")
	idp := policy.Issuer{
		Name: policy.Name{Namespace: "default", Name: "idp"}, Issuers: []string{"https://idp.example"}, Audiences: []string{aud},
		Algorithms: []string{"EdDSA"}, Profile: policy.LegacyAccessToken, Keys: policy.KeySource{Inline: set},
	}
	b := newBench(t, nil)
	jwtVerifier, err := token.New(token.Options{Keys: b.keys, Now: b.now})
	if err != nil {
		t.Fatal(err)
	}
	both := []policy.Issuer{idp, b.conf}
	jwtVerifier.Publish(both)
	b.Publish(both)
	bearer := introspect.Bearer{JWT: jwtVerifier.Snapshot(), Opaque: b.Snapshot()}
	mint := func(by ed25519.PrivateKey, iss string) string {
		tok := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"iss": iss, "sub": "bob", "aud": aud, "exp": start.Add(time.Hour).Unix()})
		tok.Header["kid"] = "one"
		raw, err := tok.SignedString(by)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	mixed := []policy.Name{idp.Name, opaque}
	for _, r := range []struct {
		name, raw, subject, reason string
		asked                      int64
	}{
		{"a JWT", mint(key, "https://idp.example"), "bob", "", 0},
		{"from the cache", mint(key, "https://idp.example"), "bob", "", 0},
		{"a forged JWT", mint(stranger, "https://idp.example"), "", token.ReasonSignature, 0},
		{"a JWT of somebody else", mint(stranger, "https://as.example"), "alice", "", 1},
		{"opaque", "opaque", "alice", "", 2},
		{"opaque with two dots", "a.b.c", "alice", "", 3},
	} {
		user, err := bearer.Verify(t.Context(), r.raw, mixed)
		if r.reason != "" {
			wantRefusal(t, user, err, credential.ErrInvalid, r.reason)
		} else if err != nil || user.Subject != r.subject {
			t.Errorf("%s: %v, %v", r.name, user, err)
		}
		b.asked(r.asked)
	}
	// Where an accepted issuer can't be used, a JWT may be its: nobody else sees it.
	gone := []policy.Name{{Namespace: "default", Name: "gone"}, opaque}
	user, err := bearer.Verify(t.Context(), mint(key, "https://gone.example"), gone)
	wantRefusal(t, user, err, credential.ErrUnavailable, token.ReasonIssuerConfig)
	b.asked(3)
}

func FuzzAnswer(f *testing.F) {
	b := newBench(f, func(i *policy.Issuer, o *introspect.Options) {
		i.Introspection.CacheFor, o.RefusalBurst, o.Refusals = 0, 1<<30, 1<<30
	})
	for _, s := range []string{good(""), inactive, `{"active":"true"}`, `[]`, good(`,"cnf":{"jkt":7}`), good(`,"scope":[[]]`), `{"active":true,"exp":1e99}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		b.server.json(body)
		user, err := b.verify("tok")
		if (user == nil) == (err == nil) {
			t.Fatalf("%v, %v", user, err)
		}
		if user != nil && (user.Subject == "" || user.Claims["active"] != true) {
			t.Fatalf("user %+v of %q", user, body)
		}
	})
}
