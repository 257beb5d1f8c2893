package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy"
)

// A match that can't be said is not served at all: left out, it must not become one that takes every call.
func TestCallsThatCannotBeMatched(t *testing.T) {
	for _, c := range []struct{ match, want string }{
		{`{service: shop.v1.Orders, method: Get}`, "/shop.v1.Orders/Get"},
		{`{service: "shop/Orders"}`, ""},
		{`{service: "shop%2FOrders"}`, ""},
		{`{service: "..", method: Get}`, ""},
		{`{service: shop.v1.Orders, method: "Get*"}`, ""},
		{`{type: Glob, service: shop.v1.Orders}`, ""},
		{`{type: RegularExpression, service: "shop[.]v[12]", method: "Get|List"}`, "/(?:shop[.]v[12])/(?:Get|List)"},
		// Each is an expression by itself, or it could end the group that it stands in.
		{`{type: RegularExpression, service: "a)|(?:b", method: Get}`, ""},
		{`{type: RegularExpression, service: a, method: "Get)|(?:.*"}`, ""},
		{`{type: RegularExpression, service: "a(?=b)"}`, ""},
	} {
		set, diags := compiled(t, edge{port: 80, listener: "http", hostnames: "web.test", rule: "- {}", policy: fmt.Sprintf(`---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: edge}]
  hostnames: [calls.test]
  rules: [{matches: [{method: %s}]}]
`, c.match)}.text())
		var got string
		for _, r := range allRoutes(set) {
			if r.GRPC {
				got += r.Match.Path
			}
		}
		refused := slices.ContainsFunc(diags, func(d string) bool { return strings.Contains(d, "[unsupported-match]") })
		if got != c.want || refused != (c.want == "") {
			t.Errorf("%s: served are %q, want %q; %q", c.match, got, c.want, diags)
		}
	}
}

// A deny rule of calls that can't be read denies everything, whatever else its operation says; an allow rule allows nothing.
func TestCallsThatCannotBeRead(t *testing.T) {
	for _, op := range []string{
		`grpc: [{service: s.S}], methods: [GET]`,
		`grpc: [{service: s.S}], paths: [/a]`,
		`grpc: [{service: "s%2FS"}]`,
		`grpc: [{service: "s;S"}]`,
		`grpc: [{service: "s/S"}]`,
		`grpc: [{service: ".."}]`,
		`grpc: [{service: s.S, methods: [Get, "L*"]}]`,
	} {
		rules := func(action string) []policy.Rule {
			set, _ := compiled(t, edge{port: 80, listener: "http", rule: "- {}", policy: fmt.Sprintf(`---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}]
  rules: [{name: r, action: %s, authentication: [anonymous], to: [{%s}]}]
`, action, op)}.text())
			return set.Policies[0].Rules
		}
		if got := rules("allow"); len(got) != 0 {
			t.Errorf("allow, %s: %+v", op, got)
		}
		if d := cmp.Diff([]policy.Rule{{Name: "r", Action: policy.Deny, To: []policy.Operation{{}}}}, rules("deny")); d != "" {
			t.Errorf("deny, %s: %s", op, d)
		}
	}
}

// What Envoy can't do with a redirect is denied, not left out.
func TestCORSOfRedirectIsDenied(t *testing.T) {
	set, diags := compiled(t, edge{port: 80, listener: "http", rule: `- filters:
    - {type: RequestRedirect, requestRedirect: {hostname: other.test, statusCode: 302}}
    - {type: CORS, cors: {allowOrigins: ["https://app.test"]}}
`, policy: `---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}]
  rules: [{name: r, action: allow, authentication: [anonymous]}]
`}.text())
	if r := allRoutes(set); len(r) != 1 || r[0].CORS != nil || r[0].Access.Denied == "" {
		t.Errorf("%+v, want a route that is denied; %q", r, diags)
	}
}

// parametersRef has no namespace: only settings beside the Gateway are its own, and without them nothing is served.
func TestSettingsOfAnotherNamespace(t *testing.T) {
	const text = `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: a.test}
---
apiVersion: credence.mesh/v1alpha1
kind: GatewaySettings
metadata: {name: edge, namespace: %s}
spec: {clientAddress: {trustedProxies: [10.1.2.3/8, 10.0.0.0/8]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: team}
spec:
  gatewayClassName: credence
  infrastructure: {parametersRef: {group: credence.mesh, kind: GatewaySettings, name: edge}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: team}
spec: {parentRefs: [{name: edge}], rules: [{}]}
`
	for namespace, own := range map[string]bool{"team": true, "default": false, "other": false} {
		set, diags := compiled(t, fmt.Sprintf(text, namespace))
		settings, denied := set.Gateways[0].Settings, allRoutes(set)[0].Access.Denied
		var want []string
		if own {
			want = []string{"10.0.0.0/8"}
		}
		if d := cmp.Diff(want, settings.TrustedProxies); d != "" || (denied == "") != own {
			t.Errorf("settings of namespace %s: denied %q, trusted %s; %q", namespace, denied, d, diags)
		}
	}
}

// As TestGuardedRouteThatCannotBeRead, for calls.
func TestGuardedCallsThatCannotBeRead(t *testing.T) {
	text := strings.ReplaceAll(unguardedMesh, "kind: HTTPRoute, name: admin", "kind: GRPCRoute, name: admin")
	for kind, want := range map[string]bool{"GRPCRoute": true, "HTTPRoute": false} {
		set, _ := compiled(t, text, manifests.Key{Group: "gateway.networking.k8s.io", Kind: kind, Namespace: "shop", Name: "admin"})
		for _, r := range allRoutes(set) {
			if shop := r.Origin.Name.Namespace == "shop"; (r.Access.Denied != "") != (shop && want) {
				t.Errorf("%s is missing: %s is denied: %q", kind, r.Origin.Name, r.Access.Denied)
			}
		}
	}
}
