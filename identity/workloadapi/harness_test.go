package workloadapi_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/ca"
	"github.com/credence-mesh/credence/identity/internal/pulse"
	"github.com/credence-mesh/credence/identity/keeper"
	wl "github.com/credence-mesh/credence/identity/workloadapi"
)

// childEnv makes the test binary a workload: it fetches its SVID from the socket and prints the ID, or the error.
const childEnv = "WORKLOADAPI_TEST_SOCKET"

func TestMain(m *testing.M) {
	if socket := os.Getenv(childEnv); socket != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		s, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr("unix://"+socket))
		cancel()
		if err != nil {
			fmt.Println(err)
			os.Exit(0)
		}
		fmt.Println(s.ID)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func td() spiffeid.TrustDomain { return spiffeid.RequireTrustDomainFromString("td") }
func orders() spiffeid.ID      { return spiffeid.RequireFromString("spiffe://td/ns/default/wl/orders") }

func ledger() spiffeid.ID { return spiffeid.RequireFromString("spiffe://td/ns/default/wl/ledger") }

func other() *x509bundle.Bundle {
	return x509bundle.New(spiffeid.RequireTrustDomainFromString("other"))
}

// entitlements answers as the last set says.
type entitlements struct {
	changed pulse.Pulse
	mu      sync.Mutex
	answer  func(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error)
}

func (e *entitlements) Entitled(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error) {
	e.mu.Lock()
	answer := e.answer
	e.mu.Unlock()
	return answer(ctx, p)
}

func (e *entitlements) Changed() <-chan struct{} { return e.changed.C() }

func (e *entitlements) set(ids []spiffeid.ID, err error) {
	e.setFunc(func(context.Context, *attest.Process) ([]spiffeid.ID, error) { return ids, err })
}

func (e *entitlements) setFunc(f func(context.Context, *attest.Process) ([]spiffeid.ID, error)) {
	e.mu.Lock()
	e.answer = f
	e.mu.Unlock()
	e.changed.Fire()
}

// bundles are the CA's and others.
type bundles struct {
	ca      *ca.CA
	changed pulse.Pulse
	mu      sync.Mutex
	others  []*x509bundle.Bundle
}

func (b *bundles) Bundles() []*x509bundle.Bundle {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(b.ca.Bundles(), b.others...)
}

func (b *bundles) Changed() <-chan struct{} { return b.changed.C() }

func (b *bundles) add(o *x509bundle.Bundle) {
	b.mu.Lock()
	b.others = append(b.others, o)
	b.mu.Unlock()
	b.changed.Fire()
}

type mesh struct {
	dir          string
	socket       string
	ca           *ca.CA
	keeper       *keeper.Keeper
	entitlements *entitlements
	bundles      *bundles
}

func start(t *testing.T) *mesh {
	t.Helper()
	dir, err := os.MkdirTemp("", "wlapi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	authority, err := ca.Open(ca.Options{Dir: filepath.Join(dir, "ca"), TrustDomain: td()})
	if err != nil {
		t.Fatal(err)
	}
	k, err := keeper.New(keeper.Options{Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{dir: dir, socket: filepath.Join(dir, "s"), ca: authority, keeper: k, entitlements: &entitlements{}, bundles: &bundles{ca: authority}}
	m.entitlements.set([]spiffeid.ID{orders()}, nil)
	s, err := wl.New(wl.Options{Entitlements: m.entitlements, SVIDs: k, Bundles: m.bundles})
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(wl.ServerOptions()...)
	s.Register(g)
	l, err := net.Listen("unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return m
}
