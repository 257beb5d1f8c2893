//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPython runs the client of examples/python, which has its SVID by the SPIFFE library for Python, beside the quickstart.
func TestPython(t *testing.T) {
	m := startTour(t, nil)
	example := filepath.Join(root(t), "examples/python")
	manifests := m.Manifests()
	python := filepath.Join(filepath.Dir(manifests), "python")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(example, "install.sh"), python).CombinedOutput(); err != nil {
		t.Fatalf("installing: %v\n%s", err, out)
	}
	auditor, err := os.ReadFile(filepath.Join(example, "auditor.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(manifests, "auditor.yaml"), auditor, 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(interpreter, server, address, path string) string {
		cmd := exec.CommandContext(t.Context(), interpreter, "-B", filepath.Join(example, "client.py"), "spiffe://quickstart.test/ns/default/wl/"+server, "https://"+address+path)
		cmd.Env = []string{"SPIFFE_ENDPOINT_SOCKET=" + m.Endpoints.WorkloadAPI, "PATH=/usr/bin:/bin"}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Sprintf("%v: %s", err, out.String())
		}
		return out.String()
	}
	inbound := func(name string) string { return m.Endpoints.Workloads["default/"+name].Inbound["http"] }
	own := filepath.Join(python, "bin/python3")
	deadline := time.Now().Add(30 * time.Second)
	for !strings.HasPrefix(ask(own, "payments", inbound("payments"), "/payments"), "200 ") && time.Now().Before(deadline) {
	}
	for _, tt := range []struct {
		name, server, address, path string
		want                        []string
	}{
		{"payments, through its sidecar", "payments", inbound("payments"), "/payments", []string{
			"200 ", `"caller":"spiffe://quickstart.test/ns/default/wl/auditor"`, `"service":"ledger"`,
		}},
		{"what the policy does not name", "payments", inbound("payments"), "/payments/direct", []string{"403 ", `"reason":"peer_not_allowed"`, `"decision":`}},
		{"orders, whose policy does not name it", "orders", inbound("orders"), "/orders", []string{"40"}},
		{"ledger, whose code refuses it", "ledger", inbound("ledger"), "/entries", []string{"403 ", `"reason":"peer_not_allowed"`, "the code of spiffe://quickstart.test/ns/default/wl/ledger"}},
		{"another server at the address", "payments", inbound("ledger"), "/entries", []string{"NotTrusted", "wl/ledger'], not spiffe", "exit status 1"}},
		{"a trust domain as the server", "", inbound("ledger"), "/entries", []string{"exit status 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(own, tt.server, tt.address, tt.path)
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("got %q, which lacks %q", got, w)
				}
			}
		})
	}
	t.Run("another interpreter has no identity", func(t *testing.T) {
		stranger := filepath.Join(python, "bin/python") // the same program at another path
		if got := ask(stranger, "payments", inbound("payments"), "/payments"); !strings.Contains(got, "exit status 1") || !strings.Contains(got, "PERMISSION_DENIED") {
			t.Errorf("got %q", got)
		}
	})
}
