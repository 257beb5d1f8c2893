//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
	"github.com/credence-mesh/credence/internal/testenv"
)

// oddCall is a call that no library for gRPC makes.
type oddCall struct {
	verb, host, path string
	http1            bool
	token            string
	header           http.Header
}

// odd sends c; a connection that ends without an answer is status 0.
func (s *shop) odd(t *testing.T, c oddCall) rawReply {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(c.http1)
	protocols.SetUnencryptedHTTP2(!c.http1)
	transport := &http.Transport{Protocols: &protocols, DisableKeepAlives: c.http1}
	defer transport.CloseIdleConnections()
	// The target is sent as it is: net/url would read it first.
	req, err := http.NewRequestWithContext(t.Context(), c.verb, fmt.Sprintf("http://127.0.0.1:%d/", s.plain), bytes.NewReader(frame(t, &shoppb.GetOrderRequest{Id: "7"})))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(c.path, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	if strings.HasPrefix(path, "//") {
		req.URL.Opaque = "http://" + c.host + path // net/http takes the part after "//" for a host
	}
	req.Host, req.Header = c.host, c.header.Clone()
	req.Header.Set("te", "trailers")
	if c.token != "" {
		req.Header.Set("authorization", "Bearer "+c.token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Logf("%+v: %v", c, err)
		return rawReply{}
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Logf("%+v: %v", c, err)
	}
	return rawReply{status: resp.StatusCode, headers: resp.Header, body: data, after: resp.Trailer}
}

func grpcContent(values ...string) http.Header { return http.Header{"Content-Type": values} }

// TestGRPCAttacks: whoever may call one method tries another, and whoever may call nothing tries to pass a refusal.
func TestGRPCAttacks(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.start(t, fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: open}
spec:
  parentRefs: [{name: edge}]
  hostnames: [open.test]
  rules: [{backendRefs: [{group: credence.mesh, kind: Workload, name: orders, port: %d}]}]
`, s.port), openTo("open", "HTTPRoute", `[{name: all, authentication: [anonymous]}, {name: never, action: deny, to: [{grpc: [{service: shop.v1.Orders, methods: [GetOrder]}]}]}]`))
	t.Run("another method by another spelling", func(t *testing.T) { s.otherSpellings(t, e) })
	t.Run("refusals under odd content types", func(t *testing.T) { s.oddTypes(t, e) })
	t.Run("errors with HTTP 200 are kept by no cache", func(t *testing.T) { s.cachedErrors(t) })
	t.Run("a denied method by another verb", func(t *testing.T) { s.otherVerbs(t) })
}

// otherSpellings of a method that needs the scope chat, with a token that has read; of a method that needs a token, without one.
func (s *shop) otherSpellings(t *testing.T, e *testenv.Env) {
	for _, path := range []string{
		"/shop.v1.Orders/Chat", "/shop.v1.Orders/Chat/", "//shop.v1.Orders/Chat", "/shop.v1.Orders//Chat", "/shop.v1.Orders/%43hat", "/shop.v1.Orders%2fChat",
		"/shop.v1.Orders/GetOrder/../Chat", "/shop.v1.Orders/GetOrder/%2e%2e/Chat", "/x/../shop.v1.Orders/Chat", "/./shop.v1.Orders/Chat",
		"/shop.v1.Orders/Chat?/shop.v1.Orders/GetOrder", "/shop.v1.Orders/Chat;/GetOrder", "/shop.v1.Orders;x/Chat", "/shop.v1.Orders/Chat%3b", "/shop.v1.Orders/Chat%00",
		"/shop.v1.Orders/Chat%20", "/shop.v1.Orders\\Chat", "/SHOP.V1.Orders/chat", "/shop.v1.Orders/GetOrder%2f..%2fChat", "/shop%2ev1.Orders/Chat",
	} {
		for _, http1 := range []bool{false, true} {
			before := s.app.calls.Load()
			r := s.odd(t, oddCall{http.MethodPost, shopHost, path, http1, e.Token(audience, "read"), grpcContent("application/grpc")})
			if n := s.app.calls.Load() - before; n != 0 || r.trailer("grpc-status") == "0" {
				t.Errorf("%s, HTTP/1.1 %t: %d calls reached the application: %+v", path, http1, n, r)
			}
		}
	}
}

// oddTypes: no content type makes a refusal that the client could take for an answer of the application, and none is an allow.
func (s *shop) oddTypes(t *testing.T, e *testenv.Env) {
	for _, c := range []struct {
		types  []string
		status int
		grpc   string
	}{
		{[]string{"application/grpc"}, 200, "7"},
		{[]string{"APPLICATION/gRPC"}, 200, "7"},
		{[]string{"application/grpc", "application/json"}, 403, ""},
		{[]string{"application/json", "application/grpc"}, 403, ""},
		{[]string{"application/grpcx"}, 403, ""},
		{[]string{"application/grpc\t; x"}, 403, ""},
		{[]string{"application/grpc;x=\"a,b\""}, 200, "7"},
		{[]string{""}, 403, ""},
		{nil, 403, ""},
	} {
		for _, http1 := range []bool{false, true} {
			before := s.app.calls.Load()
			r := s.odd(t, oddCall{http.MethodPost, shopHost, "/shop.v1.Orders/GetOrder", http1, e.Token(audience, "other"), grpcContent(c.types...)})
			if n := s.app.calls.Load() - before; n != 0 || r.status != c.status || r.trailer("grpc-status") != c.grpc || r.headers.Get("cache-control") != "no-store" {
				t.Errorf("%q, HTTP/1.1 %t: %d calls reached the application: %d %v", c.types, http1, n, r.status, r.headers)
			}
		}
	}
}

// cachedErrors: to a GET with the content type of gRPC Envoy answers its own errors with HTTP 200 and nothing else.
func (s *shop) cachedErrors(t *testing.T) {
	for _, c := range []struct{ host, path string }{
		{"nobody.test", "/page"}, {shopHost, "/page"}, {shopHost, "/a%2fb"}, {shopHost, "/shop.v1.Orders/GetOrder"}, {"open.test", "/a;b"},
	} {
		for _, content := range []string{"application/grpc", "application/grpc+x"} {
			r := s.odd(t, oddCall{http.MethodGet, c.host, c.path, true, "", grpcContent(content)})
			if r.status != 200 || r.headers.Get("grpc-status") == "" || r.headers.Get("cache-control") != "no-store" {
				t.Errorf("%s %s: %d %v", c.host, c.path, r.status, r.headers)
			}
		}
	}
}

// otherVerbs: servers for gRPC look at the path and not always at the verb.
func (s *shop) otherVerbs(t *testing.T) {
	for _, verb := range []string{"POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"} {
		for _, path := range []string{"/shop.v1.Orders/GetOrder", "/shop.v1.Orders/GetOrder/"} {
			r := s.odd(t, oddCall{verb, "open.test", path, false, "", grpcContent("application/grpc")})
			// Envoy itself makes a gRPC status of every refusal of what has the content type, whatever the verb.
			if r.status != 200 || r.headers.Get("grpc-status") != "7" || r.headers.Get("x-credence-decision") == "" || r.headers.Get("cache-control") != "no-store" {
				t.Errorf("%s %s: %d %v", verb, path, r.status, r.headers)
			}
		}
	}
	if r := s.odd(t, oddCall{"POST", "open.test", "/shop.v1.Orders/GetOrders", false, "", grpcContent("application/grpc")}); r.trailer("grpc-status") != "12" {
		t.Errorf("a method that is not denied: %d %v", r.status, r.headers)
	}
}

// TestDeadlineLengthensNothing: what a client writes into grpc-timeout never lets a stream outlive its cap.
func TestDeadlineLengthensNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.svidTTL = "10s"
	e := s.start(t)
	token := e.Token(audience, "read")
	for _, timeout := range []string{"99999999H", "0S", "-1S", "0n", "300", "x", "999999999999999999999H", "", "1H, 2H"} {
		t.Run(timeout, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			r := s.raw(t, rawCall{method: "/shop.v1.Orders/GetOrder", id: "deaf", token: token, header: map[string]string{"grpc-timeout": timeout}})
			if took := time.Since(begun); took > 13*time.Second || slices.Contains([]string{"", "0"}, r.trailer("grpc-status")) {
				t.Errorf("after %v: %+v", took, r)
			}
		})
	}
}
