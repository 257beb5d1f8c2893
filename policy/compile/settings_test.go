package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// settled compiles a mesh whose one gateway has these settings and whose one port has these paths, and returns the ids of its routes: to
// the backend, of a redirect, of the port.
func settled(t *testing.T, settings, paths string) (ids [3]policy.RouteID) {
	t.Helper()
	text := fmt.Sprintf(`
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: a.test}
---
apiVersion: credence.mesh/v1alpha1
kind: GatewaySettings
metadata: {name: edge}
spec: {%s}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: web}
spec: {selectors: {unix: {uid: 7}}, ports: [{name: http, port: 80, inbound: "127.0.0.1:20001", paths: {%s}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  infrastructure: {parametersRef: {group: credence.mesh, kind: GatewaySettings, name: edge}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{group: credence.mesh, kind: Workload, name: web, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /away}}]
      filters: [{type: RequestRedirect, requestRedirect: {hostname: other.test, statusCode: 302}}]
`, settings, paths)
	set, ds := compile.Compile(compile.Input{Objects: objects(t, "in.yaml", strings.TrimPrefix(text, "\n"))})
	if set == nil {
		t.Fatal(ds)
	}
	for _, r := range set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes {
		if r.Redirect != nil {
			ids[1] = r.ID
		} else {
			ids[0] = r.ID
		}
	}
	ids[2] = set.Workloads[0].Ports[0].Route
	return ids
}

// A route id covers how paths are read, and for a redirect whether its port is a front proxy's; nothing else of the settings changes what
// an Envoy does with a request that it has matched.
func TestRouteIDsOfSettings(t *testing.T) {
	plain := settled(t, "", "")
	for _, c := range []struct {
		settings, paths string
		changes         [3]bool
	}{
		{"paths: {escapedSlashes: reject, mergeSlashes: true}", "escapedSlashes: reject", [3]bool{}},
		{"paths: {escapedSlashes: keep}", "", [3]bool{true, true, false}},
		{"paths: {mergeSlashes: false}", "", [3]bool{true, true, false}},
		{"", "escapedSlashes: keep", [3]bool{false, false, true}},
		{"", "mergeSlashes: false", [3]bool{false, false, true}},
		{"clientAddress: {trustedHops: 1}", "", [3]bool{false, true, false}},
		{"clientAddress: {trustedProxies: [10.0.0.0/8]}", "", [3]bool{false, true, false}},
		{"underscoreHeaders: keep, healthPath: /up, limits: {streamIdle: 1m}", "", [3]bool{}},
	} {
		got := settled(t, c.settings, c.paths)
		for i := range got {
			if (got[i] != plain[i]) != c.changes[i] {
				t.Errorf("settings {%s}, paths {%s}: id %d changed: %v", c.settings, c.paths, i, !c.changes[i])
			}
		}
	}
	if a, b := settled(t, "paths: {escapedSlashes: keep}", "escapedSlashes: keep"), settled(t, "paths: {mergeSlashes: false}", "mergeSlashes: false"); a[0] == b[0] || a[2] == b[2] {
		t.Error("two rules for paths share an id")
	}
}
