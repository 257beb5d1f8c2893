package jwks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/extauthz/jwks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// member maps are JWKs.
type jwk map[string]any

func (k jwk) with(name string, v any) jwk {
	k = maps.Clone(k)
	k[name] = v
	return k
}

func (k jwk) without(name string) jwk {
	k = maps.Clone(k)
	delete(k, name)
	return k
}

type samples struct{ rsa, rsa2, p256, p384, p521, ed jwk }

var keys = sync.OnceValue(func() samples {
	rsaKey := func() jwk {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		must(err)
		return jwk{"kty": "RSA", "n": b64(k.N.Bytes()), "e": "AQAB"}
	}
	ecKey := func(c elliptic.Curve) jwk {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		must(err)
		p, err := k.PublicKey.Bytes()
		must(err)
		n := (len(p) - 1) / 2
		return jwk{"kty": "EC", "crv": c.Params().Name, "x": b64(p[1 : 1+n]), "y": b64(p[1+n:])}
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	return samples{
		rsaKey(), rsaKey(), ecKey(elliptic.P256()), ecKey(elliptic.P384()), ecKey(elliptic.P521()),
		jwk{"kty": "OKP", "crv": "Ed25519", "x": b64(ed)},
	}
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func document(keys ...jwk) []byte {
	text, err := json.Marshal(map[string]any{"keys": keys})
	must(err)
	return text
}

var all = []string{"RS256", "RS384", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}

// Requirement 7: what can't verify signatures safely is skipped, and the rest of the document stays good.
func TestKeys7ImportFilter(t *testing.T) {
	k := keys()
	good := k.ed.with("kid", "good").with("alg", "EdDSA")
	bits := func(n int) string {
		m := new(big.Int).Lsh(big.NewInt(1), uint(n-1))
		return b64(m.SetBit(m, 0, 1).Bytes())
	}
	for name, bad := range map[string]jwk{
		"use enc":                  k.rsa.with("use", "enc"),
		"use empty":                k.rsa.with("use", ""),
		"key_ops without verify":   k.rsa.with("key_ops", []string{"sign", "encrypt"}),
		"key_ops empty":            k.rsa.with("key_ops", []string{}),
		"oct":                      {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"},
		"symmetric member":         k.rsa.with("k", "c2VjcmV0"),
		"private d":                k.p256.with("d", "AAAA"),
		"private p":                k.rsa.with("p", "AAAA"),
		"unknown kty":              {"kty": "AKP", "pub": "AAAA"},
		"no kty":                   {"n": k.rsa["n"], "e": "AQAB"},
		"kty in another case":      k.rsa.with("kty", "rsa"),
		"unknown crv":              k.p256.with("crv", "secp256k1"),
		"X25519":                   k.ed.with("crv", "X25519"),
		"crv of another size":      k.p256.with("crv", "P-384"),
		"RSA of 1024 bits":         k.rsa.with("n", bits(1024)),
		"RSA of 2047 bits":         k.rsa.with("n", bits(2047)),
		"RSA of 8193 bits":         k.rsa.with("n", bits(8193)),
		"RSA modulus even":         k.rsa.with("n", b64(append([]byte{0x80}, make([]byte, 255)...))),
		"ROCA":                     k.rsa.with("n", rocaModulus()),
		"e 1":                      k.rsa.with("e", "AQ"),
		"e 3":                      k.rsa.with("e", "Aw"),
		"e even":                   k.rsa.with("e", b64([]byte{1, 0, 2})),
		"e over 31 bits":           k.rsa.with("e", b64([]byte{1, 0, 0, 0, 1})),
		"no e":                     k.rsa.without("e"),
		"n with padding":           k.rsa.with("n", k.rsa["n"].(string)+"=="),
		"n with a line end":        k.rsa.with("n", k.rsa["n"].(string)[:8]+"\n"+k.rsa["n"].(string)[8:]),
		"point not on the curve":   k.p256.with("y", k.p256["x"]),
		"point at zero":            k.p256.with("x", b64(make([]byte, 32))).with("y", b64(make([]byte, 32))),
		"short coordinate":         k.p256.with("x", b64(make([]byte, 31))),
		"short Ed25519":            k.ed.with("x", b64(make([]byte, 31))),
		"alg of another type":      k.p256.with("alg", "RS256"),
		"alg HS256 with RSA":       k.rsa.with("alg", "HS256"),
		"alg none":                 k.rsa.with("alg", "none"),
		"alg not of this issuer":   k.rsa.with("alg", "RS512"),
		"kid of another type":      k.rsa.with("kid", 7),
		"kid over 256 bytes":       k.rsa.with("kid", strings.Repeat("k", 257)),
		"names in another case":    {"KTY": "RSA", "N": k.rsa["n"], "E": "AQAB"},
		"n of another type":        k.rsa.with("n", 7),
		"ES512 key with P-256 alg": k.p521.with("alg", "ES256"),
	} {
		t.Run(name, func(t *testing.T) {
			set, err := jwks.Parse(document(bad, good), all)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := set.Lookup("good", "EdDSA"); !ok || set.Len() != 1 || len(set.Skipped()) != 1 {
				t.Errorf("%d keys, skipped %q", set.Len(), set.Skipped())
			}
		})
	}
}

// rocaModulus is M·k + (65537^a mod M) with M the product of the primes to 167: the form of CVE-2017-15361.
func rocaModulus() string {
	m := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			m.Mul(m, big.NewInt(p))
		}
	}
	residue := new(big.Int).Exp(big.NewInt(65537), big.NewInt(1234567), m)
	n := new(big.Int).Lsh(big.NewInt(1), 2047)
	n.Sub(n, new(big.Int).Mod(n, m))
	n.Add(n, m).Add(n, residue)
	return b64(n.Bytes())
}

// Requirement 8: a key gets the algorithm that it names, else those of its type that the issuer accepts.
func TestKeys8Algorithms(t *testing.T) {
	k := keys()
	for _, c := range []struct {
		name    string
		key     jwk
		allowed []string
		want    []string
	}{
		{"P-256", k.p256, all, []string{"ES256"}},
		{"P-384", k.p384, all, []string{"ES384"}},
		{"P-521", k.p521, all, []string{"ES512"}},
		{"P-521 is not in the issuer's list", k.p521, []string{"RS256"}, nil},
		{"Ed25519", k.ed, all, []string{"EdDSA", "Ed25519"}},
		{"Ed25519 that says EdDSA", k.ed.with("alg", "EdDSA"), all, []string{"EdDSA"}},
		{"RSA that says PS256", k.rsa.with("alg", "PS256"), all, []string{"PS256"}},
		{"RSA never both families", k.rsa, all, []string{"RS256", "RS384"}},
		{"RSA of a PS issuer", k.rsa, []string{"PS256"}, []string{"PS256"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := jwks.Parse(document(c.key.with("kid", "k")), c.allowed)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, alg := range all {
				if key, ok := set.Lookup("k", alg); ok {
					if key.Algorithm != alg {
						t.Errorf("%s key for %s", key.Algorithm, alg)
					}
					got = append(got, alg)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeys7Duplicates(t *testing.T) {
	k := keys()
	a, b := k.rsa.with("kid", "k").with("alg", "RS256"), k.rsa2.with("kid", "k").with("alg", "RS256")
	for _, c := range []struct {
		name string
		keys []jwk
		want int
	}{
		{"same kid, two keys: both dropped", []jwk{a, b}, 0},
		{"both dropped, a third time too", []jwk{a, b, a}, 0},
		{"identical keys", []jwk{a, a}, 1},
		{"one kid for two algorithms", []jwk{a, a.with("alg", "RS384")}, 2},
		{"one kid for two types", []jwk{a, k.p256.with("kid", "k")}, 2},
		{"one key for two issuers", []jwk{a.with("issuer", "https://a.example"), a.with("issuer", "https://b.example")}, 0},
		{"one key for an issuer and for all", []jwk{a.with("issuer", "https://a.example"), a}, 0},
		{"enc and sig share a kid", []jwk{a, b.with("use", "enc")}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := jwks.Parse(document(c.keys...), all)
			if err != nil {
				t.Fatal(err)
			}
			if set.Len() != c.want {
				t.Errorf("%d keys, want %d: %q", set.Len(), c.want, set.Skipped())
			}
			if _, ok := set.Lookup("k", "RS256"); ok != (c.want > 0) {
				t.Errorf("found: %v", ok)
			}
		})
	}
}

func TestLookupWithoutKid(t *testing.T) {
	k := keys()
	one, err := jwks.Parse(document(k.rsa, k.p256), all)
	must(err)
	if _, ok := one.Lookup("", "RS256"); !ok {
		t.Error("the only RS256 key is not found")
	}
	if _, ok := one.Lookup("any", "RS256"); ok {
		t.Error("a key without kid is found under a name")
	}
	two, err := jwks.Parse(document(k.rsa, k.rsa2), all)
	must(err)
	if _, ok := two.Lookup("", "RS256"); ok {
		t.Error("one of two keys was chosen")
	}
	if _, ok := (*jwks.Set)(nil).Lookup("", "RS256"); ok {
		t.Error("a key in no set")
	}
}

// Requirement 6: limits of the document, and nothing but strict JSON.
func TestKeys6Document(t *testing.T) {
	k := keys()
	many := make([]jwk, 65)
	for i := range many {
		many[i] = k.ed
	}
	for name, text := range map[string][]byte{
		"empty": {}, "not JSON": []byte("<html>"), "null": []byte("null"), "array": []byte("[]"), "no keys": []byte("{}"),
		"keys is null": []byte(`{"keys":null}`), "keys is an object": []byte(`{"keys":{}}`), "keys twice": []byte(`{"keys":[],"keys":[]}`),
		"data after it": []byte(`{"keys":[]} {}`), "65 keys": document(many...),
		"over 256 KiB": append(document(k.ed), []byte(strings.Repeat(" ", jwks.MaxBytes))...),
	} {
		if set, err := jwks.Parse(text, all); !errors.Is(err, jwks.ErrDocument) || set != nil {
			t.Errorf("%s: %v, %v", name, set, err)
		}
	}
	if set, err := jwks.Parse([]byte(`{"keys":[]}`), all); err != nil || set.Len() != 0 {
		t.Errorf("no key: %v, %v", set, err)
	}
}

// The keys have the types that the signing methods want.
func TestPublicTypes(t *testing.T) {
	k := keys()
	set, err := jwks.Parse(document(k.rsa, k.p256, k.ed), []string{"RS256", "ES256", "EdDSA"})
	must(err)
	types := map[string]func(crypto.PublicKey) bool{
		"RS256": func(p crypto.PublicKey) bool { _, ok := p.(*rsa.PublicKey); return ok },
		"ES256": func(p crypto.PublicKey) bool { _, ok := p.(*ecdsa.PublicKey); return ok },
		"EdDSA": func(p crypto.PublicKey) bool { _, ok := p.(ed25519.PublicKey); return ok },
	}
	for alg, is := range types {
		if key, ok := set.Lookup("", alg); !ok || !is(key.Public) {
			t.Errorf("%s: %v", alg, key)
		}
	}
}
