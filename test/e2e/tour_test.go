//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/examples/quickstart/tour"
	"github.com/credence-mesh/credence/internal/testport"
)

// TestTour holds every row of the quickstart, as any user: boundary none.
func TestTour(t *testing.T) {
	m := startTour(t, nil)
	runRows(t, m)
}

// TestBoundaryUser holds the same rows as root, with a user per workload and boundary user, and what only that boundary gives.
func TestBoundaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("left out: a user per workload needs root")
		return // make e2e ends with a line that says so
	}
	m := startTour(t, map[string]uint32{"web": 23001, "orders": 23002, "payments": 23003, "batch": 23004, "ledger": 23005})
	t.Run("batch can't open web's outbound socket", func(t *testing.T) {
		refused(t, m, m.Endpoints.Workloads["default/web"].Outbound)
	})
	t.Run("batch can't open the application socket of payments", func(t *testing.T) {
		refused(t, m, m.Endpoints.Workloads["default/payments"].Application["http"])
	})
	runRows(t, m)
}

// refused lets batch call payments through a socket that is not its own.
func refused(t *testing.T, m *tour.Mesh, socket string) {
	t.Helper()
	if !filepath.IsAbs(socket) {
		t.Fatalf("%q is no unix socket", socket)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode()&os.ModeSocket == 0 {
		t.Fatalf("%s is not there: %v", socket, err)
	}
	out, err := m.Batch(socket, "http://payments/payments", "")
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("batch got %q, %v; want permission denied", out, err)
	}
}

func runRows(t *testing.T, m *tour.Mesh) {
	for _, row := range tour.Rows() {
		t.Run(row.Name, func(t *testing.T) {
			got, err := row.Do(t.Context(), m)
			if err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if got != row.Want {
				t.Errorf("got %q, want %q: %s", got, row.Want, row.Why)
			}
			for _, n := range m.Notes() {
				t.Log(n)
			}
		})
	}
}

func startTour(t *testing.T, users map[string]uint32) *tour.Mesh {
	t.Helper()
	bin := buildServices(t)
	work, err := os.MkdirTemp("", "cr-e2e-") // short: sockets lie below
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(work, "log"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := tour.Start(t.Context(), tour.Options{
		Source: filepath.Join(root(t), "examples/quickstart"), Bin: bin, Work: work, Ports: testport.Free(t, 24), Users: users, Log: log,
	})
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			body, _ := os.ReadFile(log.Name())
			t.Logf("log of credence and the services:\n%s", tail(string(body), 80))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tail(s string, lines int) string {
	all := slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return strings.Contains(l, "msg=check") })
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// buildServices builds credence and the services as they are now, so that no old binary is tested.
func buildServices(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-o", bin+"/", "./cmd/credence", "./examples/quickstart/web", "./examples/quickstart/orders",
		"./examples/quickstart/payments", "./examples/quickstart/ledger", "./examples/quickstart/batch")
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return bin
}
