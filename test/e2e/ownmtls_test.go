//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity"
	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

const (
	ledgerID   = "spiffe://e2e.test/ns/default/wl/ledger"
	paymentsID = "spiffe://e2e.test/ns/default/wl/payments"
)

// ownSite is a mesh in which the test process is ledger, which serves mTLS itself at two ports: books answers whoever may not with 403, vault
// refuses the handshake. Payments and batch are sidecars through which the tests call.
type ownSite struct {
	*site
	books, vault, rpc, payments, batch, safe, ledgerOut, safeOut int
}

func newOwnSite(t *testing.T) *ownSite {
	t.Helper()
	p := testport.Free(t, 8)
	return &ownSite{site: newSite(t), books: p[0], vault: p[1], payments: p[2], batch: p[3], rpc: p[4], safe: p[5], ledgerOut: p[6], safeOut: p[7]}
}

func (s *ownSite) manifests(t *testing.T) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		t.Fatal(err)
	}
	m := s.site.manifests(fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: books}
spec:
  parentRefs: [{name: edge, sectionName: plain}]
  rules: [{backendRefs: [{group: credence.mesh, kind: Workload, name: ledger, port: %d}]}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: books}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: books}]
  rules: [{name: all, authentication: [anonymous]}]
`, s.books))
	m["own.yaml"] = fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: ledger}
spec:
  selectors: {unix: {path: %s}}
  boundary: none
  ports:
  - {name: books, port: %d, mtls: application}
  - {name: vault, port: 1, mtls: application, inbound: "127.0.0.1:%d"}
  - {name: rpc, port: 2, protocol: GRPC, mtls: application, inbound: "127.0.0.1:%d"}
  sidecar: {outbound: "127.0.0.1:%d"}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: payments}
spec:
  selectors: {unix: {path: /nowhere/payments}}
  boundary: none
  sidecar: {outbound: "127.0.0.1:%d"}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: batch}
spec:
  selectors: {unix: {path: /nowhere/batch}}
  boundary: none
  sidecar: {outbound: "127.0.0.1:%d"}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: safe}
spec:
  selectors: {unix: {path: /nowhere/safe}}
  boundary: none
  ports: [{port: %d, mtls: application}]
  sidecar: {outbound: "127.0.0.1:%d"}
`, self, s.books, s.vault, s.rpc, s.ledgerOut, s.payments, s.batch, s.safe, s.safeOut)
	return m
}

// open is what ledger's main does.
func (s *ownSite) open(t *testing.T, e *testenv.Env) *identity.Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	src, err := identity.Open(ctx, identity.Options{Address: e.Endpoints().WorkloadAPI, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := src.Peer(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "hello "+id.String()+r.Header.Get("X-Credence-Subject"))
	})
	allowed := identity.Only(paymentsID, ledgerID)
	s.listen(t, src, s.books, identity.AnyOf("e2e.test"), src.Handler(allowed, hello))
	s.listen(t, src, s.vault, allowed, hello)
	s.listenGRPC(t, src)
	return src
}

// listenGRPC serves gRPC: any workload may connect, payments may call.
func (s *ownSite) listenGRPC(t *testing.T, src *identity.Source) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.rpc))
	if err != nil {
		t.Fatal(err)
	}
	payments := identity.Only(paymentsID)
	g := grpc.NewServer(grpc.Creds(src.ServerCredentials(identity.AnyOf("e2e.test"))),
		grpc.UnaryInterceptor(src.UnaryInterceptor(payments)), grpc.StreamInterceptor(src.StreamInterceptor(payments)))
	healthpb.RegisterHealthServer(g, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }() // ends with Stop
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// rpcCall is a unary call and a stream through an outbound listener.
func (s *ownSite) rpcCall(t *testing.T, outbound int) (unary, stream error) {
	t.Helper()
	cc, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", outbound),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("ledger:2"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := healthpb.NewHealthClient(cc)
	_, unary = c.Check(ctx, &healthpb.HealthCheckRequest{})
	w, stream := c.Watch(ctx, &healthpb.HealthCheckRequest{})
	if stream == nil {
		_, stream = w.Recv()
	}
	return unary, stream
}

func (s *ownSite) listen(t *testing.T, src *identity.Source, port int, a identity.Authorizer, h http.Handler) {
	t.Helper()
	l, err := src.Listen(t.Context(), fmt.Sprintf("127.0.0.1:%d", port), a)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, l, h)
}

