//go:build e2e

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/internal/testenv"
)

// signer is an issuer with one key, which its TokenIssuer holds inline.
type signer struct {
	iss, kid string
	key      *ecdsa.PrivateKey
}

func newSigner(t *testing.T, iss, kid string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{iss, kid, key}
}

func (s *signer) jwks(t *testing.T) string {
	t.Helper()
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","use":"sig","kid":"%s","x":"%s","y":"%s"}]}`, s.kid, b64(point[1:33]), b64(point[33:]))
}

// token of s with changed claims; signed by another, with the other's kid or its own.
func (s *signer) token(t *testing.T, changes jwt.MapClaims, by *signer, kid string) string {
	t.Helper()
	c := jwt.MapClaims{
		"iss": s.iss, "sub": "alice", "aud": audience, "client_id": "web", "jti": "1", "scope": "read",
		"iat": time.Now().Add(-time.Second).Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	maps.Copy(c, changes)
	tok := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	tok.Header["typ"], tok.Header["kid"] = "at+jwt", kid
	raw, err := tok.SignedString(by.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func tokenIssuer(name, iss, jwks, more string) string {
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: %s}
spec:
  %s
  audiences: [%s]
  keys: {inline: '%s'}
%s`, name, iss, audience, jwks, more)
}

// policyOn attaches to an object of the Gateway API; its rule needs a user of one of issuers.
func policyOn(kind, name, issuers, rule string) string {
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: on-%[2]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: %[1]s, name: %[2]s}]
  authentication: {issuers: [%[3]s]}
  rules:
  - name: who
    %[4]s
`, kind, name, issuers, rule)
}

// TestSeveralIssuersOnOneRoute: each issuer is accepted with its own keys and by the levels that name it, on real Envoy.
func TestSeveralIssuersOnOneRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lobby")
	a, b, c := newSigner(t, "https://a.example", "one"), newSigner(t, "https://b.example", "one"), newSigner(t, "https://c.example/x", "two")
	route := func(name, path string) string {
		doc, _, _ := strings.Cut(s.route(name, "plain", path, "lobby", "public"), "---\n")
		return doc
	}
	const reads = "require: {scopes: {allOf: [read]}}"
	m := s.manifests(
		route("both", "/both"), policyOn("HTTPRoute", "both", "a, b, c", reads),
		route("mine", "/mine"), policyOn("HTTPRoute", "mine", "a", reads),
		route("people", "/people"), policyOn("HTTPRoute", "people", "a, b", "require: {principal: user}"),
		policyOn("Gateway", "edge", "a, b, c", reads),
	)
	m["issuers.yaml"] = join(
		tokenIssuer("a", "issuer: "+a.iss, a.jwks(t), "  serviceMarkers: [{pointer: /k8s.io/kind, anyOf: [job]}]\n"),
		tokenIssuer("b", "issuer: "+b.iss, b.jwks(t), ""),
		tokenIssuer("c", "issuerTemplate: {pattern: 'https://c.example/{org}', values: [x, y]}", c.jwks(t), ""),
	)
	m["lobby.yaml"] = strings.Replace(m["lobby.yaml"], "  authentication: {issuers: [dev]}\n", "", 1)
	e := testenv.Start(t, testenv.Options{Manifests: m})
	own := func(s *signer, changes jwt.MapClaims) string { return s.token(t, changes, s, s.kid) }
	const bad = "token_invalid"
	for _, r := range []struct {
		name, path, token string
		status            int
		reason            string
	}{
		{"a at both", "/both", own(a, nil), 200, ""},
		{"b at both", "/both", own(b, nil), 200, ""},
		{"a signed by b, under a kid that both have", "/both", a.token(t, nil, b, "one"), 401, bad},
		{"b signed by a", "/both", b.token(t, nil, a, "one"), 401, bad},
		{"a signed by c, under c's kid", "/both", a.token(t, nil, c, "two"), 401, bad},
		{"nobody's", "/both", own(&signer{"https://d.example", "one", a.key}, nil), 401, bad},
		{"c of organisation x", "/both", own(c, jwt.MapClaims{"org": "x"}), 200, ""},
		{"c of organisation y", "/both", own(c, jwt.MapClaims{"iss": "https://c.example/y", "org": "y"}), 200, ""},
		{"c of x that says y", "/both", own(c, jwt.MapClaims{"org": "y"}), 401, bad},
		{"c that says nothing", "/both", own(c, nil), 401, bad},
		{"c of an organisation that is not listed", "/both", own(c, jwt.MapClaims{"iss": "https://c.example/z", "org": "z"}), 401, bad},
		{"a at mine", "/mine", own(a, nil), 200, ""},
		{"b at mine: the gateway's policy accepts it, the route's does not", "/mine", own(b, nil), 401, "issuer_not_accepted"},
		{"a without the scope", "/both", own(a, jwt.MapClaims{"scope": "other"}), 403, "insufficient_scope"},
		{"a user", "/people", own(a, nil), 200, ""},
		{"a client of a user's name", "/people", own(a, jwt.MapClaims{"client_id": "alice"}), 403, "principal_not_allowed"},
		{"a mark of a", "/people", own(a, jwt.MapClaims{"k8s.io": map[string]string{"kind": "job"}}), 403, "principal_not_allowed"},
		{"a mark of a in a token of b", "/people", own(b, jwt.MapClaims{"k8s.io": map[string]string{"kind": "job"}}), 200, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			for range 2 { // verified, then from the cache
				got, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: r.path, Token: r.token})
				if err != nil {
					t.Fatal(err)
				}
				if got.Status != r.status || !strings.Contains(got.Body, r.reason) {
					t.Errorf("%d %s, want %d %s", got.Status, got.Body, r.status, r.reason)
				}
			}
		})
	}
	if log := e.Log(); !strings.Contains(log, "principal=service") || !strings.Contains(log, "principal=user") || !strings.Contains(log, "token_invalid:tenant") {
		t.Error("the decision log does not tell the kinds of principals, or not why a tenant's token is refused")
	}
}
