package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// TestAnyMesh: whatever the manifests say, the Set is consistent (unique ids, disjoint hosts, levels that name what is there), it is
// the same for every order of the objects, and each host is served by the listener whose hostname is the closest.
func TestAnyMesh(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := anyMesh(r)
		in := compile.Input{Objects: objects(t, "in.yaml", text)}
		if rapid.IntRange(0, 9).Draw(r, "missing") == 0 {
			in.Missing = missingKeys(t, "# missing: AuthPolicy a/broken\n# missing: TokenIssuer default/i0\n")
		}
		set, ds := compile.Compile(in)
		consistent(t, set)
		shuffledAgain(t, in, set, ds)
		isolated(t, set)
		oneKind(t, set)
		deniedWithoutSettings(t, set, ds)
		if t.Failed() {
			r.Fatalf("of the mesh:\n%s", text)
		}
	})
}

// deniedWithoutSettings: a Gateway whose settings cannot be used serves nothing to anybody, and has none.
func deniedWithoutSettings(t *testing.T, set *policy.Set, ds []manifests.Diagnostic) {
	t.Helper()
	for _, d := range ds {
		if d.Code != "invalid-parameters" {
			continue
		}
		for _, g := range set.Gateways {
			if g.Name.Name != d.Object.Name {
				continue
			}
			if diff := cmp.Diff(policy.GatewaySettings{}, g.Settings); diff != "" {
				t.Errorf("%s has settings: %s", g.Name, diff)
			}
			for _, l := range g.Listeners {
				for _, s := range l.Sections {
					for _, v := range s.VirtualHosts {
						for _, r := range v.Routes {
							if r.Access.Denied == "" {
								t.Errorf("%s serves %s", g.Name, r.Match.Path)
							}
						}
					}
				}
			}
		}
	}
}

// isolated: a host that a request can have is found under the most specific hostname among the listeners of the socket.
func isolated(t *testing.T, set *policy.Set) {
	t.Helper()
	for _, g := range set.Gateways {
		for _, l := range g.Listeners {
			for _, host := range []string{"x.a.test", "a.test", "y.x.a.test", "b.test"} {
				var want, got string
				longest, best := -1, -1
				for _, s := range l.Sections {
					if n := specificity(s.Hostname, host); n > longest {
						longest, want = n, s.Name
					}
				}
				for _, s := range l.Sections {
					for _, v := range s.VirtualHosts {
						if n := specificity(v.Host, host); n > best {
							best, got = n, s.Name
						}
					}
				}
				if got != "" && got != want {
					t.Errorf("%s on port %d goes to listener %s, the closest is %s", host, l.Port, got, want)
				}
			}
		}
	}
}

// oneKind: hosts of one section that one request can have lead to routes of one kind.
func oneKind(t *testing.T, set *policy.Set) {
	t.Helper()
	for _, g := range set.Gateways {
		for _, l := range g.Listeners {
			for _, s := range l.Sections {
				for _, host := range []string{"x.a.test", "a.test", "y.x.a.test", "b.test"} {
					kinds := map[string]bool{}
					for _, v := range s.VirtualHosts {
						for _, r := range v.Routes {
							if specificity(v.Host, host) >= 0 {
								kinds[r.Origin.Kind] = true
							}
						}
					}
					if len(kinds) > 1 {
						t.Errorf("host %s of listener %s has routes of several kinds", host, s.Name)
					}
				}
			}
		}
	}
}

// specificity of a hostname that covers host; -1 where it does not.
func specificity(hostname, host string) int {
	switch {
	case hostname == "" || hostname == "*":
		return 0
	case hostname == host:
		return 1000
	case strings.HasPrefix(hostname, "*.") && strings.HasSuffix(host, hostname[1:]):
		return len(hostname)
	}
	return -1
}