func (s *ownSite) serve(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// through calls ledger as the workload behind an outbound listener does.
func (s *ownSite) through(outbound int, port string) testenv.Request {
	return testenv.Request{Proxy: fmt.Sprintf("127.0.0.1:%d", outbound), Host: "ledger" + port, Path: "/"}
}

func (s *ownSite) booksPort() string { return fmt.Sprintf(":%d", s.books) }

// Sidecars and gateways reach an application that serves mTLS itself as they reach any workload; its code alone says who may.
func TestOwnMTLS(t *testing.T) {
	s := newOwnSite(t)
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(t)}) // ready, although ledger does not listen yet
	t.Run("somebody else at its address is not called", func(t *testing.T) { s.impostor(t) })
	src := s.open(t, e)
	if got := src.ID().String(); got != ledgerID {
		t.Fatalf("this process is %s", got)
	}
	t.Run("another workload at its address is not called", func(t *testing.T) { s.otherWorkload(t, src) })
	vault := ":1"
	for _, tt := range []struct {
		name   string
		r      testenv.Request
		status int
		body   string
	}{
		{"payments", s.through(s.payments, s.booksPort()), 200, "hello " + paymentsID},
		{"payments, where the handshake asks", s.through(s.payments, vault), 200, "hello " + paymentsID},
		{"batch", s.through(s.batch, s.booksPort()), 403, `"reason":"peer_not_allowed"`},
		{"batch, where the handshake asks", s.through(s.batch, vault), 503, ""},
		{"the gateway", testenv.Request{Addr: s.frontAddr(), Path: "/"}, 403, "the code of " + ledgerID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got testenv.Reply
			e.Await("the answer", func() string { // the proxy backs off from an address where an impostor was
				var err error
				if got, err = testenv.Get(t.Context(), tt.r); err != nil || got.Status == 503 && tt.status != 503 {
					return fmt.Sprint(got.Status, err)
				}
				return ""
			})
			if got.Status != tt.status || !strings.Contains(got.Body, tt.body) {
				t.Errorf("got %d %q", got.Status, got.Body)
			}
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		if unary, stream := s.rpcCall(t, s.payments); unary != nil || stream != nil {
			t.Errorf("payments: %v, %v", unary, stream)
		}
		unary, stream := s.rpcCall(t, s.batch)
		if status.Code(unary) != codes.PermissionDenied || !strings.Contains(unary.Error(), "the code of "+ledgerID) || status.Code(stream) != codes.PermissionDenied {
			t.Errorf("batch: %v, %v", unary, stream)
		}
	})
	t.Run("an SVID is needed", func(t *testing.T) {
		cfg := &tls.Config{InsecureSkipVerify: true}
		if got, err := testenv.Get(t.Context(), testenv.Request{Addr: "127.0.0.1" + s.booksPort(), Path: "/", TLS: cfg}); err == nil {
			t.Errorf("answered %d", got.Status)
		}
	})
	t.Run("status says which ports are its own", func(t *testing.T) {
		for _, w := range e.Status().Workloads {
			if w.Name == "default/ledger" && strings.Join(w.OwnMTLS, " ") != "books rpc vault" {
				t.Errorf("status says own mTLS at %v", w.OwnMTLS)
			}
		}
	})
	t.Run("policies have no force, and this is said", func(t *testing.T) { s.policies(t, e) })
}

// policies are written for ledger and for the whole mesh.
func (s *ownSite) policies(t *testing.T, e *testenv.Env) {
	const policy = `apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %s}
spec:
  targetRefs: [{group: credence.mesh, kind: %s, name: %s}]
  rules: [{name: all, authentication: [anonymous]}]
`
	e.Edit("policy.yaml", join(fmt.Sprintf(policy, "for-ledger", "Workload", "ledger"), fmt.Sprintf(policy, "for-all", "Mesh", "e2e")))
	want := map[string]int{"error policy-not-enforced AuthPolicy default/for-ledger": 3, "warning mesh-policy-not-enforced Workload default/ledger": 3}
	e.Await("the diagnostics", func() string {
		got := map[string]int{}
		for _, d := range e.Status().Diagnostics {
			got[d.Severity+" "+d.Code+" "+d.Object]++
		}
		for k, n := range want {
			if got[k] != n {
				return fmt.Sprint(got)
			}
		}
		return ""
	})
	if got, err := testenv.Get(t.Context(), s.through(s.batch, s.booksPort())); err != nil || got.Status != 403 {
		t.Errorf("batch: %d %v", got.Status, err)
	}
}

