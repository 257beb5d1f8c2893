package envoy_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/envoy"
)

func open(t *testing.T, dir string) error {
	t.Helper()
	_, err := envoy.NewSupervisor(t.Context(), envoy.Options{Records: filepath.Join(dir, "proxies.json"), Log: slog.New(slog.DiscardHandler)})
	return err
}

// crash runs a product in dir and kills it once its proxy has written its pid to file.
func crash(t *testing.T, dir, file string, args ...string) (pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command(self, append([]string{"product", dir}, args...)...)
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	pid = pidIn(t, file)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	return pid
}

func TestSurvivorsOfACrashAreEnded(t *testing.T) {
	dir := tempDir(t)
	pid := crash(t, dir, filepath.Join(dir, "gateway_default_edge", "own", "running"))
	if !alive(pid) {
		t.Fatal("the proxy did not survive the product; this test would hold nothing")
	}
	if err := open(t, dir); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("process %d still runs", pid)
	}
	if diff := cmp.Diff(0, len(read(t, dir))); diff != "" {
		t.Errorf("records left: %s", contents(filepath.Join(dir, "proxies.json")))
	}
}

func TestAProductThatDiesBeforeTheGateOpensEndsItsProxy(t *testing.T) {
	dir := tempDir(t)
	pid := crash(t, dir, filepath.Join(dir, "held"), "held")
	eventually(t, "the proxy has ended", func() bool { return !alive(pid) })
	if _, err := os.Stat(filepath.Join(dir, "gateway_default_edge", "own", "running")); err == nil {
		t.Error("Envoy was run although its product had died")
	}
}

type record struct {
	ID         string `json:"id"`
	PID        int    `json:"pid"`
	StartTime  string `json:"startTime"`
	BootID     string `json:"bootID"`
	Executable string `json:"executable"`
}

func read(t *testing.T, dir string) []record {
	t.Helper()
	var f struct {
		Proxies []record `json:"proxies"`
	}
	if err := json.Unmarshal([]byte(contents(filepath.Join(dir, "proxies.json"))), &f); err != nil {
		t.Fatal(err)
	}
	return f.Proxies
}

// TestAnotherProcessWithThePIDIsLeftAlone changes one part of a true record at a time.
func TestAnotherProcessWithThePIDIsLeftAlone(t *testing.T) {
	dir := tempDir(t)
	pid := crash(t, dir, filepath.Join(dir, "gateway_default_edge", "own", "running"))
	records := read(t, dir)
	if len(records) != 1 {
		t.Fatalf("records: %+v", records)
	}
	for _, c := range []struct {
		name   string
		change func(*record)
	}{
		{"another start time", func(r *record) { r.StartTime += "0" }},
		{"another boot", func(r *record) { r.BootID = "other" }},
		{"another executable", func(r *record) { r.Executable = "/usr/bin/env" }},
		{"a pid that is free", func(r *record) { r.PID = 1 << 22 }},
	} {
		r := records[0]
		c.change(&r)
		write(t, dir, 1, r)
		if err := open(t, dir); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !alive(pid) {
			t.Fatalf("%s: the process was ended", c.name)
		}
	}
	write(t, dir, 1, records[0])
	if err := open(t, dir); err != nil || alive(pid) {
		t.Errorf("the true record: %v, alive %v", err, alive(pid))
	}
}

func write(t *testing.T, dir string, format int, records ...record) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"format": format, "proxies": records})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "proxies.json"), body, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsThatAreNotUnderstoodAreRefusedAndStay(t *testing.T) {
	for name, c := range map[string]struct{ body, says string }{
		"damaged": {`{"format": 1, "prox`, "end the envoy processes of this state directory by hand and delete the file"},
		"empty":   {"", "is damaged"},
		"newer":   {`{"format": 2, "processes": {}}`, "has format 2 and this credence knows 1: use the version that wrote it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			file := filepath.Join(dir, "proxies.json")
			if err := os.WriteFile(file, []byte(c.body), 0o600); err != nil {
				t.Fatal(err)
			}
			err := open(t, dir)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v; want %q", err, c.says)
			}
			if diff := cmp.Diff(c.body, contents(file)); diff != "" {
				t.Errorf("the file changed (-want +got):\n%s", diff)
			}
		})
	}
	if err := open(t, tempDir(t)); err != nil {
		t.Errorf("no records yet: %v", err)
	}
}

func TestBootstrapRefusesLongSocketPaths(t *testing.T) {
	p := proxyIn("/run", "gateway/default/edge")
	if _, err := envoy.Bootstrap(p.Node); err != nil {
		t.Fatal(err)
	}
	p.Node.SDSSocket = "/run/" + strings.Repeat("x", 103)
	if _, err := envoy.Bootstrap(p.Node); err == nil || !strings.Contains(err.Error(), "has 108 bytes and at most 107 are possible: choose a shorter --run-dir") {
		t.Errorf("got %v", err)
	}
	p.Node.SDSSocket = "/run/" + strings.Repeat("x", 102)
	body, err := envoy.Bootstrap(p.Node)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{p.Node.ID, p.Node.AgentSocket, p.Node.SDSSocket, p.Node.AdminSocket, `"mode":384`} {
		if !strings.Contains(strings.ReplaceAll(string(body), " ", ""), want) {
			t.Errorf("no %s in the bootstrap: %s", want, fmt.Sprintf("%.2000s", body))
		}
	}
}
