//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
)

// grpcRoute is a GRPCRoute with one rule per match, each named for its index, and rules that mark the request with it.
func (s *shop) grpcRoute(name, host string, matches ...string) string {
	var rules strings.Builder
	for i, m := range matches {
		fmt.Fprintf(&rules, `  - name: r%d
    matches: [%s]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-rule, value: r%d}]}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: orders, port: %d}]
`, i, m, i, s.port)
	}
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: %s}
spec:
  parentRefs: [{name: edge}]
  hostnames: [%s]
  rules:
%s`, name, host, rules.String())
}

// open lets everybody through a route of a kind, by rules of its own; missing names an issuer that is not there.
func openTo(name, kind, rules string) string {
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: %[2]s, name: %[1]s}]
  rules: %[3]s
`, name, kind, rules)
}

const anybody = `[{name: all, authentication: [anonymous]}]`

// TestGRPCRoute: which rule of a GRPCRoute takes a call, by the precedence of Gateway API, and that policies hold for rules, services and
// methods where expressions matched.
func TestGRPCRoute(t *testing.T) {
	var web string
	s := newShop(t)
	web = fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %%s}
spec:
  parentRefs: [{name: edge}]
  hostnames: [%%s]
  rules: [{backendRefs: [{group: credence.mesh, kind: Workload, name: orders, port: %d}]}]
`, s.port)
	e := s.start(t,
		s.grpcRoute("match", "match.test",
			`{}`,
			`{method: {method: GetOrder}}`,
			`{method: {type: RegularExpression, service: "other\\.v[0-9]+\\.[A-Z][a-z]+"}}`,
			`{method: {type: RegularExpression, service: "shop\\..*", method: "Get.*"}}`,
			`{method: {service: shop.v1.Orders}}`,
			`{method: {service: shop.v1.Orders, method: Chat}}`,
			`{method: {service: shop.v1.Orders, method: Chat}, headers: [{name: x-lane, value: "fast|quick", type: RegularExpression}]}`,
		), openTo("match", "GRPCRoute", `[{name: all, authentication: [anonymous]}, {name: none, action: deny, to: [{grpc: [{service: other.v9.Thing, methods: [Get]}, {service: third.S}]}]}]`),
		s.grpcRoute("unknown", "unknown.test", `{}`), strings.Replace(openTo("unknown", "GRPCRoute", `[{name: all}]`), "  rules:", "  authentication: {issuers: [gone]}\n  rules:", 1),
		// One kind of routes per host: first by name, of two with one name the HTTPRoute.
		s.grpcRoute("aa", "first.test", `{}`), openTo("aa", "GRPCRoute", anybody), fmt.Sprintf(web, "ab", `"*.test", other.example`), openTo("ab", "HTTPRoute", anybody),
	)
	rule := func(path string, header map[string]string) string {
		r := s.raw(t, rawCall{host: "match.test", method: path, header: header, id: "7"})
		if denied := r.trailer("grpc-status"); denied == "7" {
			return r.headers.Get("x-rule") + " 7"
		}
		return r.headers.Get("x-rule")
	}
	for _, c := range []struct{ path, lane, want string }{
		{"/shop.v1.Orders/GetOrder", "", "r4"},
		{"/shop.v1.Orders/Chat", "", "r5"},
		{"/shop.v1.Orders/Chat", "fast", "r6"},
		{"/shop.v1.Orders/Chat", "faster", "r5"},
		{"/shop.v2.Orders/GetOrder", "", "r3"},
		{"/shop.v2.Orders/Put", "", "r0"},
		{"/shop.v1.OrdersX/Put", "", "r0"},
		{"/other.v1.Thing/Put", "", "r2"},
		{"/otherxv1.Thing/Put", "", "r0"},
		{"/other.v1.Thing/a/b", "", "r0"},
		{"/some.S/GetOrder", "", "r1"},
		{"/some.S/GetOrders", "", "r0"},
		{"/other.v9.Thing/Put", "", "r2"},
		// Denied by their names, whichever rule took them.
		{"/other.v9.Thing/Get", "", "r2 7"},
		{"/third.S/Anything", "", "r0 7"},
	} {
		header := map[string]string{}
		if c.lane != "" {
			header["x-lane"] = c.lane
		}
		if got := rule(c.path, header); got != c.want {
			t.Errorf("%s, lane %q: %s, want %s", c.path, c.lane, got, c.want)
		}
	}
	t.Run("no route", func(t *testing.T) {
		c := shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.plain), "nobody.example", false)
		if _, err := c.GetOrder(withToken(t, ""), &shoppb.GetOrderRequest{}); refusalOf(err).Code != codes.Unimplemented {
			t.Errorf("%v", err)
		}
	})
	t.Run("it cannot be told", func(t *testing.T) {
		c := shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.plain), "unknown.test", false)
		_, err := c.GetOrder(withToken(t, ""), &shoppb.GetOrderRequest{})
		want := refusal{codes.Unavailable, "it cannot be told now whether this request is allowed; try again later", "ISSUER_MISSING", "credence.mesh", "", true}
		if got := refusalOf(err); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for _, http1 := range []bool{true, false} {
			if r := s.raw(t, rawCall{http1: http1, host: "unknown.test", method: "/shop.v1.Orders/GetOrder", content: "application/grpc-web"}); r.status != 200 || r.headers.Get("grpc-status") != "14" {
				t.Errorf("gRPC-Web: %d %v", r.status, r.headers)
			}
		}
	})
	t.Run("overlap", func(t *testing.T) {
		grpc := s.raw(t, rawCall{host: "first.test", method: "/shop.v1.Orders/GetOrder", id: "1"})
		if grpc.headers.Get("x-rule") != "r0" || grpc.trailer("grpc-status") != "0" {
			t.Errorf("the GRPCRoute that is first: %+v", grpc)
		}
		if r := s.raw(t, rawCall{host: "other.example", method: "/x", content: "text/plain"}); r.status != 404 {
			t.Errorf("the HTTPRoute that is refused: %d", r.status)
		}
		if told := fmt.Sprint(e.Status().Diagnostics); !strings.Contains(told, "route-conflict") {
			t.Errorf("nothing tells of the conflict: %s", told)
		}
	})
}