// SVIDs of ten seconds are renewed under constant load: through the sidecar of payments, and directly with a new connection each time. No
// request fails, and ledger's certificates follow each other.
func TestOwnMTLSRotation(t *testing.T) {
	s := newOwnSite(t)
	s.svidTTL = "10s"
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(t)})
	src := s.open(t, e)
	e.Await("the first answer", func() string {
		got, err := testenv.Get(t.Context(), s.through(s.payments, s.booksPort()))
		if err != nil || got.Status != 200 {
			return fmt.Sprint(got.Status, err)
		}
		return ""
	})
	l := startLoad(t, 2, func(r testenv.Reply) bool { return r.Status == 200 && r.Body == "hello "+paymentsID }, s.through(s.payments, s.booksPort()))
	var mu sync.Mutex
	serials, direct := map[string]bool{}, 0
	call := func() error {
		c := src.Client(identity.Only(ledgerID))
		c.Timeout = 10 * time.Second
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://127.0.0.1" + s.booksPort())
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		mu.Lock()
		defer mu.Unlock()
		serials[resp.TLS.PeerCertificates[0].SerialNumber.Text(16)] = true
		direct++
		return nil
	}
	begun := time.Now()
	e.Await("three certificates and the end of the first", func() string {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		if len(serials) < 3 || time.Since(begun) < 12*time.Second {
			return fmt.Sprintf("%d certificates so far", len(serials))
		}
		return ""
	})
	l.end(t)
	t.Logf("%d requests through the sidecar, %d directly, %d certificates", l.served, direct, len(serials))
}

// An edit hands a port over to the application: the sidecar gives its address free, and from then on the code decides, not the policy that let
// batch in.
func TestOwnMTLSHandOver(t *testing.T) {
	s := newOwnSite(t)
	manifests := s.manifests(t)
	own := manifests["own.yaml"]
	before := strings.Replace(own, fmt.Sprintf("{name: books, port: %d, mtls: application}", s.books),
		fmt.Sprintf("{name: books, port: %d, inbound: \"127.0.0.1:%d\"}", s.rpc, s.books), 1)
	before = strings.Replace(before, "  - {name: rpc", "  # {name: rpc", 1)
	after := strings.Replace(before, "inbound: \"127.0.0.1", "mtls: application, inbound: \"127.0.0.1", 1)
	const policy = `---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: ledger}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: ledger, sectionName: books}]
  rules: [{name: both, from: [{workload: payments}, {workload: batch}]}]
`
	manifests["own.yaml"] = before + policy
	manifests["routes.yaml"] = "# none\n"
	testenv.Application(t, "plain", s.rpc)
	e := testenv.Start(t, testenv.Options{Manifests: manifests})
	port := fmt.Sprintf(":%d", s.rpc)
	for _, caller := range []int{s.payments, s.batch} {
		if got, err := testenv.Get(t.Context(), s.through(caller, port)); err != nil || got.Status != 200 || got.Body != "plain" {
			t.Fatalf("through the sidecar: %d %q %v", got.Status, got.Body, err)
		}
	}
	e.Edit("own.yaml", after)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	src, err := identity.Open(ctx, identity.Options{Address: e.Endpoints().WorkloadAPI, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	var l net.Listener
	e.Await("the sidecar has given its address free", func() string {
		if l, err = src.Listen(t.Context(), "127.0.0.1"+s.booksPort(), identity.AnyOf("e2e.test")); err != nil {
			return err.Error()
		}
		return ""
	})
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: src.Handler(identity.Only(paymentsID), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "own")
	}))}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
	for caller, want := range map[int]int{s.payments: 200, s.batch: 403} {
		var got testenv.Reply
		e.Await("the code's answer", func() string {
			got, err = testenv.Get(t.Context(), s.through(caller, port))
			if err == nil && (got.Body == "own" || strings.Contains(got.Body, "decided_by")) {
				return ""
			}
			return fmt.Sprint(got.Status, got.Body, err)
		})
		if got.Status != want {
			t.Errorf("got %d %q, want %d", got.Status, got.Body, want)
		}
	}
}
