//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

const audience = "https://e2e.test"

// site is a mesh with a gateway of one plain listener and workloads whose applications the test process serves.
type site struct {
	front, issuer int
	workloads     map[string]workload
	// svidTTL of the mesh; empty: the default.
	svidTTL string
}

type workload struct {
	port, inbound, outbound int
	path                    string
}

func newSite(t *testing.T, names ...string) *site {
	t.Helper()
	ports := testport.Free(t, 2+3*len(names))
	s := &site{front: ports[0], issuer: ports[1], workloads: map[string]workload{}}
	for i, name := range names {
		p := ports[2+3*i:]
		s.workloads[name] = workload{port: p[0], inbound: p[1], outbound: p[2], path: "/nowhere/" + name}
		testenv.Application(t, name, p[0])
	}
	return s
}

func (s *site) mesh() string {
	svid := ""
	if s.svidTTL != "" {
		svid = "\n  svid: {ttl: " + s.svidTTL + "}"
	}
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: e2e}
spec:
  trustDomain: e2e.test
  development: true%s
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: dev}
spec:
  issuer: http://127.0.0.1:%d
  audiences: [%s]
  keys: {development: {}}
`, svid, s.issuer, audience)
}

// gateway with one plain HTTP listener per name=port.
func gateway(listeners map[string]int) string {
	var b strings.Builder
	b.WriteString(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  addresses: [{value: 127.0.0.1}]
  listeners:
`)
	for _, name := range []string{"plain", "other"} {
		if port, ok := listeners[name]; ok {
			fmt.Fprintf(&b, "  - {name: %s, port: %d, protocol: HTTP}\n", name, port)
		}
	}
	return b.String()
}

// workload is the manifest of a workload that the gateway may call without a user.
func (s *site) workload(name string) string {
	w := s.workloads[name]
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: %[1]s}
spec:
  selectors: {unix: {path: %[5]s}}
  boundary: none
  ports: [{name: http, port: %[2]d, inbound: "127.0.0.1:%[3]d"}]
  sidecar: {outbound: "127.0.0.1:%[4]d"}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: %[1]s}]
  authentication: {issuers: [dev]}
  rules:
  - name: gateway
    authentication: [anonymous]
    from: [{gateway: edge}]
`, name, w.port, w.inbound, w.outbound, w.path)
}

// route sends a path of the gateway's listener to a workload. Access is "public", or "token" for users with the scope read.
func (s *site) route(name, listener, path, to, access string) string {
	rule := "authentication: [anonymous]"
	if access == "token" {
		rule = "require: {scopes: {allOf: [read]}}"
	}
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: %[2]s}]
  rules:
  - matches: [{path: {type: PathPrefix, value: %[3]s}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: %[4]s, port: %[5]d}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %[1]s}]
  authentication: {issuers: [dev]}
  rules:
  - name: who
    %[6]s
`, name, listener, path, to, s.workloads[to].port, rule)
}

func join(docs ...string) string { return strings.Join(docs, "---\n") }

// manifests of the site with these routes.
func (s *site) manifests(routes ...string) map[string]string {
	m := map[string]string{"mesh.yaml": s.mesh(), "gateway.yaml": gateway(map[string]int{"plain": s.front}), "routes.yaml": join(routes...)}
	for name := range s.workloads {
		m[name+".yaml"] = s.workload(name)
	}
	return m
}

func (s *site) frontAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.front) }
