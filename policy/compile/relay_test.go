package compile_test

import (
	"fmt"
	"strings"
	"testing"
)

// A route that leads to a service whose proxy reads bearer tokens and to one whose proxy does not hands the client's token to the latter: that is
// told. A backend without traffic decides nothing.
func TestTokenForSomeBackendsOfARoute(t *testing.T) {
	const text = `apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: shop.test}
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: idp}
spec: {issuer: "https://idp.example", audiences: [shop], keys: {file: /keys.json}}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: web}
spec: {selectors: {unix: {uid: 1001}}, ports: [{port: 8080}]}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: legacy}
spec: {selectors: {unix: {uid: 1002}}, ports: [{port: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: credence, listeners: [{name: plain, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  rules:
    - backendRefs:
        - {group: credence.mesh, kind: Workload, name: web, port: 8080, weight: %d}
        - {group: credence.mesh, kind: Workload, name: legacy, port: 8080, weight: %d}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}]
  authentication: {issuers: [idp]}
  rules: [{name: users}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: legacy}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: legacy}]
  authentication: {issuers: [idp]}
  rules: [{name: users}]
`
	for _, tt := range []struct {
		web, legacy  int
		relay, warns bool
	}{
		{1, 1, true, true}, {0, 1, true, false}, {1, 0, false, false},
	} {
		set, lines := compiled(t, fmt.Sprintf(text, tt.web, tt.legacy))
		up := set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[0].Access.Upstream
		if got := up != nil && up.Relay; got != tt.relay {
			t.Errorf("weights %d and %d: relay %t", tt.web, tt.legacy, got)
		}
		if got := strings.Contains(strings.Join(lines, "\n"), "relayed-credential"); got != tt.warns {
			t.Errorf("weights %d and %d: %q", tt.web, tt.legacy, lines)
		}
	}
}
