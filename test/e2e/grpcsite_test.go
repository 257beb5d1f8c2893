//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// shopHost is the host of the gRPC service at the gateway.
const shopHost = "shop.test"

// ordersApp is a gRPC application that knows nothing of identities: it says what it was told.
type ordersApp struct {
	shoppb.UnimplementedOrdersServer
	// calls counts the calls that reached it.
	calls atomic.Int64
	conns *trackedConns
	// ended is closed where the test ends: "deaf" calls wait for nothing else.
	ended chan struct{}
}

// order is what the mesh told the application of a call.
func order(ctx context.Context, id string) *shoppb.Order {
	md, _ := metadata.FromIncomingContext(ctx)
	first := func(name string) string { return strings.Join(md.Get(name), "|") }
	return &shoppb.Order{Id: id, User: first("x-credence-subject"), Caller: first("x-credence-peer")}
}

func (a *ordersApp) GetOrder(ctx context.Context, r *shoppb.GetOrderRequest) (*shoppb.Order, error) {
	a.calls.Add(1)
	switch r.GetId() {
	case "missing":
		return nil, status.Error(codes.NotFound, "no order of that name: 100 %")
	case "wait":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case "deaf":
		<-a.ended
		return nil, status.Error(codes.Internal, "the test has ended")
	case "break":
		a.conns.closeAll()
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("x-order-trailer", "yes")); err != nil {
		return nil, err
	}
	return order(ctx, r.GetId()), nil
}

func (a *ordersApp) WatchOrders(r *shoppb.WatchOrdersRequest, s grpc.ServerStreamingServer[shoppb.Order]) error {
	a.calls.Add(1)
	tick := time.NewTicker(max(time.Millisecond, time.Duration(r.GetIntervalMs())*time.Millisecond))
	defer tick.Stop()
	for i := uint32(0); r.GetCount() == 0 || i < r.GetCount(); i++ {
		if err := s.Send(order(s.Context(), fmt.Sprint(i))); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-s.Context().Done():
			return status.FromContextError(s.Context().Err()).Err()
		}
	}
	return nil
}

func (a *ordersApp) AddOrders(s grpc.ClientStreamingServer[shoppb.Order, shoppb.AddOrdersResponse]) error {
	a.calls.Add(1)
	for n := uint32(0); ; n++ {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return s.SendAndClose(&shoppb.AddOrdersResponse{Count: n})
		} else if err != nil {
			return err
		}
	}
}

func (a *ordersApp) Chat(s grpc.BidiStreamingServer[shoppb.Order, shoppb.Order]) error {
	a.calls.Add(1)
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if in.GetId() == "break" {
			a.conns.closeAll()
		}
		if err := s.Send(order(s.Context(), in.GetId())); err != nil {
			return err
		}
	}
}

// trackedConns lets the application break its connections.
type trackedConns struct {
	net.Listener
	mu  sync.Mutex
	all []net.Conn
}

func (l *trackedConns) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, c)
	}
	return c, err
}

func (l *trackedConns) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.all {
		_ = c.Close() // it may be closed already
	}
	l.all = nil
}

// shop is a mesh with a gRPC service behind a gateway, and a workload that calls it inside the mesh.
type shop struct {
	app                                               *ordersApp
	plain, secure, issuer, port, inbound, out, outOut int
	svidTTL                                           string
}

