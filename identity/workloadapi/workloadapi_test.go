package workloadapi_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/ca"
	"github.com/credence-mesh/credence/identity/svid"
)

func (m *mesh) client(t *testing.T) *workloadapi.Client {
	t.Helper()
	c, err := workloadapi.New(t.Context(), workloadapi.WithAddr("unix://"+m.socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (m *mesh) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("unix:"+m.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cc.Close(); err != nil {
			t.Error(err)
		}
	})
	return cc
}

func context1m(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func withHeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
}

func TestWA9FetchX509SVID(t *testing.T) {
	m := start(t)
	m.entitlements.set([]spiffeid.ID{ledger(), orders()}, nil)
	svids, err := m.client(t).FetchX509SVIDs(context1m(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []spiffeid.ID
	for _, s := range svids {
		got = append(got, s.ID)
		if id, err := svid.Verify(s.Certificates, m.ca.Bundle(), time.Now()); err != nil || id != s.ID {
			t.Errorf("Verify: %v, %v", id, err)
		}
		if err := svid.CheckKey(s.Certificates[0], s.PrivateKey); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(got, []spiffeid.ID{ledger(), orders()}) { // WA-11: the order is kept
		t.Errorf("got %v", got)
	}
}

func TestWA13FetchX509Bundles(t *testing.T) {
	m := start(t)
	set, err := m.client(t).FetchX509Bundles(context1m(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := set.GetX509BundleForTrustDomain(td())
	if err != nil || !b.Equal(m.ca.Bundle()) {
		t.Errorf("bundle %v, %v", b, err)
	}
}

func TestWE3SecurityHeader(t *testing.T) {
	m := start(t)
	api := workload.NewSpiffeWorkloadAPIClient(m.dial(t))
	calls := map[string]func(context.Context) error{
		"FetchX509SVID": func(ctx context.Context) error {
			s, err := api.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"FetchX509Bundles": func(ctx context.Context) error {
			s, err := api.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"FetchJWTSVID": func(ctx context.Context) error {
			_, err := api.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{})
			return err
		},
	}
	headers := map[string][]string{"missing": nil, "True": {"True"}, "1": {"1"}, "empty": {""}, "two": {"true", "true"}, "true": {"true"}}
	for method, call := range calls {
		for name, values := range headers {
			ctx, cancel := context.WithCancel(context1m(t))
			for _, v := range values {
				ctx = metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", v)
			}
			err := call(ctx)
			cancel()
			if refused := status.Code(err) == codes.InvalidArgument; refused != (name != "true") {
				t.Errorf("%s with %s: %v", method, name, err)
			}
		}
	}
}

func TestWA2OthersAreUnimplemented(t *testing.T) {
	api := workload.NewSpiffeWorkloadAPIClient(start(t).dial(t))
	ctx := withHeader(context1m(t))
	_, jwt := api.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{"a"}})
	_, validate := api.ValidateJWTSVID(ctx, &workload.ValidateJWTSVIDRequest{})
	wit, err := api.FetchWITSVID(ctx, &workload.WITSVIDRequest{})
	if err == nil {
		_, err = wit.Recv()
	}
	for name, err := range map[string]error{"FetchJWTSVID": jwt, "ValidateJWTSVID": validate, "FetchWITSVID": err} {
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWE9UnavailableBeforeTheFirstSync(t *testing.T) {
	m := start(t)
	m.entitlements.set(nil, attest.ErrNotReady)
	_, err := m.client(t).FetchX509SVID(context1m(t))
	if status.Code(err) != codes.Unavailable {
		t.Errorf("not ready: %v", err)
	}
}

func TestWE10PermissionDeniedSaysWhy(t *testing.T) {
	m := start(t)
	m.entitlements.set(nil, &attest.NotEntitledError{Reason: "also needs uid 1"})
	_, err := m.client(t).FetchX509SVID(context1m(t))
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "no identity issued: also needs uid 1") {
		t.Errorf("not entitled: %v", err)
	}
	m.entitlements.set(nil, nil)
	if _, err := m.client(t).FetchX509Bundles(context1m(t)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("no IDs: %v", err)
	}
}

// stream opens FetchX509SVID without the library, which would hide single messages.
func stream(t *testing.T, m *mesh) grpc.ServerStreamingClient[workload.X509SVIDResponse] {
	t.Helper()
	s, err := workload.NewSpiffeWorkloadAPIClient(m.dial(t)).FetchX509SVID(withHeader(context1m(t)), &workload.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWA3CompleteStates(t *testing.T) {
	m := start(t)
	s := stream(t, m)
	first, err := s.Recv() // WA-4: at once
	if err != nil {
		t.Fatal(err)
	}
	m.entitlements.set([]spiffeid.ID{orders(), ledger()}, nil)
	second, err := s.Recv() // WA-5
	if err != nil {
		t.Fatal(err)
	}
	if len(first.GetSvids()) != 1 || len(second.GetSvids()) != 2 {
		t.Fatalf("%d and %d SVIDs", len(first.GetSvids()), len(second.GetSvids()))
	}
	if string(first.GetSvids()[0].GetX509Svid()) != string(second.GetSvids()[0].GetX509Svid()) {
		t.Error("an unchanged SVID was replaced")
	}
	if _, err := x509.ParsePKCS8PrivateKey(second.GetSvids()[1].GetX509SvidKey()); err != nil {
		t.Error(err)
	}
	foreign, err := ca.Open(ca.Options{Dir: filepath.Join(m.dir, "other"), TrustDomain: other().TrustDomain()})
	if err != nil {
		t.Fatal(err)
	}
	m.bundles.add(foreign.Bundle())
	third, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(third.GetSvids()) != 2 || len(third.GetFederatedBundles()["spiffe://other"]) == 0 || len(third.GetFederatedBundles()) != 1 {
		t.Errorf("%d SVIDs, federated %v", len(third.GetSvids()), third.GetFederatedBundles())
	}
}

func TestWA12EntitlementLostEndsTheStream(t *testing.T) {
	m := start(t)
	s := stream(t, m)
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	m.entitlements.set(nil, &attest.NotEntitledError{Reason: "its Workload was removed"})
	if r, err := s.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("after the loss: %v, %v", r, err)
	}
}

// TestWA20AskedBeforeEveryPush: what triggers a push doesn't matter, entitlement is asked first.
func TestWA20AskedBeforeEveryPush(t *testing.T) {
	m := start(t)
	s := stream(t, m)
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	m.entitlements.mu.Lock() // in silence
	m.entitlements.answer = func(context.Context, *attest.Process) ([]spiffeid.ID, error) {
		return nil, fmt.Errorf("look: %w", attest.ErrChanged)
	}
	m.entitlements.mu.Unlock()
	m.bundles.add(other())
	if r, err := s.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a push after the entitlement was lost: %v, %v", r, err)
	}
}

func TestWE13Reflection(t *testing.T) {
	cc := start(t).dial(t)
	s, err := reflectionpb.NewServerReflectionClient(cc).ServerReflectionInfo(context1m(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.String(), "SpiffeWorkloadAPI") {
		t.Errorf("services: %s", r)
	}
}

// TestAttestedWorkloads is the whole way: two programs, one of which a Workload's selectors recognise.
func TestAttestedWorkloads(t *testing.T) {
	m := start(t)
	known, stranger := m.program(t, "orders"), m.program(t, "stranger")
	uid := uint32(os.Geteuid())
	entries := []attest.Entry{{ID: orders(), Name: "default/orders", Selectors: attest.Selectors{UID: &uid, Path: known}}}
	m.entitlements.setFunc(func(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error) {
		a, err := p.Attest(ctx)
		if err != nil {
			return nil, err
		}
		id, _, err := attest.Match(entries, a)
		if err != nil {
			return nil, err
		}
		return []spiffeid.ID{id}, nil
	})
	if got := m.workload(t, known); got != orders().String() {
		t.Errorf("orders: %s", got)
	}
	got := m.workload(t, stranger)
	for _, want := range []string{"PermissionDenied", "path " + stranger, "default/orders", "also needs path " + known} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func (m *mesh) program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func (m *mesh) workload(t *testing.T, program string) string {
	t.Helper()
	cmd := exec.CommandContext(context1m(t), program)
	cmd.Env = []string{childEnv + "=" + m.socket}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
