package dpop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/dpop"
)

const accessToken = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU" // RFC 9449 §7.1

type client struct {
	key *ecdsa.PrivateKey
	jwk map[string]any
	jkt string
}

func newClient(t testing.TB) client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	x, y := enc(point[1:33]), enc(point[33:])
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	return client{key: key, jwk: map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": y}, jkt: enc(sum[:])}
}

// proof with edits of header and claims; nil removes a member.
func (c client) proof(t testing.TB, now time.Time, header, claims map[string]any) string {
	t.Helper()
	ath := sha256.Sum256([]byte(accessToken))
	tok := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"jti": rand.Text(), "htm": "GET", "htu": "https://resource.example.org/protectedresource", "iat": now.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(ath[:]),
	})
	tok.Header["typ"], tok.Header["jwk"] = "dpop+jwt", c.jwk
	edit := func(to, from map[string]any) {
		for k, v := range from {
			if v == nil {
				delete(to, k)
			} else {
				to[k] = v
			}
		}
	}
	edit(tok.Header, header)
	edit(tok.Claims.(jwt.MapClaims), claims)
	s, err := tok.SignedString(c.key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(c client, proofs ...string) *dpop.Request {
	return &dpop.Request{
		Proofs: proofs, Method: "GET", Scheme: "https", Host: "resource.example.org", Path: "/protectedresource", Token: accessToken,
		Thumbprint: c.jkt, Audience: "gateway/default/edge",
	}
}

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// started is a Verifier that has run for an hour.
func started(o dpop.Options) (*dpop.Verifier, *clock) {
	c := &clock{time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)}
	o.Now = c.now
	v := dpop.New(o)
	c.t = c.t.Add(time.Hour)
	return v, c
}

// Every check of RFC 9449 §4.3 is broken once.
func TestChecks(t *testing.T) {
	v, at := started(dpop.Options{})
	now := at.t
	c, other := newClient(t), newClient(t)
	private := map[string]any{"kty": "EC", "crv": "P-256", "x": c.jwk["x"], "y": c.jwk["y"], "d": c.jwk["x"]}
	type m = map[string]any
	good := c.proof(t, now, nil, nil)
	for _, tt := range []struct {
		name   string
		proofs []string
		edit   func(*dpop.Request)
		want   string
	}{
		{"good", []string{good}, nil, ""},
		{"replayed", []string{good}, nil, dpop.ReasonReplayed},
		{"good at another service", []string{good}, func(r *dpop.Request) { r.Audience = "sidecar/default/orders" }, ""},
		{"none", nil, nil, dpop.ReasonMissing},
		{"two", []string{c.proof(t, now, nil, nil), c.proof(t, now, nil, nil)}, nil, dpop.ReasonSeveral},
		{"two, joined", []string{c.proof(t, now, nil, nil) + "," + c.proof(t, now, nil, nil)}, nil, dpop.ReasonSeveral},
		{"no JWT", []string{"x"}, nil, "malformed"},
		{"typ", []string{c.proof(t, now, m{"typ": "JWT"}, nil)}, nil, "typ"},
		{"no typ", []string{c.proof(t, now, m{"typ": nil}, nil)}, nil, "typ"},
		{"no key", []string{c.proof(t, now, m{"jwk": nil}, nil)}, nil, "proof_key"},
		{"private key", []string{c.proof(t, now, m{"jwk": private}, nil)}, nil, "proof_key"},
		{"symmetric key", []string{c.proof(t, now, m{"jwk": m{"kty": "oct", "k": "AAAA"}}, nil)}, nil, "proof_key"},
		{"signed by another key", []string{other.proof(t, now, m{"jwk": c.jwk}, nil)}, nil, "signature"},
		{"the token's key is another", []string{other.proof(t, now, nil, nil)}, nil, dpop.ReasonKey},
		{"the token names no key", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Thumbprint = "" }, dpop.ReasonKey},
		{"another method", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Method = "POST" }, dpop.ReasonMethod},
		{"another path", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Path = "/other" }, dpop.ReasonURL},
		{"another host", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Host = "other.example.org" }, dpop.ReasonURL},
		{"another port", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Host += ":8443" }, dpop.ReasonURL},
		{"another scheme", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Scheme = "http" }, dpop.ReasonURL},
		{"another scheme behind a gateway", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Scheme, r.AnyScheme = "http", true }, ""},
		{
			"a query, the port of https, capitals",
			[]string{c.proof(t, now, nil, m{"htu": "HTTPS://Resource.Example.ORG:443/x/../%70rotectedresource?a#b"})},
			func(r *dpop.Request) { r.Path += "?q=1" },
			"",
		},
		{"another user in the URL", []string{c.proof(t, now, nil, m{"htu": "https://a@resource.example.org/protectedresource"})}, nil, dpop.ReasonURL},
		{"another token", []string{c.proof(t, now, nil, nil)}, func(r *dpop.Request) { r.Token += "x" }, dpop.ReasonToken},
		{"no ath", []string{c.proof(t, now, nil, m{"ath": nil})}, nil, dpop.ReasonClaims},
		{"no jti", []string{c.proof(t, now, nil, m{"jti": nil})}, nil, dpop.ReasonClaims},
		{"a long jti", []string{c.proof(t, now, nil, m{"jti": strings.Repeat("a", 257)})}, nil, dpop.ReasonClaims},
		{"no iat", []string{c.proof(t, now, nil, m{"iat": nil})}, nil, dpop.ReasonClaims},
		{"iat is text", []string{c.proof(t, now, nil, m{"iat": "1"})}, nil, "claim_type"},
		{"60 s old", []string{c.proof(t, now.Add(-60*time.Second), nil, nil)}, nil, ""},
		{"61 s old", []string{c.proof(t, now.Add(-61*time.Second), nil, nil)}, nil, dpop.ReasonTime},
		{"5 s ahead", []string{c.proof(t, now.Add(5*time.Second), nil, nil)}, nil, ""},
		{"6 s ahead", []string{c.proof(t, now.Add(6*time.Second), nil, nil)}, nil, dpop.ReasonTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(c, tt.proofs...)
			if tt.edit != nil {
				tt.edit(r)
			}
			err := v.Verify(r)
			if got := credential.Reason(err); got != tt.want || err != nil && !errors.Is(err, credential.ErrInvalid) {
				t.Errorf("%v, want reason %q", err, tt.want)
			}
		})
	}
}

