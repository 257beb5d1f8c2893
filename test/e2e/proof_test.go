//go:build e2e

package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/internal/testenv"
)

// clientCA signs certificates of clients.
type clientCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newClientCA(t *testing.T) clientCA {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return clientCA{cert, key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// client's certificate that ends then.
func (c clientCA) client(t *testing.T, name string, end time.Time) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// proven is a gateway that asks for client certificates, and an issuer that binds tokens.
type proven struct {
	site   *site
	issuer *keyIssuer
}

// token is bound to cnf; nil: to nothing.
func (p proven) token(t *testing.T, cnf map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	claims := jwt.MapClaims{
		"iss": p.issuer.server.URL, "aud": audience, "sub": "alice", "client_id": "cli", "jti": rand.Text(), "scope": "read", "iat": now, "exp": now + 3600,
	}
	if cnf != nil {
		claims["cnf"] = cnf
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["typ"], token.Header["kid"] = "at+jwt", "one"
	raw, err := token.SignedString(p.issuer.keys["one"])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// ask sends one request on a connection of its own; status 0: the handshake or the connection ended.
func (p proven) ask(t *testing.T, cert *tls.Certificate, method, path, auth string, proofs ...string) (int, http.Header) {
	t.Helper()
	conf := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: conf, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, p.site.frontAddr())
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://a.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	req.Header["Dpop"] = proofs
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, nil
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// dpopKey makes proofs.
type dpopKey struct {
	key *ecdsa.PrivateKey
	jwk map[string]any
	jkt string
}

func newDPoPKey(t *testing.T) dpopKey {
	t.Helper()
	key := newKey(t)
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	x, y := enc(point[1:33]), enc(point[33:])
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, x, y))
	return dpopKey{key, map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": y}, enc(sum[:])}
}

func (k dpopKey) proof(t *testing.T, method, url, token, nonce string) string {
	t.Helper()
	ath := sha256.Sum256([]byte(token))
	claims := jwt.MapClaims{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(ath[:])}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	proof.Header["typ"], proof.Header["jwk"] = "dpop+jwt", k.jwk
	raw, err := proof.SignedString(k.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func startProven(t *testing.T, required bool) (proven, clientCA) {
	t.Helper()
	return startProvenWith(t, required, func(string, *site, map[string]string) {})
}

// startProvenWith lets a test change the manifests; it is given the file of the CA.
func startProvenWith(t *testing.T, required bool, change func(caFile string, s *site, m map[string]string)) (proven, clientCA) {
	t.Helper()
	ca := newClientCA(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newKeyIssuer(t, false, "one")
	s, m := keyed(t, i, "{url: "+i.server.URL+"/keys, insecureTransport: true}")
	m["gateway.yaml"] = fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  addresses: [{value: 127.0.0.1}]
  infrastructure: {parametersRef: {group: credence.mesh, kind: GatewaySettings, name: edge}}
  listeners:
  - {name: plain, port: %d, protocol: HTTPS, tls: {certificateRefs: [{group: credence.mesh, kind: Certificate, name: edge}]}}
---
apiVersion: credence.mesh/v1alpha1
kind: GatewaySettings
metadata: {name: edge}
spec: {clientCertificates: {caFile: %q, required: %v}}
---
apiVersion: credence.mesh/v1alpha1
kind: Certificate
metadata: {name: edge}
spec: {selfSigned: {hosts: [a.test]}}
`, s.front, file, required)
	// The workload behind reads no token: bound tokens are for the gateway.
	m["lobby.yaml"] = strings.Replace(m["lobby.yaml"], "  authentication: {issuers: [dev]}\n", "", 1)
	change(file, s, m)
	testenv.Start(t, testenv.Options{Manifests: m})
	return proven{s, i}, ca
}

// Proofs of possession at a gateway (issue 5: replayed DPoP proof, certificate-bound token over another certificate).
func TestProofOfPossession(t *testing.T) {
	p, ca := startProven(t, false)
	k, other := newDPoPKey(t), newDPoPKey(t)
	token := p.token(t, map[string]any{"jkt": k.jkt})
	const url = "https://a.test/x"
	_, head := p.ask(t, nil, "GET", "/x", "DPoP "+token, k.proof(t, "GET", url, token, ""))
	nonce := head.Get("Dpop-Nonce")
	fresh := func() string { return k.proof(t, "GET", url, token, nonce) }
	used := fresh()
	later := time.Now().Add(time.Hour)
	mine, another := ca.client(t, "billing.test", later), ca.client(t, "other.test", later)
	sum := sha256.Sum256(mine.Certificate[0])
	bound := p.token(t, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])})
	for _, tt := range []struct {
		name, method, path, auth string
		cert                     *tls.Certificate
		proofs                   []string
		status                   int
		challenge                string
	}{
		{"good DPoP proof", "GET", "/x", "DPoP " + token, nil, []string{used}, 200, ""},
		{"replayed DPoP proof", "GET", "/x", "DPoP " + token, nil, []string{used}, 401, "invalid_dpop_proof"},
		{"DPoP proof of another method", "POST", "/x", "DPoP " + token, nil, []string{fresh()}, 401, "invalid_dpop_proof"},
		{"DPoP proof of another URL", "GET", "/y", "DPoP " + token, nil, []string{fresh()}, 401, "invalid_dpop_proof"},
		{"DPoP proof of another token", "GET", "/x", "DPoP " + p.token(t, map[string]any{"jkt": k.jkt}), nil, []string{fresh()}, 401, "invalid_dpop_proof"},
		{"DPoP proof of another key", "GET", "/x", "DPoP " + token, nil, []string{other.proof(t, "GET", url, token, nonce)}, 401, "invalid_dpop_proof"},
		{"two DPoP proofs", "GET", "/x", "DPoP " + token, nil, []string{fresh(), fresh()}, 401, "invalid_dpop_proof"},
		{"no DPoP proof", "GET", "/x", "DPoP " + token, nil, nil, 401, "invalid_dpop_proof"},
		{"bound token as Bearer", "GET", "/x", "Bearer " + token, nil, []string{fresh()}, 401, "invalid_token"},
		{"certificate-bound token over its certificate", "GET", "/x", "Bearer " + bound, mine, nil, 200, ""},
		{"certificate-bound token over another certificate", "GET", "/x", "Bearer " + bound, another, nil, 401, "invalid_token"},
		{"certificate-bound token without a certificate", "GET", "/x", "Bearer " + bound, nil, nil, 401, "invalid_token"},
		{"client certificate of another CA", "GET", "/x", "Bearer " + bound, newClientCA(t).client(t, "billing.test", later), nil, 0, ""},
		{"expired client certificate", "GET", "/x", "Bearer " + bound, ca.client(t, "billing.test", time.Now().Add(-time.Minute)), nil, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, head := p.ask(t, tt.cert, tt.method, tt.path, tt.auth, tt.proofs...)
			if got := head.Get("Www-Authenticate"); status != tt.status || !strings.Contains(got, tt.challenge) {
				t.Errorf("%d %s, want %d %s", status, got, tt.status, tt.challenge)
			}
		})
	}
}

func TestClientCertificateRequired(t *testing.T) {
	p, ca := startProven(t, true)
	if got, _ := p.ask(t, ca.client(t, "billing.test", time.Now().Add(time.Hour)), "GET", "/x", ""); got != 401 {
		t.Errorf("with a certificate and without a token: %d, want 401", got)
	}
	if got, _ := p.ask(t, nil, "GET", "/x", ""); got != 0 {
		t.Errorf("without a certificate: %d, and the handshake should have ended", got)
	}
}
