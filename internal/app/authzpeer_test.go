package app_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
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
		cert := ca.svid("spiffe://beside.test/web", time.Now().Add(until))
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

// svid is a workload's certificate as X509-SVID §4 wants it.
func (a *authority) svid(id string, until time.Time) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: until, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: []*url.URL{spiffeid.RequireFromString(id).URL()},
	}, a.cert, a.key.Public(), a.key)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
