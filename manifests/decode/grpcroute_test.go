package decode_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One row for each check of a GRPCRoute's rule: what is wrong is told, and what is right beside it is not.
func TestGRPCRouteRules(t *testing.T) {
	for _, c := range []struct {
		rule string
		want string // "" where the rule is good; without "spec.rules[0]"
	}{
		{`{}`, ""},
		{`{name: "A b"}`, ".name invalid-name"},
		{`{matches: [{}]}`, ""},
		{`{matches: [{method: {service: shop.v1.Orders, method: GetOrder}}, {method: {service: .a._b}}, {method: {method: M}}]}`, ""},
		{`{matches: [{method: {}}]}`, ".matches[0].method required"},
		{`{matches: [{method: {type: Prefix, service: a}}]}`, ".matches[0].method.type unsupported-value"},
		{`{matches: [{method: {service: a/b}}]}`, ".matches[0].method.service invalid-value"},
		{`{matches: [{method: {service: "a.*"}}]}`, ".matches[0].method.service invalid-value"},
		{`{matches: [{method: {service: ..}}]}`, ".matches[0].method.service invalid-value"},
		{`{matches: [{method: {service: a, method: a.b}}]}`, ".matches[0].method.method invalid-value"},
		{`{matches: [{method: {service: ` + strings.Repeat("a", 1025) + `}}]}`, ".matches[0].method.service invalid-value"},
		{`{matches: [{method: {type: RegularExpression, service: "a\\.v[0-9]+", method: "Get.*"}}]}`, ""},
		{`{matches: [{method: {type: RegularExpression, service: "a)|(b"}}]}`, ".matches[0].method.service regex"},
		{`{matches: [{method: {type: RegularExpression, method: "é"}}]}`, ".matches[0].method.method regex"},
		{`{matches: [{headers: [{name: x-a, value: "1"}, {name: X-A, value: "2"}]}]}`, ".matches[0].headers[1].name duplicate-value"},
		{`{matches: [{headers: [{name: x-a, value: "a|b", type: RegularExpression}]}]}`, ""},
		{`{matches: [{headers: [{name: x-a, value: "(", type: RegularExpression}]}]}`, ".matches[0].headers[0].value regex"},
		{`{matches: [{headers: [{name: x-a, value: "1", type: Present}]}]}`, ".matches[0].headers[0].type unsupported-value"},
		{`{filters: [{type: RequestHeaderModifier}]}`, ".filters[0].requestHeaderModifier required"},
		{`{filters: [{type: CORS}]}`, ".filters[0].type unsupported-value"},
		{`{filters: [{type: RequestMirror}]}`, ".filters[0].type unsupported-value"},
		{`{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}, responseHeaderModifier: {remove: [a]}}]}`, ".filters[0].responseHeaderModifier one-of"},
		{`{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: ["a b"]}}]}`, ".filters[0].requestHeaderModifier.remove[0] invalid-value"},
		{`{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}}, {type: RequestHeaderModifier, requestHeaderModifier: {remove: [b]}}]}`, ".filters[1].type duplicate-value"},
		{`{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: b}]}}]}`, ""},
		{`{backendRefs: [{name: w, port: 1}]}`, ".backendRefs[0] unsupported-reference"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: w}]}`, ".backendRefs[0].port required"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 1, filters: []}]}`, "unsupported-field"},
		{`{sessionPersistence: {}}`, "unsupported-field"},
		{`{timeouts: {request: 1s}}`, "unknown-field"},
		{`{matches: [{path: {value: /a}}]}`, "unknown-field"},
	} {
		got := strings.Join(found("GRPCRoute", "{parentRefs: [{name: edge}], rules: ["+c.rule+"]}"), "; ")
		want := c.want
		if strings.HasPrefix(want, ".") {
			want = "spec.rules[0]" + want
		} else if want != "" && strings.HasSuffix(got, " "+want) {
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.200s (-want +got):\n%s", c.rule, diff)
		}
	}
	for spec, want := range map[string]string{
		`parentRefs: [{name: edge, kind: Service}]`: "spec.parentRefs[0] unsupported-reference",
		`hostnames: ["a.*.test"]`:                   "spec.hostnames[0] invalid-host",
		`rules: [{name: a}, {name: a}]`:             "spec.rules[1].name duplicate-value",
	} {
		if got := strings.Join(found("GRPCRoute", spec), "; "); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}

// A listener says which kinds of routes it lets in.
func TestAllowedKinds(t *testing.T) {
	for kinds, want := range map[string]string{
		`[{kind: GRPCRoute}, {group: gateway.networking.k8s.io, kind: HTTPRoute}]`: "",
		`[{kind: TCPRoute}]`:                 "spec.listeners[0].allowedRoutes.kinds[0].kind unsupported-value",
		`[{kind: GRPCRoute, group: a.test}]`: "spec.listeners[0].allowedRoutes.kinds[0].group unsupported-value",
	} {
		got := strings.Join(found("Gateway", "{gatewayClassName: credence, listeners: [{name: a, port: 80, protocol: HTTP, allowedRoutes: {kinds: "+kinds+"}}]}"), "; ")
		if got != want {
			t.Errorf("%s: %q, want %q", kinds, got, want)
		}
	}
}