// The thumbprint is that of RFC 9449 §6.1's example key.
func TestThumbprintOfTheRFC(t *testing.T) {
	v, _ := started(dpop.Options{})
	// RFC 9449 §7.1, figure 12, with the key of figure 1: everything holds but the time.
	const proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR" +
		"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj" +
		"oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF" +
		"c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	r := request(client{jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, proof)
	if got := credential.Reason(v.Verify(r)); got != dpop.ReasonTime {
		t.Errorf("reason %q, want %q", got, dpop.ReasonTime)
	}
}

// A proof that the process before may have taken is refused without this process's nonce.
func TestStart(t *testing.T) {
	at := &clock{time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)}
	v, c := dpop.New(dpop.Options{Now: at.now}), newClient(t)
	at.t = at.t.Add(time.Second)
	ahead := c.proof(t, at.t.Add(4*time.Second), nil, nil)
	if got := credential.Reason(v.Verify(request(c, ahead))); got != dpop.ReasonNonce {
		t.Errorf("without the nonce: %q", got)
	}
	if err := v.Verify(request(c, c.proof(t, at.t, nil, map[string]any{"nonce": v.Nonce()}))); err != nil {
		t.Errorf("with the nonce: %v", err)
	}
	at.t = at.t.Add(10 * time.Second)
	if err := v.Verify(request(c, c.proof(t, at.t, nil, map[string]any{"nonce": "of another process"}))); err != nil {
		t.Errorf("later: %v", err)
	}
}

// Used proofs are never forgotten while they could be used, and the memory is bounded.
func TestBound(t *testing.T) {
	v, at := started(dpop.Options{Proofs: 32})
	a, first := newClient(t), ""
	first = a.proof(t, at.t, nil, nil)
	for _, p := range []string{first, a.proof(t, at.t, nil, nil)} {
		if err := v.Verify(request(a, p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Verify(request(a, a.proof(t, at.t, nil, nil))); !errors.Is(err, credential.ErrLimited) {
		t.Errorf("a sixteenth is used by one key: %v", err)
	}
	for range 15 {
		b := newClient(t)
		for range 2 {
			if err := v.Verify(request(b, b.proof(t, at.t, nil, nil))); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := newClient(t)
	if err := v.Verify(request(b, b.proof(t, at.t, nil, nil))); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("all is used: %v", err)
	}
	at.t = at.t.Add(60 * time.Second)
	if got := credential.Reason(v.Verify(request(a, first))); got != dpop.ReasonReplayed {
		t.Errorf("at its last moment: %q", got)
	}
	at.t = at.t.Add(10 * time.Second)
	if err := v.Verify(request(b, b.proof(t, at.t, nil, nil))); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestKeyOpsOfBrowsers(t *testing.T) {
	v, at := started(dpop.Options{})
	c := newClient(t)
	key := map[string]any{"key_ops": []string{"verify"}, "ext": true}
	for k, val := range c.jwk {
		key[k] = val
	}
	if err := v.Verify(request(c, c.proof(t, at.t, map[string]any{"jwk": key}, nil))); err != nil {
		t.Error(err)
	}
}

// BenchmarkVerify is a whole proof; every one is at an audience of its own, so that none is replayed.
func BenchmarkVerify(b *testing.B) {
	v, at := started(dpop.Options{Proofs: 1 << 30})
	c := newClient(b)
	r := request(c, c.proof(b, at.t, nil, nil))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r.Audience = strconv.Itoa(n)
		if err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignature is the limit: the signature alone.
func BenchmarkSignature(b *testing.B) {
	c, digest := newClient(b), sha256.Sum256([]byte("x"))
	signature, err := ecdsa.SignASN1(rand.Reader, c.key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&c.key.PublicKey, digest[:], signature) {
			b.Fatal("not valid")
		}
	}
}
