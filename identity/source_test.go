package identity_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity"
)

// Open says why it has waited in vain.
func TestOpenExplains(t *testing.T) {
	refuse := func(code codes.Code, text string) func(*testing.T) string {
		return func(t *testing.T) string {
			a := newAPI(t)
			a.say(nil, status.Error(code, text))
			return a.address
		}
	}
	tests := []struct {
		name    string
		address func(*testing.T) string
		want    []string
	}{
		{"not recognised", refuse(codes.PermissionDenied, "uid 7: no Workload"), []string{"no Workload recognises this process", "uid 7: no Workload"}},
		{"not ready", refuse(codes.Unavailable, "the manifests are not read yet"), []string{"not there or not ready", "not read yet"}},
		{"a code after which go-spiffe gives up", refuse(codes.InvalidArgument, "no header"), []string{"no header"}},
		{"nobody listens", func(*testing.T) string { return "unix:///nonexistent/api.sock" }, []string{"not there or not ready", "/nonexistent/api.sock"}},
		{"no address", func(*testing.T) string { return "nonsense" }, []string{"address of the Workload API"}},
		{"an address by name", func(*testing.T) string { return "tcp://localhost:1" }, []string{"address of the Workload API"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := identity.Open(ctx, identity.Options{Address: tt.address(t), Log: quiet()})
			if !errors.Is(err, identity.ErrNoIdentity) {
				t.Fatalf("got %v", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error %q lacks %q", err, w)
				}
			}
		})
	}
	t.Run("SPIFFE_ENDPOINT_SOCKET is not set", func(t *testing.T) {
		t.Setenv("SPIFFE_ENDPOINT_SOCKET", "")
		if _, err := identity.Open(t.Context(), identity.Options{Log: quiet()}); err == nil || !strings.Contains(err.Error(), "$SPIFFE_ENDPOINT_SOCKET is not set: it names the socket of the Workload API, with credence workloadAPI in endpoints.json") {
			t.Errorf("got %v", err)
		}
	})
}

// Open waits while the API refuses, and no key is in the log.
func TestOpenWaits(t *testing.T) {
	ca, a := newAuthority(t, "td"), newAPI(t)
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", a.address)
	var log lockedBuffer
	opened := make(chan *identity.Source, 1)
	go func() {
		src, err := identity.Open(context.Background(), identity.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Error(err)
		}
		opened <- src
	}()
	eventually(t, "the reason of the wait in the log", func() bool { return strings.Contains(log.String(), "not ready") })
	a.say(nil, status.Error(codes.PermissionDenied, "who?"))
	eventually(t, "the next reason", func() bool { return strings.Contains(log.String(), "no Workload recognises this process") })
	c := ca.issue(t, ledger)
	a.serve(t, c, ca)
	src := <-opened
	if src == nil {
		t.FailNow()
	}
	if got := src.ID().String(); got != ledger {
		t.Errorf("ID %q", got)
	}
	if text := log.String(); strings.Contains(text, "PRIVATE") || strings.Contains(text, keyText(t, c)) {
		t.Error("a key in the log")
	}
	for range 2 { // the second Close does nothing
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
	if !src.ID().IsZero() {
		t.Errorf("after Close the ID is %s", src.ID())
	}
}

// keyText is the secret number in decimal digits, as a careless log would show it.
func keyText(t *testing.T, c credential) string {
	t.Helper()
	raw, err := c.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(raw).String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What the API says and others would refuse is not taken over: the last good SVID stays.
func TestBadUpdateIsKeptBack(t *testing.T) {
	ca := newAuthority(t, "td")
	server, a := source(t, ca, ledger)
	caller, _ := source(t, ca, payments)
	target := serve(t, server, identity.Only(payments), hello(server))
	for name, spoil := range map[string]func(*x509.Certificate){
		"two URI names":     func(c *x509.Certificate) { c.URIs = append(c.URIs, uri(t, batch)) },
		"expired":           func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) },
		"no key usage of a": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment },
	} {
		a.serve(t, ca.issue(t, ledger, spoil), ca)
		a.serve(t, newAuthority(t, "td").issue(t, ledger), ca) // of a CA that is not in the bundle that came along
		other := ca.issue(t, ledger)
		other.key = newKey(t)
		a.serve(t, other, ca)
		client := caller.Client(identity.Only(ledger))
		if status, body, err := get(t, client, target); err != nil || status != 200 {
			t.Errorf("%s: %d %q %v", name, status, body, err)
		}
		client.CloseIdleConnections()
	}
}

