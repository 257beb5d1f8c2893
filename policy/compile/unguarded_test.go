package compile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests"
)

const unguardedMesh = `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: m}
spec: {trustDomain: td.test}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: credence
  listeners: [{name: web, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: site, namespace: shop}
spec: {parentRefs: [{name: edge, namespace: infra}], hostnames: [shop.test], rules: [{name: all}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: other, namespace: other}
spec: {parentRefs: [{name: edge, namespace: infra}], hostnames: [other.test], rules: [{name: all}]}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: admin, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: admin}]
  rules: []
`

// TestGuardedRouteThatCannotBeRead: what a policy guards must not be served by a wider route because its own can't be read.
func TestGuardedRouteThatCannotBeRead(t *testing.T) {
	key := func(kind, namespace, name string) manifests.Key {
		return manifests.Key{Group: "gateway.networking.k8s.io", Kind: kind, Namespace: namespace, Name: name}
	}
	for _, c := range []struct {
		what    string
		missing []manifests.Key
		denied  []string
	}{
		{"it is not there", nil, nil},
		{"it can't be read", []manifests.Key{key("HTTPRoute", "shop", "admin")}, []string{"shop.test"}},
		{"another one can't, which nobody guards", []manifests.Key{key("HTTPRoute", "shop", "news")}, nil},
		{"one of the other kind can't", []manifests.Key{key("GRPCRoute", "shop", "admin")}, nil},
		{"one of another namespace can't", []manifests.Key{key("HTTPRoute", "other", "admin")}, nil},
	} {
		set, diagnostics := compiled(t, unguardedMesh, c.missing...)
		var denied []string
		for _, vh := range set.Gateways[0].Listeners[0].Sections[0].VirtualHosts {
			for _, r := range vh.Routes {
				if r.Access.Denied != "" {
					denied = append(denied, vh.Host)
				}
			}
		}
		if !slices.Equal(denied, c.denied) {
			t.Errorf("%s: denied are %q, want %q", c.what, denied, c.denied)
		}
		told := slices.ContainsFunc(diagnostics, func(d string) bool { return strings.Contains(d, "every route of namespace shop is denied") })
		if told != (c.denied != nil) {
			t.Errorf("%s: %q", c.what, diagnostics)
		}
	}
}
