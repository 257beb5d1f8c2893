package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
)

// edge is a mesh with one gateway and one route, to vary.
type edge struct {
	port               int
	listener, hostname string
	hostnames, rule    string
	policy             string
}

func (e edge) text() string {
	hostname := ""
	if e.hostname != "" {
		hostname = fmt.Sprintf("hostname: %q, ", e.hostname)
	}
	return fmt.Sprintf(`
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: example.org}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: app}
spec: {selectors: {unix: {uid: 1000}}, ports: [{port: 8080, inbound: "127.0.0.1:9000"}]}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: other}
spec: {selectors: {unix: {uid: 1001}}, ports: [{port: 8080, inbound: "127.0.0.1:9001"}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  listeners: [{name: %s, %sport: %d, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{name: edge}]
  hostnames: [%s]
  rules:
  %s
%s`, e.listener, hostname, e.port, e.hostnames, e.rule, e.policy)
}

func allRoutes(set *policy.Set) []policy.Route {
	var out []policy.Route
	for _, g := range set.Gateways {
		for _, l := range g.Listeners {
			for _, s := range l.Sections {
				for _, v := range s.VirtualHosts {
					out = append(out, v.Routes...)
				}
			}
		}
	}
	return out
}

// docs/design/0001: the same id means the same traffic; whatever Envoy matches or rewrites, and where it leads, changes it, nothing else does.
func TestRouteID(t *testing.T) {
	base := edge{
		port: 80, listener: "http", hostnames: `"a.example.org"`,
		rule: `- {matches: [{path: {value: /a}}]}`,
	}
	id := func(t *testing.T, e edge) policy.RouteID {
		t.Helper()
		set, _ := compiled(t, e.text())
		routes := allRoutes(set)
		if len(routes) != 1 {
			t.Fatalf("%d routes, want 1", len(routes))
		}
		return routes[0].ID
	}
	want := id(t, base)
	if len(want) != 32 {
		t.Errorf("id %q has %d characters, want 32 (160 bits)", want, len(want))
	}
	rule := func(r string) func(*edge) { return func(e *edge) { e.rule = r } }
	same := map[string]func(*edge){
		"missing backend": rule(`- {matches: [{path: {value: /a}}], backendRefs: [{group: credence.mesh, kind: Workload, name: gone}]}`),
		"rule name":       rule(`- {name: x, matches: [{path: {value: /a}}]}`),
		"timeout":         rule(`- {matches: [{path: {value: /a}}], timeouts: {request: 1s}}`),
		"same prefix":     rule(`- {matches: [{path: {type: PathPrefix, value: /a/}}]}`),
		"policy": func(e *edge) {
			e.policy = "---\napiVersion: credence.mesh/v1alpha1\nkind: AuthPolicy\nmetadata: {name: p}\nspec:\n" +
				"  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}]\n  rules: [{name: all, authentication: [anonymous]}]\n"
		},
	}
	for name, change := range same {
		t.Run("same/"+name, func(t *testing.T) {
			e := base
			change(&e)
			if got := id(t, e); got != want {
				t.Errorf("the id changed from %s to %s", want, got)
			}
		})
	}
	seen := map[policy.RouteID]string{want: "base"}
	for _, tc := range []struct {
		name   string
		change func(*edge)
	}{
		{"port", func(e *edge) { e.port = 81 }},
		{"listener name", func(e *edge) { e.listener = "https" }},
		{"listener hostname", func(e *edge) { e.hostname = "a.example.org" }},
		{"host", func(e *edge) { e.hostnames = `"b.example.org"` }},
		{"any host", func(e *edge) { e.hostnames = "" }},
		{"path", rule(`- {matches: [{path: {value: /b}}]}`)},
		{"path kind", rule(`- {matches: [{path: {type: Exact, value: /a}}]}`)},
		{"regular expression", rule(`- {matches: [{path: {type: RegularExpression, value: /a}}]}`)},
		{"header expression", rule(`- {matches: [{path: {value: /a}, headers: [{type: RegularExpression, name: x, value: a}]}]}`)},
		{"query expression", rule(`- {matches: [{path: {value: /a}, queryParams: [{type: RegularExpression, name: x, value: a}]}]}`)},
		{"CORS", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://a.test"]}}]}`)},
		{"CORS origin", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://b.test"]}}]}`)},
		{"CORS method", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://a.test"], allowMethods: [PUT]}}]}`)},
		{"CORS headers", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://a.test"], allowHeaders: [x]}}]}`)},
		{"CORS exposed", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://a.test"], exposeHeaders: [x]}}]}`)},
		{"CORS credentials", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://a.test"], allowCredentials: true}}]}`)},
		{"CORS age", rule(`- {matches: [{path: {value: /a}}], filters: [{type: CORS, cors: {allowOrigins: ["https://a.test"], maxAge: 9}}]}`)},
		{"method", rule(`- {matches: [{path: {value: /a}, method: GET}]}`)},
		{"header", rule(`- {matches: [{path: {value: /a}, headers: [{name: a, value: b}]}]}`)},
		{"header split", rule(`- {matches: [{path: {value: /a}, headers: [{name: a, value: 'b" "c" "d'}]}]}`)},
		{"two headers", rule(`- {matches: [{path: {value: /a}, headers: [{name: a, value: b}, {name: c, value: d}]}]}`)},
		{"query", rule(`- {matches: [{path: {value: /a}, queryParams: [{name: a, value: b}]}]}`)},
		{"rewrite", rule(`- {matches: [{path: {value: /a}}], filters: [{type: URLRewrite, urlRewrite: {hostname: x}}]}`)},
		{"rewrite prefix", rule(`- {matches: [{path: {value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]}`)},
		{"rewrite path", rule(`- {matches: [{path: {value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}]}`)},
		{"backend", rule(`- {matches: [{path: {value: /a}}], backendRefs: [` + ref("app", 1) + `]}`)},
		{"other backend", rule(`- {matches: [{path: {value: /a}}], backendRefs: [` + ref("other", 1) + `]}`)},
		{"two backends", rule(`- {matches: [{path: {value: /a}}], backendRefs: [` + ref("app", 1) + `, ` + ref("other", 1) + `]}`)},
		{"redirect", rule(`- {matches: [{path: {value: /a}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: x}}]}`)},
		{"request header", rule(`- {matches: [{path: {value: /a}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}]}`)},
		{"added header", rule(`- {matches: [{path: {value: /a}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: b}]}}]}`)},
		{"response header", rule(`- {matches: [{path: {value: /a}}], filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: b}]}}]}`)},
	} {
		t.Run("other/"+tc.name, func(t *testing.T) {
			e := base
			tc.change(&e)
			got := id(t, e)
			if o, ok := seen[got]; ok {
				t.Errorf("%s has the id of %s", tc.name, o)
			}
			seen[got] = tc.name
		})
	}
}

// docs/design/0001: a weight moves traffic between backends that the rules hold for anyway; a weight of 0 leads nowhere.
func TestRouteIDOfWeights(t *testing.T) {
	id := func(refs string) policy.RouteID {
		set, _ := compiled(t, edge{port: 80, listener: "http", rule: "- {backendRefs: [" + refs + "]}"}.text())
		return allRoutes(set)[0].ID
	}
	if a, b := id(ref("app", 90)+", "+ref("other", 10)), id(ref("other", 50)+", "+ref("app", 50)); a != b {
		t.Errorf("other weights have another id: %s and %s", a, b)
	}
	if a, b := id(ref("app", 1)+", "+ref("other", 0)), id(ref("app", 0)+", "+ref("other", 1)); a == b {
		t.Errorf("traffic to app and traffic to other have one id: %s", a)
	}
}

func ref(workload string, weight int) string {
	return fmt.Sprintf("{group: credence.mesh, kind: Workload, name: %s, port: 8080, weight: %d}", workload, weight)
}

// Gateway API, HTTPRouteSpec.Hostnames: what a listener's and a route's hostname have in common.
func TestHostnameIntersection(t *testing.T) {
	for _, tc := range []struct {
		listener, route string
		want            []string
	}{
		{"", "", []string{"*"}},
		{"", `"a.example.org", "*.example.org"`, []string{"*.example.org", "a.example.org"}},
		{"a.example.org", "", []string{"a.example.org"}},
		{"*.example.org", "", []string{"*.example.org"}},
		{"a.example.org", `"A.Example.ORG"`, []string{"a.example.org"}},
		{"a.example.org", `"*.example.org"`, []string{"a.example.org"}},
		{"*.example.org", `"a.example.org", "a.b.example.org"`, []string{"*.example.org", "a.b.example.org", "a.example.org"}},
		{"*.example.org", `"*.b.example.org"`, []string{"*.b.example.org", "*.example.org"}},
		{"*.b.example.org", `"*.example.org"`, []string{"*.b.example.org"}},
		{"*.example.org", `"example.org", "badexample.org"`, []string{"*.example.org"}},
		{"a.example.org", `"b.example.org"`, []string{"a.example.org"}},
		{"*.example.org", `"*.example.com"`, []string{"*.example.org"}},
	} {
		t.Run(tc.listener+" and "+tc.route, func(t *testing.T) {
			set, diags := compiled(t, edge{port: 80, listener: "http", hostname: tc.listener, hostnames: tc.route, rule: "- {}"}.text())
			var got, served []string
			for _, v := range set.Gateways[0].Listeners[0].Sections[0].VirtualHosts {
				got = append(got, v.Host)
				if len(v.Routes) > 0 {
					served = append(served, v.Host)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			refused := slices.ContainsFunc(diags, func(d string) bool { return strings.Contains(d, "[no-matching-hostname]") })
			if refused != (len(served) == 0) {
				t.Errorf("serves %q, diagnostics %q", served, diags)
			}
		})
	}
}

// An object that comes or goes never moves the listeners of others.
func TestPlacementStandsStill(t *testing.T) {
	workload := func(i int) string {
		return fmt.Sprintf("---\napiVersion: credence.mesh/v1alpha1\nkind: Workload\nmetadata: {name: w%d}\n"+
			"spec: {selectors: {unix: {uid: %d}}, ports: [{name: a, port: 80}, {name: b, port: 81}]}\n", i, 1000+i)
	}
	mesh := "apiVersion: credence.mesh/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {trustDomain: example.org, ports: {first: 30000, last: 30199}}\n"
	placed := func(text string) map[string]string {
		set, _ := compiled(t, text)
		out := make(map[string]string)
		for _, w := range set.Workloads {
			for _, p := range w.Ports {
				out[w.Name.Name+"/"+p.Name] = p.Inbound + " " + string(p.Route)
				if !strings.HasPrefix(p.Inbound, "127.0.0.1:30") {
					t.Errorf("%s is placed at %s", w.Name, p.Inbound)
				}
			}
		}
		return out
	}
	all := mesh
	for i := range 40 {
		all += workload(i)
	}
	full := placed(all)
	for i := range 40 {
		for name, at := range placed(mesh + workload(i)) {
			if full[name] != at {
				t.Errorf("%s is at %s alone and at %s among others", name, at, full[name])
			}
		}
	}
	set, diags := compiled(t, all)
	denied, collided := 0, 0
	for _, w := range set.Workloads {
		if w.Denied != "" {
			denied++
		}
	}
	for _, d := range diags {
		if strings.Contains(d, "[port-collision]") {
			collided++
		}
	}
	if denied == 0 || collided < denied {
		t.Errorf("%d workloads denied and %d collisions reported: 80 listeners in 200 ports must collide", denied, collided)
	}
}

func TestDuplicateObject(t *testing.T) {
	text := edge{port: 80, listener: "http", rule: "- {}"}.text()
	set, diags := compiled(t, text+"---\napiVersion: credence.mesh/v1alpha1\nkind: Workload\nmetadata: {name: app}\nspec: {selectors: {unix: {uid: 7}}}\n")
	if *set.Workloads[0].Selectors.UID != 1000 || !slices.ContainsFunc(diags, func(d string) bool { return strings.Contains(d, "[duplicate-object]") }) {
		t.Errorf("uid %d, diagnostics %q", *set.Workloads[0].Selectors.UID, diags)
	}
}

// A deny rule whose operation cannot be read denies every path, an allow rule none.
func TestUnreadableOperation(t *testing.T) {
	rules := func(action string) *policy.Set {
		set, _ := compiled(t, edge{port: 80, listener: "http", rule: "- {}", policy: fmt.Sprintf(`---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}]
  rules: [{name: r, action: %s, to: [{paths: ["bad", "/good"], methods: [GET]}]}]
`, action)}.text())
		return set
	}
	if got := rules("allow").Policies[0].Rules; len(got) != 0 {
		t.Errorf("allow rule is kept: %+v", got)
	}
	for _, action := range []string{"deny", "refuse"} {
		got := rules(action).Policies[0].Rules
		if len(got) != 1 || got[0].Action != policy.Deny || len(got[0].To) != 1 || len(got[0].To[0].Paths) != 0 {
			t.Errorf("action %s: %+v, want a deny rule for every path", action, got)
		}
	}
}

// A deny rule for calls is not dodged by another HTTP method, or a slash at the end, that some server takes for the same call; an allow rule
// lets in calls alone.
func TestDeniedCalls(t *testing.T) {
	operation := func(action string) policy.Operation {
		set, _ := compiled(t, edge{port: 80, listener: "http", rule: "- {}", policy: fmt.Sprintf(`---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}]
  rules: [{name: r, action: %s, authentication: [anonymous], to: [{grpc: [{service: s.S}, {service: t.T, methods: [Get]}]}]}]
`, action)}.text())
		return set.Policies[0].Rules[0].To[0]
	}
	service := policy.PathPattern{Segments: []string{"s.S"}, Prefix: true}
	want := policy.Operation{Methods: []string{"POST"}, Paths: []policy.PathPattern{service, {Segments: []string{"t.T", "Get"}}}}
	if d := cmp.Diff(want, operation("allow")); d != "" {
		t.Errorf("allow: %s", d)
	}
	want = policy.Operation{Paths: []policy.PathPattern{service, {Segments: []string{"t.T", "Get"}, Prefix: true}}}
	if d := cmp.Diff(want, operation("deny")); d != "" {
		t.Errorf("deny: %s", d)
	}
}

// Check writes an IPv6 host in one way only: a rule that is written in another must still be about that host.
func TestRuleHostsAreWrittenAsCheckWritesThem(t *testing.T) {
	set, _ := compiled(t, `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: example.org}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: credence.mesh, kind: Mesh, name: mesh}]
  rules:
    - {name: r, action: deny, to: [{hosts: ["::1", "0:0::2", "2001:DB8::0", "127.0.0.1", "a.test", "*.b.test"]}]}
`)
	want := []string{"[::1]", "[::2]", "[2001:db8::]", "127.0.0.1", "a.test", "*.b.test"}
	if d := cmp.Diff(want, set.Policies[0].Rules[0].To[0].Hosts); d != "" {
		t.Error(d)
	}
}