func newShop(t testing.TB) *shop {
	t.Helper()
	p := testport.Free(t, 7)
	s := &shop{plain: p[0], secure: p[1], issuer: p[2], port: p[3], inbound: p[4], out: p[5], outOut: p[6], app: &ordersApp{ended: make(chan struct{})}}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Fatal(err)
	}
	s.app.conns = &trackedConns{Listener: l}
	srv := grpc.NewServer()
	shoppb.RegisterOrdersServer(srv, s.app)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(s.app.conns) }() // ends with Stop
	t.Cleanup(func() {
		close(s.app.ended)
		srv.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// manifests of the mesh; more are documents beside the route and policies of the service.
func (s *shop) manifests(more ...string) map[string]string {
	svid := ""
	if s.svidTTL != "" {
		svid = "\n  svid: {ttl: " + s.svidTTL + "}"
	}
	return map[string]string{
		"mesh.yaml": fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: e2e}
spec:
  trustDomain: e2e.test
  development: true%s
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: dev}
spec:
  issuer: http://127.0.0.1:%d
  audiences: [%s]
  keys: {development: {}}
---
apiVersion: credence.mesh/v1alpha1
kind: Certificate
metadata: {name: edge}
spec: {selfSigned: {hosts: [%s, localhost]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  addresses: [{value: 127.0.0.1}]
  listeners:
  - {name: plain, port: %d, protocol: HTTP}
  - {name: secure, port: %d, protocol: HTTPS, tls: {certificateRefs: [{group: credence.mesh, kind: Certificate, name: edge}]}}
`, svid, s.issuer, audience, shopHost, s.plain, s.secure),
		"orders.yaml": fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: orders}
spec:
  selectors: {unix: {path: /nowhere/orders}}
  boundary: none
  ports: [{name: grpc, port: %d, protocol: GRPC, inbound: "127.0.0.1:%d"}]
  sidecar: {outbound: "127.0.0.1:%d"}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: orders}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: orders}]
  authentication: {issuers: [dev]}
  rules:
  - name: gateway
    authentication: [anonymous]
    from: [{gateway: edge}]
  - name: caller
    authentication: [anonymous]
    from: [{workload: caller}]
    to: [{grpc: [{service: shop.v1.Orders, methods: [GetOrder, WatchOrders]}]}]
`, s.port, s.inbound, s.out),
		"caller.yaml": fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: caller}
spec:
  selectors: {unix: {path: /nowhere/caller}}
  boundary: none
  sidecar: {outbound: "127.0.0.1:%d"}
`, s.outOut),
		"routes.yaml": join(append([]string{s.route(), shopPolicy}, more...)...),
	}
}

// route of the service at both listeners.
func (s *shop) route() string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: orders}
spec:
  parentRefs: [{name: edge}]
  hostnames: [%[1]s]
  rules:
  - name: get
    matches: [{method: {service: shop.v1.Orders, method: GetOrder}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: orders, port: %[2]d}]
  - name: rest
    matches: [{method: {service: shop.v1.Orders}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: orders, port: %[2]d}]
`, shopHost, s.port)
}

// shopPolicy: one scope reads and streams; nothing allows the method Chat.
const shopPolicy = `apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: GRPCRoute, name: orders}]
  authentication: {issuers: [dev]}
  rules:
  - name: read
    to: [{grpc: [{service: shop.v1.Orders, methods: [GetOrder, WatchOrders, AddOrders]}]}]
    require: {scopes: {allOf: [read]}}
  - name: chat
    to: [{grpc: [{service: shop.v1.Orders, methods: [Chat]}]}]
    require: {scopes: {allOf: [chat]}}
`

// client of the service. Addr is the gateway's, or that of an outbound listener.
func shopClient(t testing.TB, addr, authority string, secure bool) shoppb.OrdersClient {
	t.Helper()
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: authority})
	}
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithAuthority(authority))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return shoppb.NewOrdersClient(c)
}

// withToken is a context of a call with a token, "" for none.
func withToken(t *testing.T, token string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// refusal is a gRPC status as a test compares it.
type refusal struct {
	Code    codes.Code
	Message string
	// Reason, Domain and Scope are those of the ErrorInfo; Decision tells that it has one.
	Reason, Domain, Scope string
	Decision              bool
}

func refusalOf(err error) refusal {
	s := status.Convert(err)
	r := refusal{Code: s.Code(), Message: s.Message()}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			r.Reason, r.Domain, r.Scope, r.Decision = info.GetReason(), info.GetDomain(), info.GetMetadata()["scope"], info.GetMetadata()["decision"] != ""
		}
	}
	return r
}

// startShop runs the mesh.
func startShop(t *testing.T, more ...string) (*shop, *testenv.Env) {
	t.Helper()
	s := newShop(t)
	return s, s.start(t, more...)
}

func (s *shop) start(t testing.TB, more ...string) *testenv.Env {
	t.Helper()
	return testenv.Start(t, testenv.Options{Manifests: s.manifests(more...)})
}
