//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"
)

// TestCombination holds cells of docs/policy-semantics.md on the real Envoy: every level, override, sections, deny first.
func TestCombination(t *testing.T) {
	m := startMesh(t, "combine", "UP")
	for _, c := range []struct {
		name, on, method, path string
		status                 int
	}{
		{"Mesh allows, Gateway allows, Route absent", "PLAIN", "GET", "/absent/x", 200},
		{"Mesh allows, Gateway allows nothing, Route absent", "PLAIN", "GET", "/closed", 403},
		{"Mesh allows, Gateway denies, Route absent", "PLAIN", "POST", "/absent/x", 403},
		{"Mesh denies, whatever lies further in", "PLAIN", "DELETE", "/wide/x", 403},
		{"Mesh allows nothing, whatever lies further in", "PLAIN", "PUT", "/wide/x", 403},
		{"Gateway's override gives way: it allows nothing", "PLAIN", "GET", "/wide/x", 200},
		{"Gateway's override gives way: its deny rule too", "PLAIN", "POST", "/wide/x", 200},
		{"a deny rule beats the allow rule of another policy on its level", "PLAIN", "GET", "/wide/private/x", 403},
		{"the rule's policy narrows", "PLAIN", "GET", "/wide/inner/no", 403},
		{"the rule's policy allows, the route's too", "PLAIN", "GET", "/wide/inner/yes", 200},
		{"the route's policy alone beside the rule", "PLAIN", "GET", "/wide/innermost", 200},
		{"the listener's policy narrows the route's", "STRICT", "POST", "/wide/x", 403},
		{"the listener's policy allows, the route's too", "STRICT", "GET", "/wide/x", 200},
		{"the listener's policy replaces the Gateway's", "STRICT", "GET", "/absent/x", 200},
		{"the listener's policy allows nothing", "STRICT", "GET", "/narrow/y", 403},
		{"a policy of audit and deny rules allows nothing", "PLAIN", "GET", "/narrow/y", 403},
		{"its deny rule denies", "PLAIN", "GET", "/narrow/x", 403},
		{"the sidecar judges the path that the route made", "PLAIN", "GET", "/rewritten/admin/x", 403},
		{"and lets another one through", "PLAIN", "GET", "/rewritten/x", 200},
		{"the gateway judges the path as it came", "PLAIN", "GET", "/rewritten/../wide/private/x", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.upstreams.take()
			got, err := send(t.Context(), m.addr(c.on), "-", fmt.Sprintf("%s %s HTTP/1.1\r\nHost: any.test\r\ncontent-length: 0\r\n\r\n", c.method, c.path))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(m.upstreams.take()); got.status != c.status || n > 0 != (c.status == 200) {
				t.Errorf("%s %s: status %d, want %d; the upstream got %d requests", c.method, c.path, got.status, c.status, n)
			}
		})
	}
}
