package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	iss = "https://idp.example"
	aud = "https://orders"
)

var (
	// now is the time of all tests that don't move it.
	now  = time.Unix(1_800_000_000, 0)
	idp  = policy.Name{Namespace: "default", Name: "idp"}
	both = []policy.Name{idp}
)

type keys struct {
	rsa      *rsa.PrivateKey
	ec       *ecdsa.PrivateKey
	ec521    *ecdsa.PrivateKey
	ed       ed25519.PrivateKey
	stranger *rsa.PrivateKey
}

// testKeys are made once: RSA keys are slow to make.
var testKeys = sync.OnceValue(func() *keys {
	k := &keys{}
	var err [5]error
	k.rsa, err[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.stranger, err[1] = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, err[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.ec521, err[3] = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, k.ed, err[4] = ed25519.GenerateKey(rand.Reader)
	if e := errors.Join(err[:]...); e != nil {
		panic(e)
	}
	return k
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwkOf(kid string, key crypto.PublicKey) map[string]string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "kid": kid, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		p, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		n := (len(p) - 1) / 2
		return map[string]string{"kty": "EC", "crv": k.Params().Name, "kid": kid, "x": b64(p[1 : 1+n]), "y": b64(p[1+n:])}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(k)}
	}
	panic("no such key")
}

func jwkSet(keys ...map[string]string) string {
	text, err := json.Marshal(map[string]any{"keys": append([]map[string]string{}, keys...)})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// defaultIssuer is strict, with one key of each kind.
func defaultIssuer() policy.Issuer {
	k := testKeys()
	return policy.Issuer{
		Name: idp, Issuers: []string{iss}, Audiences: []string{aud}, Profile: policy.StrictAccessToken, Leeway: 30 * time.Second,
		Algorithms: []string{"RS256", "ES256", "EdDSA"},
		Keys: policy.KeySource{Inline: jwkSet(jwkOf("rsa", &k.rsa.PublicKey), jwkOf("ec", &k.ec.PublicKey),
			jwkOf("ed", k.ed.Public()))},
	}
}

type bench struct {
	*token.Verifier
	at time.Time
}

func newBench(t testing.TB, issuers ...policy.Issuer) *bench {
	t.Helper()
	b := &bench{at: now}
	clock := func() time.Time { return b.at }
	ks := jwks.New(jwks.Options{Now: clock, Log: slog.New(slog.DiscardHandler)})
	v, err := token.New(token.Options{Keys: ks, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	v.Publish(issuers)
	b.Verifier = v
	return b
}

func (b *bench) verify(raw string) (*decide.User, error) {
	return b.Verify(context.Background(), raw, both)
}

// members are header or claims by name; with changes one at a time.
type members map[string]any

func (m members) with(name string, v any) members {
	m = maps.Clone(m)
	m[name] = v
	return m
}

func (m members) without(names ...string) members {
	m = maps.Clone(m)
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func (m members) json() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func header() members { return members{"alg": "RS256", "typ": "at+jwt", "kid": "rsa"} }

func claims() members {
	return members{
		"iss": iss, "aud": aud, "sub": "alice", "client_id": "web", "jti": "1", "scope": "orders.read orders.write",
		"iat": now.Unix() - 10, "exp": now.Unix() + 300,
	}
}

// signText signs header and payload as they are, with the test key of kid.
func signText(head, payload, alg string) string {
	k := testKeys()
	switch {
	case strings.HasPrefix(alg, "ES5"):
		return signWith(head, payload, jwt.SigningMethodES512, k.ec521)
	case strings.HasPrefix(alg, "ES"):
		return signWith(head, payload, jwt.SigningMethodES256, k.ec)
	case strings.HasPrefix(alg, "Ed"):
		return signWith(head, payload, jwt.SigningMethodEdDSA, k.ed)
	default:
		return signWith(head, payload, jwt.SigningMethodRS256, k.rsa)
	}
}

func signWith(head, payload string, m jwt.SigningMethod, key any) string {
	text := b64([]byte(head)) + "." + b64([]byte(payload))
	sig, err := m.Sign(text, key)
	if err != nil {
		panic(err)
	}
	return text + "." + b64(sig)
}

func sign(h, c members) string { return signText(h.json(), c.json(), fmt.Sprint(h["alg"])) }

// wantReason fails unless err is a refusal of that class and reason.
func wantReason(t *testing.T, err, class error, reason string) {
	t.Helper()
	if !errors.Is(err, class) || token.Reason(err) != reason {
		t.Fatalf("error %v (reason %q), want %v with reason %q", err, token.Reason(err), class, reason)
	}
}
