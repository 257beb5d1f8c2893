package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
		if t.Failed() {
			r.Fatalf("of the mesh:\n%s", text)
		}
	})
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
	for i := range rapid.IntRange(0, 2).Draw(r, "gateways") {
		fmt.Fprintf(&b, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g%d}\nspec:\n  gatewayClassName: credence\n  listeners:\n", i)
		for j := range rapid.IntRange(1, 4).Draw(r, "listeners") {
			fmt.Fprintf(&b, "  - {name: l%d, port: %s, protocol: HTTP%s, allowedRoutes: {namespaces: {from: %s}}}\n", j, pick("port", "80", "81"), hostname(), pick("from", "Same", "All"))
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(r, "workloads") {
		fmt.Fprintf(&b, "---\napiVersion: credence.mesh/v1alpha1\nkind: Workload\nmetadata: {name: w%d, namespace: %s}\nspec: {%sselectors: {unix: {uid: %d}}, boundary: %s, ports: [{port: %s%s}]}\n",
			i, pick("ns", "default", "a"), pick("id", "", "spiffeID: spiffe://example.org/ns/a/wl/w1, "), 1000+i, pick("boundary", "user", "none"),
			pick("p", "80", "8080"), pick("inbound", "", `, inbound: "127.0.0.1:80"`))
	}
	for i := range rapid.IntRange(0, 4).Draw(r, "routes") {
		fmt.Fprintf(&b, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: %s}\nspec:\n  parentRefs: [{name: %s, namespace: default%s}]\n  hostnames: [%s]\n  rules:\n",
			i, pick("ns", "default", "a"), pick("parent", "g0", "g1"), pick("section", "", ", sectionName: l0"), pick("hosts", "", "a.test", `"*.a.test", x.a.test`, `"*.test"`, "b.test, y.x.a.test"))
		for range rapid.IntRange(1, 3).Draw(r, "rules") {
			fmt.Fprintf(&b, "  - {matches: [{path: {type: %s, value: %s}}], backendRefs: [{group: credence.mesh, kind: Workload, name: %s}]}\n",
				pick("kind", "Exact", "PathPrefix"), pick("path", "/", "/a", "/a/", "/a/b"), pick("backend", "w0", "w1"))
		}
	}
	for i := range rapid.IntRange(0, 4).Draw(r, "policies") {
		fmt.Fprintf(&b, "---\napiVersion: credence.mesh/v1alpha1\nkind: AuthPolicy\nmetadata: {name: p%d, namespace: %s}\nspec:\n  targetRefs: [%s]\n  %s\n  rules: [{name: x, authentication: [anonymous], action: %s, from: [%s]}]\n",
			i, pick("ns", "default", "a"),
			pick("target", "{group: credence.mesh, kind: Mesh, name: mesh}", "{group: gateway.networking.k8s.io, kind: Gateway, name: g0}",
				"{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r0}", "{group: credence.mesh, kind: Workload, name: w0, sectionName: http}"),
			pick("override", "", "override: allowed", "authentication: {issuers: [i0]}"), pick("action", "allow", "deny"),
			pick("peer", "", "{workload: w0}", "{gateway: g0}", "{workload: gone}"))
	}
	return b.String()
}
