//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// webResult is what the official client tells a program.
type webResult struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Order   map[string]string `json:"order"`
	Orders  []map[string]string
}

// official calls with the official client.
func (s *shop) official(t *testing.T, host, method, format, token string) (got webResult) {
	t.Helper()
	if _, err := os.Stat("../grpcweb/node_modules/grpc-web"); err != nil {
		t.Fatalf("the official client is not installed: npm ci --prefix test/grpcweb (%v)", err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "../grpcweb/client.js",
		fmt.Sprintf("http://127.0.0.1:%d", s.plain), host, method, format, token)
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}

// TestGRPCWebClient: the official gRPC-Web client understands what it is answered, and hears a refusal as its code and words.
func TestGRPCWebClient(t *testing.T) {
	s, e := startShop(t)
	good := e.Token(audience, "read")
	order := func(id string) map[string]string {
		return map[string]string{"id": id, "user": "alice", "caller": edgeID}
	}
	for _, format := range []string{"text", "binary"} {
		for _, c := range []struct {
			name, method, token string
			want                webResult
		}{
			{"allowed", "GetOrder", good, webResult{Order: order("7")}},
			{"stream", "WatchOrders", good, webResult{Orders: []map[string]string{order("0"), order("1"), order("2")}}},
			{"no token", "GetOrder", "-", webResult{Code: 16, Message: "a token is needed: Authorization: Bearer TOKEN"}},
			{"no token, stream", "WatchOrders", "-", webResult{Code: 16, Message: "a token is needed: Authorization: Bearer TOKEN"}},
			{"without the scope", "GetOrder", e.Token(audience, "other"), webResult{Code: 7, Message: "the token lacks a scope: read"}},
			{"a method that nothing allows", "Forget", good, webResult{Code: 7, Message: "this is not allowed"}},
		} {
			if format == "binary" && c.method != "GetOrder" {
				continue // the client streams in text only
			}
			t.Run(format+" "+c.name, func(t *testing.T) {
				if diff := cmp.Diff(c.want, s.official(t, shopHost, c.method, format, c.token)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestGRPCWebBehindHTTPRoute: a browser of another origin needs the CORS filter, which a GRPCRoute has not. An HTTPRoute with it serves
// gRPC-Web too: the sidecar of the port translates, and a refusal of the gateway is one that the client reads.
func TestGRPCWebBehindHTTPRoute(t *testing.T) {
	s := newShop(t)
	e := s.start(t, fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: page}
spec:
  parentRefs: [{name: edge}]
  hostnames: [page.test]
  rules:
  - filters:
    - type: CORS
      cors: {allowOrigins: ["https://app.test"], allowMethods: [POST], allowHeaders: ["*"], exposeHeaders: [grpc-status, grpc-message]}
    backendRefs: [{group: credence.mesh, kind: Workload, name: orders, port: %d}]
`, s.port), strings.Replace(openTo("page", "HTTPRoute", `[{name: read, to: [{grpc: [{service: shop.v1.Orders}]}], require: {scopes: {allOf: [read]}}}]`),
		"  rules:", "  authentication: {issuers: [dev]}\n  rules:", 1))
	for _, content := range []string{"application/grpc-web+proto", "application/grpc-web-text"} {
		call := rawCall{
			http1: true, host: "page.test", method: "/shop.v1.Orders/GetOrder", id: "7", content: content,
			header: map[string]string{"origin": "https://app.test", "accept": content},
		}
		for token, want := range map[string]string{e.Token(audience, "read"): "", e.Token(audience, "other"): "7", "": "16"} {
			call.token = token
			before := s.app.calls.Load()
			r := s.raw(t, call)
			body := r.body
			if strings.HasPrefix(content, "application/grpc-web-text") {
				body = decodeText(t, body)
			}
			if r.status != 200 || r.headers.Get("access-control-allow-origin") != "https://app.test" || r.headers.Get("grpc-status") != want {
				t.Errorf("%s, want status %q: %d %v %q", content, want, r.status, r.headers, r.body)
			}
			if allowed := want == ""; allowed != bytes.Contains(body, []byte("grpc-status:0")) || allowed != (s.app.calls.Load() > before) {
				t.Errorf("%s, want status %q: %q", content, want, body)
			}
		}
	}
	for _, format := range []string{"text", "binary"} {
		if got := s.official(t, "page.test", "GetOrder", format, e.Token(audience, "read")); got.Order["user"] != "alice" {
			t.Errorf("%s: %+v", format, got)
		}
		want := webResult{Code: 7, Message: "the token lacks a scope: read"}
		if diff := cmp.Diff(want, s.official(t, "page.test", "GetOrder", format, e.Token(audience, "other"))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}
