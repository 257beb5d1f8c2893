package app_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/sds"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

// self is a context as servers have it when this very process has connected.
func self(t *testing.T) (context.Context, *attest.Process) {
	t.Helper()
	l, err := app.ListenUnix(t.Context(), filepath.Join(shortDir(t), "s"), 0o600)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	var d net.Dialer
	client, err := d.DialContext(t.Context(), "unix", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	server, err := l.Accept()
	must(t, err)
	wrapped, info, err := attest.Credentials().ServerHandshake(server)
	must(t, err)
	t.Cleanup(func() { _ = wrapped.Close() })
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info})
	p, err := attest.FromContext(ctx)
	must(t, err)
	return ctx, p
}

func entitledMesh(t *testing.T, path string) *policy.Set {
	t.Helper()
	section := func(cert policy.Name) []policy.Listener {
		return []policy.Listener{{Address: "127.0.0.1", Port: 1, Protocol: policy.HTTPS, Sections: []policy.Section{{Name: "https", Certificates: []policy.Name{cert}}}}}
	}
	return &policy.Set{
		Mesh: policy.Mesh{TrustDomain: "example.org"},
		Gateways: []policy.Gateway{
			{Name: policy.Name{Namespace: "default", Name: "edge"}, SPIFFEID: "spiffe://example.org/ns/default/gw/edge", Listeners: section(shop)},
			{
				Name: policy.Name{Namespace: "default", Name: "inner"}, SPIFFEID: "spiffe://example.org/ns/default/gw/inner",
				Listeners: section(policy.Name{Namespace: "default", Name: "inner"}),
			},
		},
		Workloads: []policy.Workload{
			{Name: policy.Name{Namespace: "default", Name: "orders"}, SPIFFEID: "spiffe://example.org/ns/default/wl/orders", Selectors: policy.Selectors{Path: path}},
			{Name: policy.Name{Namespace: "default", Name: "payments"}, SPIFFEID: "spiffe://example.org/ns/default/wl/payments", Selectors: policy.Selectors{Path: "/nowhere"}},
		},
	}
}

func entitled(ctx context.Context, e *app.Entitlements, p *attest.Process) string {
	ids, err := e.Entitled(ctx, p)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return strings.Join(out, " ")
}

// A proxy has the identity of its own place and no other, though the manifests' selectors match its process too.
func TestEntitlements(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	ctx, p := self(t)
	var children attest.Children
	defer children.Close()
	e := app.NewEntitlements(&children)
	if _, err := e.Entitled(ctx, p); !errors.Is(err, attest.ErrNotReady) {
		t.Errorf("before the first Set: %v, want ErrNotReady", err)
	}
	told := e.Changed()
	must(t, e.Apply(entitledMesh(t, exe)))
	if !changed(told) {
		t.Error("a new Set was not told")
	}
	if got, want := entitled(ctx, e, p), "spiffe://example.org/ns/default/wl/orders"; got != want {
		t.Errorf("a process of orders has %s, want %s", got, want)
	}
	if _, err := e.Caller(ctx); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a process that is no proxy may call: %v", err)
	}

	must(t, children.Add(os.Getpid(), "gateway/default/edge"))
	if got, want := entitled(ctx, e, p), "spiffe://example.org/ns/default/gw/edge"; got != want {
		t.Errorf("the gateway has %s, want %s", got, want)
	}
	if id, err := e.Caller(ctx); err != nil || id != "gateway/default/edge" {
		t.Errorf("the gateway calls as %q, %v", id, err)
	}
	set := entitledMesh(t, exe)
	set.Gateways = nil
	must(t, e.Apply(set))
	if got, want := entitled(ctx, e, p), "the manifests have no proxy gateway/default/edge any more"; !strings.Contains(got, want) {
		t.Errorf("a gateway that has gone has %s, want %s", got, want)
	}
}

// What no identity may be issued for is refused with the reason, to its processes and to its sidecar.
func TestDeniedWorkloadHasNoIdentity(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	ctx, p := self(t)
	var children attest.Children
	defer children.Close()
	e := app.NewEntitlements(&children)
	set := entitledMesh(t, exe)
	set.Workloads[0].Denied = "another claims its SPIFFE ID"
	must(t, e.Apply(set))
	if got := entitled(ctx, e, p); !strings.Contains(got, "another claims its SPIFFE ID") {
		t.Errorf("it has %s", got)
	}
	must(t, children.Add(os.Getpid(), "sidecar/default/orders"))
	if got := entitled(ctx, e, p); strings.HasPrefix(got, "spiffe://") {
		t.Errorf("its sidecar has %s", got)
	}
}

// A gateway gets the certificates of its own listeners; other gateways, sidecars and foreign processes get none.
func TestCertificatesOfGateways(t *testing.T) {
	ctx, p := self(t)
	var children attest.Children
	defer children.Close()
	e := app.NewEntitlements(&children)
	must(t, e.Apply(entitledMesh(t, "/nowhere/else")))
	store := app.NewCertificates(time.Now)
	store.Apply([]policy.Certificate{
		{Name: shop, SelfSignedHosts: []string{"localhost"}},
		{Name: policy.Name{Namespace: "default", Name: "inner"}, SelfSignedHosts: []string{"localhost"}},
	})
	source := app.GatewayCertificates(e, store)
	ask := func(name string) error {
		cert, key, err := source.Certificate(ctx, p, name)
		if err != nil && (cert != nil || key != nil) {
			t.Errorf("%s: an error and a key", name)
		}
		return err
	}
	refused := func(who string) {
		t.Helper()
		if err := ask("default/shop"); !errors.Is(err, sds.ErrUnknown) {
			t.Errorf("%s gets the certificate of edge: %v", who, err)
		}
	}
	refused("a foreign process")
	for _, proxy := range []string{"sidecar/default/orders", "gateway/default/inner", "gateway/default/nowhere"} {
		must(t, children.Add(os.Getpid(), proxy))
		refused(proxy)
		children.Remove(proxy)
	}
	must(t, children.Add(os.Getpid(), "gateway/default/edge"))
	must(t, ask("default/shop"))
	for _, name := range []string{"default/inner", "shop", "other/shop", "default/shop/x", ""} {
		if err := ask(name); !errors.Is(err, sds.ErrUnknown) {
			t.Errorf("edge gets %q: %v", name, err)
		}
	}
}
