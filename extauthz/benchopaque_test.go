package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// Where a server process of opaque tokens asks, and the file with its secret.
const (
	benchIntrospection = "CREDENCE_BENCH_INTROSPECTION"
	benchSecret        = "CREDENCE_BENCH_SECRET"
)

// newOpaqueServer is newBenchServer for an issuer of opaque tokens; cold: each Check asks it.
func newOpaqueServer(url, secret string, cold bool) (*extauthz.Server, error) {
	keys := jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})
	jwts, err := token.New(token.Options{Keys: keys})
	if err != nil {
		return nil, err
	}
	opaque, err := introspect.New(introspect.Options{Keys: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	in := &policy.Introspection{URL: url, ClientID: "credence", SecretFile: secret, CacheFor: 5 * time.Minute}
	if cold {
		in.CacheFor = 0
	}
	issuers := []policy.Issuer{{Name: dev, Audiences: []string{"shop"}, Introspection: in}}
	jwts.Publish(issuers)
	opaque.Publish(issuers)
	s, err := extauthz.New(extauthz.Options{
		Callers:  callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
		Verifier: introspect.Bearer{JWT: jwts.Snapshot(), Opaque: opaque.Snapshot()},
		PeerID: func(c string) (string, error) {
			id, _, _ := strings.Cut(c, "#")
			return peerIDs(id)
		},
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), //nolint:sloglint // what a record costs is measured
	})
	if err != nil {
		return nil, err
	}
	s.Publish(orders(), 1)
	return s, nil
}

// authorizationServer says that every token is alice's, and returns its URL and the file with our secret.
func authorizationServer(t testing.TB) (url, secret string) {
	t.Helper()
	as := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"active":true,"sub":"alice","client_id":"cli","aud":"shop","scope":"orders:read","exp":%d}`, time.Now().Add(time.Hour).Unix())
	}))
	t.Cleanup(as.Close)
	secret = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	return as.URL, secret
}

// BenchmarkCheckOpaque is BenchmarkCheck for opaque tokens: cached, and asked about in every Check. The authorization server is in this
// process, so server-µs/op has its client only.
func BenchmarkCheckOpaque(b *testing.B) {
	url, secret := authorizationServer(b)
	b.Setenv(benchIntrospection, url)
	b.Setenv(benchSecret, secret)
	for _, kind := range []string{"empty", "opaque_cached", "opaque_cold"} {
		b.Run(kind, func(b *testing.B) { load(b, startServer(b, kind), 0, full("7Q3KZ2WJX5B4N6M7P8R9T0V1Y2")) })
	}
}

// A cached opaque token costs a Check no more allocations than a cached JWT does.
func TestAllocationsOfOpaqueToken(t *testing.T) {
	url, secret := authorizationServer(t)
	s, err := newOpaqueServer(url, secret, false)
	jwt, err2 := newBenchServer(newIDP().jwks(), false)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	measure := func(s *extauthz.Server, req *authv3.CheckRequest) float64 {
		return testing.AllocsPerRun(200, func() {
			resp, err := s.Check(context.Background(), req)
			if err != nil || resp.GetOkResponse() == nil {
				t.Fatal(resp, err)
			}
		})
	}
	opaque, cached := measure(s, full("7Q3KZ2WJX5B4N6M7P8R9T0V1Y2")), measure(jwt, full(newIDP().mint(t, "ES256", "1", "orders:read")))
	t.Logf("opaque %.0f, JWT %.0f allocations", opaque, cached)
	if opaque > cached+2 { // what pools forget under the race detector
		t.Errorf("a cached opaque token takes %.0f allocations, a JWT %.0f", opaque, cached)
	}
}
