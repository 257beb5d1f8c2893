package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity"
)

const (
	ledger   = "spiffe://td/ns/default/wl/ledger"
	payments = "spiffe://td/ns/default/wl/payments"
	batch    = "spiffe://td/ns/default/wl/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs what the tests ask for.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials struct { // certificates of one run are told apart by their serial numbers
	sync.Mutex
	last int64
}

func serial() *big.Int {
	serials.Lock()
	defer serials.Unlock()
	serials.last++
	return big.NewInt(serials.last)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func uri(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s) //nolint:forbidigo // no request target
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func sign(t testing.TB, tpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newAuthority(t testing.TB, td string) authority {
	t.Helper()
	key := newKey(t)
	tpl := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, URIs: []*url.URL{uri(t, "spiffe://"+td)},
	}
	return authority{cert: sign(t, tpl, tpl, key, key), key: key}
}

// credential is an SVID with its key.
type credential struct {
	id    string
	chain []*x509.Certificate
	key   *ecdsa.PrivateKey
}

// issue signs an SVID; change spoils it.
func (a authority) issue(t testing.TB, id string, change ...func(*x509.Certificate)) credential {
	t.Helper()
	tpl := &x509.Certificate{
		SerialNumber: serial(), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{uri(t, id)},
	}
	for _, f := range change {
		f(tpl)
	}
	key := newKey(t)
	return credential{id: id, chain: []*x509.Certificate{sign(t, tpl, a.cert, key, a.key)}, key: key}
}

// api is a Workload API that says what the test tells it.
type api struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	address string

	mu      sync.Mutex
	answer  *workload.X509SVIDResponse
	fault   error
	changed chan struct{}
	server  *grpc.Server
	served  chan error
}

func newAPI(t testing.TB) *api {
	t.Helper()
	dir, err := os.MkdirTemp("", "id")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &api{address: "unix://" + filepath.Join(dir, "s"), fault: status.Error(codes.Unavailable, "the manifests are not read yet"), changed: make(chan struct{})}
	a.start(t)
	t.Cleanup(func() { a.stop(t) })
	return a
}

func (a *api) start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("unix", a.address[len("unix://"):])
	if err != nil {
		t.Fatal(err)
	}
	server, served := grpc.NewServer(), make(chan error, 1)
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	a.server, a.served = server, served
	go func() { served <- server.Serve(l) }()
}

func (a *api) stop(t testing.TB) {
	t.Helper()
	if a.server == nil {
		return
	}
	a.server.Stop()
	if err := <-a.served; err != nil {
		t.Error(err)
	}
	a.server = nil
}

func (a *api) FetchX509SVID(_ *workload.X509SVIDRequest, s grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	if !slices.Equal(md.Get("workload.spiffe.io"), []string{"true"}) {
		return status.Error(codes.InvalidArgument, "security header")
	}
	for {
		a.mu.Lock()
		answer, fault, changed := a.answer, a.fault, a.changed
		a.mu.Unlock()
		if fault != nil {
			return fault
		}
		if err := s.Send(answer); err != nil {
			return err
		}
		select {
		case <-s.Context().Done():
			return nil
		case <-changed:
		}
	}
}

func (a *api) say(answer *workload.X509SVIDResponse, fault error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer, a.fault = answer, fault
	close(a.changed)
	a.changed = make(chan struct{})
}

// serve says: this is who you are, and these are the authorities of your trust domain.
func (a *api) serve(t testing.TB, c credential, authorities ...authority) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	one := &workload.X509SVID{SpiffeId: c.id, X509SvidKey: key}
	for _, cert := range c.chain {
		one.X509Svid = append(one.X509Svid, cert.Raw...)
	}
	for _, ca := range authorities {
		one.Bundle = append(one.Bundle, ca.cert.Raw...)
	}
	a.say(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{one}}, nil)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, a *api) *identity.Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	src, err := identity.Open(ctx, identity.Options{Address: a.address, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

// source is an open Source of id, and its API.
func source(t testing.TB, ca authority, id string) (*identity.Source, *api) {
	t.Helper()
	a := newAPI(t)
	a.serve(t, ca.issue(t, id), ca)
	return open(t, a), a
}

// eventually waits for what the other end of a stream will see.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		<-tick.C
	}
}
