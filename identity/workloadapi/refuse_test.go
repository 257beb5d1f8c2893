package workloadapi_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
	wl "github.com/credence-mesh/credence/identity/workloadapi"
)

// serveAlso serves the mesh once more on a socket of its own.
func (m *mesh) serveAlso(t *testing.T, o wl.Options, options ...grpc.ServerOption) {
	t.Helper()
	o.Entitlements, o.SVIDs, o.Bundles = m.entitlements, m.keeper, m.bundles
	s, err := wl.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.socket = filepath.Join(m.dir, "also")
	l, err := net.Listen("unix", m.socket)
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
}

// A server that was given no credentials attests nobody, so it serves nobody.
func TestNobodyIsServedUnattested(t *testing.T) {
	m := start(t)
	m.serveAlso(t, wl.Options{})
	if r, err := stream(t, m).Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("SVIDs: %v, %v", r, err)
	}
	b, err := workload.NewSpiffeWorkloadAPIClient(m.dial(t)).FetchX509Bundles(withHeader(context1m(t)), &workload.X509BundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := b.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("bundles: %v, %v", r, err)
	}
}

// WA-3: a state is complete or it is not sent. The CA has no bundle of the foreign trust domain and issues nothing in it.
func TestWA3NoPartOfAState(t *testing.T) {
	m := start(t)
	m.entitlements.set([]spiffeid.ID{orders(), spiffeid.RequireFromString("spiffe://other/a")}, nil)
	if r, err := stream(t, m).Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("SVIDs without a bundle: %v, %v", r, err)
	}
	b, err := workload.NewSpiffeWorkloadAPIClient(m.dial(t)).FetchX509Bundles(withHeader(context1m(t)), &workload.X509BundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := b.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("bundles without that of an own trust domain: %v, %v", r, err)
	}
	m.entitlements.set([]spiffeid.ID{orders(), {}}, errors.New("half an answer"))
	if r, err := stream(t, m).Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("IDs beside an error: %v, %v", r, err)
	}
}

// WA-20: what a stream rests on is looked at again although nobody says that it changed.
func TestWA20AskedAgainInSilence(t *testing.T) {
	m := start(t)
	m.serveAlso(t, wl.Options{Recheck: time.Millisecond}, wl.ServerOptions()...)
	s := stream(t, m)
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	m.entitlements.mu.Lock()
	m.entitlements.answer = refusal(&attest.NotEntitledError{Reason: "the process is another one now"})
	m.entitlements.mu.Unlock()
	if r, err := s.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("after a silent loss: %v, %v", r, err)
	}
}

func refusal(err error) func(context.Context, *attest.Process) ([]spiffeid.ID, error) {
	return func(context.Context, *attest.Process) ([]spiffeid.ID, error) { return nil, err }
}