// The last SVID serves while the API is away, and a restarted API is found again.
func TestAPIRestarts(t *testing.T) {
	ca := newAuthority(t, "td")
	server, a := source(t, ca, ledger)
	caller, _ := source(t, ca, payments)
	target := serve(t, server, identity.Only(payments), hello(server))
	call := func() error {
		client := caller.Client(identity.Only(ledger))
		defer client.CloseIdleConnections()
		_, _, err := get(t, client, target)
		return err
	}
	a.stop(t)
	if err := call(); err != nil {
		t.Errorf("while the API is away: %v", err)
	}
	a.serve(t, ca.issue(t, batch), ca) // the API comes back with another name, so that the update is seen
	a.start(t)
	eventually(t, "the update after the restart", func() bool { return server.ID().String() == batch })
	a.say(nil, status.Error(codes.InvalidArgument, "once"))
	a.serve(t, ca.issue(t, ledger), ca)
	eventually(t, "the update after InvalidArgument", func() bool { return server.ID().String() == ledger })
	if err := call(); err != nil {
		t.Error(err)
	}
}

// PermissionDenied means: this process is no workload any more (WA-12). It shows its SVID to nobody from then on.
func TestDeniedDropsTheIdentity(t *testing.T) {
	ca := newAuthority(t, "td")
	server, a := source(t, ca, ledger)
	caller, _ := source(t, ca, payments)
	target := serve(t, server, identity.Only(payments), hello(server))
	client := caller.Client(identity.Only(ledger))
	defer client.CloseIdleConnections()
	if _, _, err := get(t, client, target); err != nil {
		t.Fatal(err)
	}
	a.say(nil, status.Error(codes.PermissionDenied, "its executable has changed"))
	eventually(t, "handshakes fail, and the kept connection is closed", func() bool { _, _, err := get(t, client, target); return err != nil })
	if !server.ID().IsZero() {
		t.Errorf("it still is %s", server.ID())
	}
	a.serve(t, ca.issue(t, ledger), ca)
	eventually(t, "it serves again", func() bool { _, _, err := get(t, client, target); return err == nil })
}

// Our own SVID ends like a peer's: a Source whose API is away too long shows it to nobody.
func TestOwnSVIDExpires(t *testing.T) {
	ca := newAuthority(t, "td")
	a := newAPI(t)
	a.serve(t, ca.issue(t, ledger, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Second) }), ca)
	server := open(t, a)
	target := serve(t, server, identity.Only(payments), hello(server))
	// A client that takes any server: the server itself must not show what has ended.
	tr := &http.Transport{TLSClientConfig: rawTLS(ca.issue(t, payments)), DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	if _, _, err := get(t, client, target); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no handshake any more", func() bool { _, _, err := get(t, client, target); return err != nil })
}

// Rotation of both ends under constant new connections costs no request, and the new certificates are seen.
func TestRotationUnderLoad(t *testing.T) {
	ca := newAuthority(t, "td")
	server, sa := source(t, ca, ledger)
	caller, csa := source(t, ca, payments)
	target := serve(t, server, identity.Only(payments), hello(server))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var served atomic.Int64
	serialsSeen := sync.Map{}
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				client := caller.Client(identity.Only(ledger))
				req, err := newRequest(target)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				serialsSeen.Store(resp.TLS.PeerCertificates[0].SerialNumber.String(), true)
				_ = resp.Body.Close()
				client.CloseIdleConnections()
				served.Add(1)
			}
		})
	}
	next := newAuthority(t, "td")
	for i := range 20 {
		signer := ca
		if i >= 10 {
			signer = next // in both bundles since long
		}
		one := signer.issue(t, ledger)
		csa.serve(t, signer.issue(t, payments), ca, next)
		sa.serve(t, one, ca, next)
		eventually(t, "a connection with the new SVID", func() bool { return seen(&serialsSeen, one) })
	}
	stop()
	wg.Wait()
	t.Logf("%d requests, each on a connection of its own", served.Load())
}

func seen(m *sync.Map, c credential) bool {
	_, ok := m.Load(c.chain[0].SerialNumber.String())
	return ok
}
