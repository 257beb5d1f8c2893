package sds_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/ca"
	"github.com/credence-mesh/credence/identity/internal/pulse"
	"github.com/credence-mesh/credence/identity/keeper"
	"github.com/credence-mesh/credence/identity/sds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	orders = "spiffe://td/ns/default/wl/orders"
	ledger = "spiffe://td/ns/default/wl/ledger"
)

// state is everything that the server asks: what a test sets, or the real CA and keeper.
type state struct {
	changed pulse.Pulse
	keeper  *keeper.Keeper
	ca      *ca.CA

	mu     sync.Mutex
	ids    []spiffeid.ID
	err    error
	svids  map[spiffeid.ID]*x509svid.SVID // instead of the keeper's
	others []*x509bundle.Bundle
	drop   bool // the CA's bundle is left out
	certs  map[string][2][]byte
	hold   func() // before each answer about entitlement
}

func (s *state) set(change func(*state)) {
	s.mu.Lock()
	change(s)
	s.mu.Unlock()
	s.changed.Fire()
}

func (s *state) Changed() <-chan struct{} { return s.changed.C() }

func (s *state) Entitled(context.Context, *attest.Process) ([]spiffeid.ID, error) {
	s.mu.Lock()
	ids, err, hold := s.ids, s.err, s.hold
	s.mu.Unlock()
	if hold != nil {
		hold()
	}
	return ids, err
}

func (s *state) Get(ctx context.Context, id spiffeid.ID) (*x509svid.SVID, error) {
	s.mu.Lock()
	held := s.svids[id]
	s.mu.Unlock()
	if held != nil {
		return held, nil
	}
	return s.keeper.Get(ctx, id)
}

func (s *state) Bundles() []*x509bundle.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drop {
		return append([]*x509bundle.Bundle{x509bundle.New(s.ca.TrustDomain())}, s.others...)
	}
	return append(s.ca.Bundles(), s.others...)
}

func (s *state) Clients(context.Context, *attest.Process, string) ([]byte, error) {
	return nil, sds.ErrUnknown
}

func (s *state) Certificate(_ context.Context, _ *attest.Process, name string) (certPEM, keyPEM []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.certs[name]
	if !ok {
		return nil, nil, sds.ErrUnknown
	}
	return c[0], c[1], nil
}

func open(t *testing.T, name string) *ca.CA {
	t.Helper()
	a, err := ca.Open(ca.Options{Dir: t.TempDir(), TrustDomain: spiffeid.RequireTrustDomainFromString(name)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func start(t *testing.T) (*state, secretv3.SecretDiscoveryServiceClient) {
	t.Helper()
	return startWith(t, sds.Options{}, grpc.Creds(attest.Credentials()))
}

func startWith(t *testing.T, o sds.Options, options ...grpc.ServerOption) (*state, secretv3.SecretDiscoveryServiceClient) {
	t.Helper()
	authority := open(t, "td")
	k, err := keeper.New(keeper.Options{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	st := &state{
		keeper: k, ca: authority, ids: []spiffeid.ID{spiffeid.RequireFromString(orders)},
		svids: map[spiffeid.ID]*x509svid.SVID{}, certs: map[string][2][]byte{},
	}
	o.Entitlements, o.SVIDs, o.Bundles, o.Certificates = st, st, st, st
	s, err := sds.New(o)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sds")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(options...)
	s.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	cc, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cc.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, secretv3.NewSecretDiscoveryServiceClient(cc)
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func decode(t *testing.T, body *anypb.Any) *tlsv3.Secret {
	t.Helper()
	var s tlsv3.Secret
	if err := body.UnmarshalTo(&s); err != nil {
		t.Fatal(err)
	}
	if err := s.ValidateAll(); err != nil {
		t.Error(err)
	}
	return &s
}

func trustDomains(t *testing.T, s *tlsv3.Secret) []string {
	t.Helper()
	var config tlsv3.SPIFFECertValidatorConfig
	if err := s.GetValidationContext().GetCustomValidatorConfig().GetTypedConfig().UnmarshalTo(&config); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range config.GetTrustDomains() {
		td := spiffeid.RequireTrustDomainFromString(d.GetName())
		if b, err := x509bundle.Parse(td, d.GetTrustBundle().GetInlineBytes()); err != nil || b.Empty() {
			t.Errorf("bundle of %s: %v", d.GetName(), err)
		}
		names = append(names, d.GetName())
	}
	return names
}
