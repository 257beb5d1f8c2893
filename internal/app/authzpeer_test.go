package app_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/credence-mesh/credence/internal/app"
)

// TestAuthzPeerRunsOut: the other Envoy looks at a client's certificate at the handshake, and its connections may outlive it.
func TestAuthzPeerRunsOut(t *testing.T) {
	var socket string
	_, err := startAuthz(t, func(o *app.AuthzOptions) {
		socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Socket.Path = socket
	})
	must(t, err)
	a, ca := dial(t, "unix:"+socket, insecure.NewCredentials()), newAuthority(t)
	for until, want := range map[time.Duration]string{time.Hour: "", -time.Second: "peer_invalid"} {
		cert, _ := ca.named("spiffe://beside.test/web", time.Now().Add(until))
		resp, err := a.client.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Source: &authv3.AttributeContext_Peer{Certificate: url.PathEscape(string(cert))},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Host: "shop.test", Path: "/public",
			}},
		}})
		must(t, err)
		if got := resp.GetStatus().GetMessage(); got != want {
			t.Errorf("a certificate until %v from now: %q, want %q", until, got, want)
		}
	}
}

// TestAuthzNamesToTheLetter: a name that prints like one of the list is not it.
func TestAuthzNamesToTheLetter(t *testing.T) {
	ca := newAuthority(t)
	files, _ := writeTLS(t, ca)
	b, err := startAuthz(t, func(o *app.AuthzOptions) { o.Address, o.TLS = "127.0.0.1:0", files })
	must(t, err)
	e, err := app.ReadEndpoints(b.state)
	must(t, err)
	for name, want := range map[string]string{
		"spiffe://beside.test/envoy": "allowed", "spiffe://beside.test/envoy#": "Unavailable", "SPIFFE://beside.test/envoy": "Unavailable",
	} {
		cert, key := ca.named(name, time.Now().Add(time.Hour))
		if got := dial(t, e.Checks[0], credentials.NewTLS(clientTLS(t, ca, cert, key))).get(t.Context(), "shop.test", "/public"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// named is a certificate as X509-SVID §4 wants it, with this URI to the letter.
func (a *authority) named(uri string, until time.Time) (cert, key []byte) {
	a.t.Helper()
	scheme, rest, _ := strings.Cut(uri, ":")
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: until, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: []*url.URL{{Scheme: scheme, Opaque: rest}},
	}, a.cert, a.key.Public(), a.key)
	must(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(a.key)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}
