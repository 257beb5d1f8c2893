package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/envoy"
)

type harness struct {
	*envoy.Supervisor
	dir string

	mu     sync.Mutex
	events []string
	refuse error
	stop   func()
}

func (h *harness) event(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

func (h *harness) happened() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.events...)
}

// start runs a Supervisor over the fake Envoy in dir until stop, or the end of the test.
func start(t *testing.T, dir string, limit int64) *harness {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{dir: dir}
	h.Supervisor, err = envoy.NewSupervisor(t.Context(), envoy.Options{
		Binary: envoy.Binary{Path: self}, Records: filepath.Join(dir, "proxies.json"), Log: slog.New(slog.DiscardHandler), LogLimit: limit,
		Started: func(id string, pid int) error {
			if _, err := os.Stat(h.file(id, "running")); err == nil {
				h.event("%s ran before it was known", id)
			}
			h.event("started %s", id)
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.refuse
		},
		Ended: func(id string, pid int) {
			if alive(pid) {
				h.event("%s outlives its end", id)
			}
			h.event("ended %s", id)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

func (h *harness) file(id, name string) string {
	return filepath.Join(proxyIn(h.dir, id).Dir, "own", name)
}

// behave tells the fake what to do; it needs its directory before the Supervisor makes it.
func (h *harness) behave(t *testing.T, id, what string) {
	t.Helper()
	if err := os.MkdirAll(proxyIn(h.dir, id).Dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proxyIn(h.dir, id).Dir, "behaviour"), []byte(what), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (h *harness) state(id string) envoy.State {
	for _, s := range h.States() {
		if s.ID == id {
			return s
		}
	}
	return envoy.State{}
}

const (
	edge   = "gateway/default/edge"
	orders = "sidecar/default/orders"
)

func TestApplyStartsAndEndsProxies(t *testing.T) {
	dir := tempDir(t)
	t.Setenv("CREDENCE_TEST_SECRET", "do-not-inherit")
	h := start(t, dir, 0)
	h.Apply([]envoy.Proxy{proxyIn(dir, edge)})
	first := pidIn(t, h.file(edge, "running"))
	h.Apply([]envoy.Proxy{proxyIn(dir, edge), proxyIn(dir, orders)})
	second := pidIn(t, h.file(orders, "running"))
	eventually(t, "both have a pid", func() bool { return h.state(edge).PID == first && h.state(orders).PID == second })
	if got := len(read(t, dir)); got != 2 {
		t.Errorf("%d records of 2 proxies", got)
	}

	h.Apply([]envoy.Proxy{proxyIn(dir, orders)})
	eventually(t, "edge has ended", func() bool { return !alive(first) && len(h.States()) == 1 })
	if !alive(second) || h.state(orders).Restarts != 0 {
		t.Error("orders was disturbed")
	}

	// Another socket means another process.
	moved := proxyIn(dir, orders)
	moved.Node.AgentSocket = filepath.Join(moved.Dir, "other.sock")
	h.Apply([]envoy.Proxy{moved})
	eventually(t, "orders was started anew", func() bool { pid := h.state(orders).PID; return pid != 0 && pid != second })
	if alive(second) {
		t.Error("the old process of orders still runs")
	}
	third := h.state(orders).PID
	if log := contents(moved.LogFile); strings.Contains(log, "do-not-inherit") || !strings.Contains(log, "PATH=/usr/bin:/bin") {
		t.Errorf("the environment of a proxy: %s", log)
	}

	h.stop()
	if alive(third) {
		t.Error("a proxy outlives Run")
	}
	if got := read(t, dir); len(got) != 0 {
		t.Errorf("records left: %+v", got)
	}
	want := []string{
		"started " + edge, "started " + orders, "ended " + edge, "ended " + orders, "started " + orders, "ended " + orders,
	}
	if diff := cmp.Diff(want, without(h.happened(), "ran before")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// without leaves out the restart of orders, whose file "running" is of its first process.
func without(events []string, part string) []string {
	var out []string
	for _, e := range events {
		if !strings.Contains(e, part) {
			out = append(out, e)
		}
	}
	return out
}

func TestAProxyIsKnownBeforeItRuns(t *testing.T) {
	dir := tempDir(t)
	h := start(t, dir, 0)
	h.Apply([]envoy.Proxy{proxyIn(dir, edge)})
	pidIn(t, h.file(edge, "running"))
	h.stop()
	if diff := cmp.Diff([]string{"started " + edge, "ended " + edge}, h.happened()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAProxyThatEndsIsStartedAgain(t *testing.T) {
	dir := tempDir(t)
	h := start(t, dir, 0)
	h.behave(t, edge, "exit")
	h.Apply([]envoy.Proxy{proxyIn(dir, edge), proxyIn(dir, orders)})
	eventually(t, "two restarts", func() bool { return h.state(edge).Restarts >= 2 })
	if s := h.state(edge); s.PID != 0 && s.Error != "" || s.PID == 0 && !strings.Contains(s.Error, "envoy of "+edge+" ended by itself (exit status 3): see "+dir) {
		t.Errorf("state: %+v", s)
	}
	h.behave(t, edge, "")
	pid := pidIn(t, h.file(edge, "running"))
	eventually(t, "no error", func() bool { s := h.state(edge); return s.PID == pid && s.Error == "" && s.Restarts >= 2 })
	if h.state(orders).Restarts != 0 {
		t.Error("orders was disturbed")
	}
	if log := contents(proxyIn(dir, edge).LogFile); strings.Count(log, "envoy runs as") < 3 {
		t.Errorf("a restart lost the log: %s", log)
	}
}

func TestAProxyThatIsNotAcceptedNeverRuns(t *testing.T) {
	dir := tempDir(t)
	h := start(t, dir, 0)
	h.mu.Lock()
	h.refuse = errors.New("no room for it")
	h.mu.Unlock()
	h.Apply([]envoy.Proxy{proxyIn(dir, edge)})
	eventually(t, "it was refused", func() bool { return strings.Contains(h.state(edge).Error, "no room for it") })
	h.stop()
	if _, err := os.Stat(h.file(edge, "running")); err == nil {
		t.Error("it ran")
	}
	if got := read(t, dir); len(got) != 0 {
		t.Errorf("records left: %+v", got)
	}
}

func TestLogsBeginAnewAndTheLastOnesStay(t *testing.T) {
	dir := tempDir(t)
	log := proxyIn(dir, edge).LogFile
	for run := range 3 {
		h := start(t, dir, 0)
		h.behave(t, edge, fmt.Sprintf("write %d", run+1))
		h.Apply([]envoy.Proxy{proxyIn(dir, edge)})
		pidIn(t, h.file(edge, "running"))
		h.stop()
		if err := os.Remove(h.file(edge, "running")); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(contents(log), "line "); got != 3 {
		t.Errorf("the log has %d lines of 3:\n%s", got, contents(log))
	}
	if got := strings.Count(contents(log+".1"), "line "); got != 2 {
		t.Errorf("the log before has %d lines of 2:\n%s", got, contents(log+".1"))
	}
}

func TestLogsStayBelowTheirLimit(t *testing.T) {
	users(t, func(t *testing.T, user *envoy.User) {
		dir := tempDir(t)
		h := start(t, dir, 4096)
		h.behave(t, edge, "write 1000")
		p := proxyIn(dir, edge)
		p.User = user
		h.Apply([]envoy.Proxy{p})
		pid := pidIn(t, h.file(edge, "running"))
		eventually(t, "the log was cut", func() bool {
			return strings.HasSuffix(contents(p.LogFile+".1"), "line 000999\n") && contents(p.LogFile) == ""
		})
		if got := len(contents(p.LogFile + ".1")); got > 2*4096 {
			t.Errorf("%d bytes are kept of a limit of 4096", got)
		}
		h.Apply(nil)
		eventually(t, "it has ended", func() bool { return !alive(pid) })
		// It wrote on at the new end of the file, not where it had been.
		if got := contents(p.LogFile); got != "told to end\n" {
			t.Errorf("the log is %q", got)
		}
	})
}

// users runs a test as our own user and, as root, as another one.
func users(t *testing.T, test func(*testing.T, *envoy.User)) {
	t.Run("own user", func(t *testing.T) { test(t, nil) })
	if os.Geteuid() != 0 {
		return
	}
	t.Run("another user", func(t *testing.T) { test(t, &envoy.User{UID: 23456, GID: 23456}) })
}