func anyMesh(r *rapid.T) string {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(r, label) }
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: credence.mesh/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {trustDomain: example.org, development: %s}\n", pick("dev", "true", "false"))
	hostname := func() string {
		if h := pick("hostname", "", "a.test", "x.a.test", `"*.a.test"`, `"*.x.a.test"`, "b.test"); h != "" {
			return ", hostname: " + h
		}
		return ""
	}
	fmt.Fprintf(&b, "---\napiVersion: credence.mesh/v1alpha1\nkind: GatewaySettings\nmetadata: {name: s0}\nspec: {%s}\n", pick("settings", "",
		"paths: {escapedSlashes: keep}", "paths: {mergeSlashes: false}, clientAddress: {trustedProxies: [fd00::/8, 10.0.0.0/8]}", "clientAddress: {trustedHops: 1}"))
	for i := range rapid.IntRange(0, 2).Draw(r, "gateways") {
		infrastructure := ""
		if s := pick("parameters", "", "s0", "gone"); s != "" {
			infrastructure = "  infrastructure: {parametersRef: {group: credence.mesh, kind: GatewaySettings, name: " + s + "}}\n"
		}
		fmt.Fprintf(&b, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g%d}\nspec:\n  gatewayClassName: credence\n%s  listeners:\n", i, infrastructure)
		for j := range rapid.IntRange(1, 4).Draw(r, "listeners") {
			fmt.Fprintf(&b, "  - {name: l%d, port: %s, protocol: HTTP%s, allowedRoutes: {namespaces: {from: %s}}}\n", j, pick("port", "80", "81"), hostname(), pick("from", "Same", "All"))
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(r, "workloads") {
		fmt.Fprintf(&b, "---\napiVersion: credence.mesh/v1alpha1\nkind: Workload\nmetadata: {name: w%d, namespace: %s}\nspec: {%sselectors: {unix: {uid: %d}}, boundary: %s, ports: [{port: %s%s%s}]}\n",
			i, pick("ns", "default", "a"), pick("id", "", "spiffeID: spiffe://example.org/ns/a/wl/w1, "), 1000+i, pick("boundary", "user", "none"),
			pick("p", "80", "8080"), pick("inbound", "", `, inbound: "127.0.0.1:80"`), pick("protocol", "", ", protocol: GRPC"))
	}
	for i := range rapid.IntRange(0, 4).Draw(r, "routes") {
		fmt.Fprintf(&b, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: %s}\nspec:\n  parentRefs: [{name: %s, namespace: default%s}]\n  hostnames: [%s]\n  rules:\n",
			i, pick("ns", "default", "a"), pick("parent", "g0", "g1"), pick("section", "", ", sectionName: l0"), pick("hosts", "", "a.test", `"*.a.test", x.a.test`, `"*.test"`, "b.test, y.x.a.test"))
		for range rapid.IntRange(1, 3).Draw(r, "rules") {
			fmt.Fprintf(&b, "  - {matches: [{path: {type: %s, value: %s}}], backendRefs: [{group: credence.mesh, kind: Workload, name: %s}]}\n",
				pick("kind", "Exact", "PathPrefix"), pick("path", "/", "/a", "/a/", "/a/b"), pick("backend", "w0", "w1"))
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(r, "calls") {
		fmt.Fprintf(&b, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r%d, namespace: %s}\nspec:\n  parentRefs: [{name: %s, namespace: default%s}]\n  hostnames: [%s]\n  rules:\n",
			i, pick("ns", "default", "a"), pick("parent", "g0", "g1"), pick("section", "", ", sectionName: l0"), pick("hosts", "", "a.test", `"*.x.a.test"`, "b.test"))
		for range rapid.IntRange(1, 3).Draw(r, "rules") {
			fmt.Fprintf(&b, "  - {matches: [{method: {type: %s%s%s}}, {}], backendRefs: [{group: credence.mesh, kind: Workload, name: %s}]}\n",
				pick("kind", "Exact", "RegularExpression"), pick("service", "", ", service: a.S", ", service: a.Sx"), pick("method", "", ", method: M", ", method: Mx"), pick("backend", "w0", "w1"))
		}
	}
	for i := range rapid.IntRange(0, 4).Draw(r, "policies") {
		fmt.Fprintf(&b, "---\napiVersion: credence.mesh/v1alpha1\nkind: AuthPolicy\nmetadata: {name: p%d, namespace: %s}\nspec:\n  targetRefs: [%s]\n  %s\n  rules: [{name: x, authentication: [anonymous], action: %s, from: [%s]}]\n",
			i, pick("ns", "default", "a"),
			pick("target", "{group: credence.mesh, kind: Mesh, name: mesh}", "{group: gateway.networking.k8s.io, kind: Gateway, name: g0}",
				"{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r0}", "{group: gateway.networking.k8s.io, kind: GRPCRoute, name: r0}", "{group: credence.mesh, kind: Workload, name: w0, sectionName: http}"),
			pick("override", "", "override: allowed", "authentication: {issuers: [i0]}"), pick("action", "allow", "deny"),
			pick("peer", "", "{workload: w0}", "{gateway: g0}", "{workload: gone}"))
	}
	return b.String()
}
