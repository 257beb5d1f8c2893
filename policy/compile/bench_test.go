package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy/compile"
)

// large is a mesh of n routes: 10 rules in each HTTPRoute, a Workload and an AuthPolicy with two rules for each HTTPRoute.
func large(tb testing.TB, n int) []*manifests.Object {
	tb.Helper()
	out := objects(tb, "base.yaml", `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: example.org}
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: login}
spec: {issuer: "https://login.example.org", audiences: [a], keys: {url: "https://login.example.org/jwks"}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  listeners: [{name: http, port: 80, protocol: HTTP}]
`)
	for i := range n / 10 {
		var rules strings.Builder
		for j := range 10 {
			fmt.Fprintf(&rules, "\n  - {name: r%d, matches: [{path: {value: /a/%d}, method: GET}], "+
				"backendRefs: [{group: credence.mesh, kind: Workload, name: w%d}]}", j, j, i)
		}
		out = append(out, objects(tb, fmt.Sprintf("%d.yaml", i), fmt.Sprintf(`
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: w%d}
spec: {selectors: {unix: {uid: %d}}, ports: [{port: 8080, inbound: "127.0.%d.%d:9000"}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%d}
spec:
  parentRefs: [{name: edge}]
  hostnames: [h%d.example.org]
  rules: %s
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p%d}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%d}, {group: credence.mesh, kind: Workload, name: w%d}]
  authentication: {issuers: [login]}
  rules:
    - {name: read, to: [{methods: [GET], paths: [/a/*]}], require: {scopes: {allOf: [read]}}}
    - {name: admin, require: {scopes: {anyOf: [admin]}}}
`, i, 1000+i, i/250, i%250+1, i, i, rules.String(), i, i, i))...)
	}
	return out
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := compile.Input{Objects: large(b, n)}
			b.ReportAllocs()
			for b.Loop() {
				set, ds := compile.Compile(in)
				if set == nil || manifests.HasErrors(ds) {
					b.Fatal(ds)
				}
			}
		})
	}
}
