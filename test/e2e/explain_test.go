//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

// TestExplain: what Envoy was told about a request, `credence explain` tells by the id that the client got, and `credence check` by the
// manifests alone.
func TestExplain(t *testing.T) {
	m := startMesh(t, "combine", "UP")
	for _, c := range []struct {
		on, method, path string
		status           int
		change           string
	}{
		{"PLAIN", "GET", "/closed", 403, ""},
		{"PLAIN", "POST", "/absent/x", 403, "method"},
		{"PLAIN", "GET", "/wide/private/x", 403, ""},
	} {
		got, err := send(t.Context(), m.addr(c.on), "-", fmt.Sprintf("%s %s HTTP/1.1\r\nHost: any.test\r\ncontent-length: 0\r\n\r\n", c.method, c.path))
		if err != nil {
			t.Fatal(err)
		}
		id := got.header.Get("X-Credence-Decision")
		if got.status != c.status || id == "" {
			t.Fatalf("%s %s: %d, decision %q", c.method, c.path, got.status, id)
		}
		explained, err := admin.FetchDecision(t.Context(), m.Endpoints().AdminSocket, id)
		if err != nil {
			t.Fatal(err)
		}
		if explained.Allowed || explained.Status != c.status || explained.Path != c.path || explained.Method != c.method || len(explained.Levels) == 0 {
			t.Errorf("%s %s: explained as %+v", c.method, c.path, explained)
		}
		if c.change != "" && (len(explained.Changes) != 1 || explained.Changes[0].What != c.change) && explained.Forbidden == "" {
			t.Errorf("%s %s: the smallest change is %v", c.method, c.path, explained.Changes)
		}
		checked, _, err := app.Check(t.Context(), app.Question{
			Dir: m.Dir, Gateway: policy.Name{Namespace: "default", Name: "edge"}, Method: c.method, URL: "http://" + fmt.Sprintf("any.test:%d", m.ports[c.on]) + c.path,
		})
		if err != nil {
			t.Fatal(err)
		}
		if checked.Reason != explained.Reason || checked.Rule != explained.Rule || checked.Status != explained.Status {
			t.Errorf("%s %s: checked %s by %q, explained %s by %q", c.method, c.path, checked.Reason, checked.Rule, explained.Reason, explained.Rule)
		}
	}
	if _, err := admin.FetchDecision(t.Context(), m.Endpoints().AdminSocket, "NOSUCHDECISION"); err == nil {
		t.Error("an id that nobody has is explained")
	}
}
