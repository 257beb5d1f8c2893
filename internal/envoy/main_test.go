package envoy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/internal/envoy"
)

// The test program is also the Envoy that is supervised (it is told from a real one by nothing but what it serves), and the product
// that dies.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "--config-path":
		os.Exit(fakeEnvoy())
	case len(os.Args) > 2 && os.Args[1] == "product":
		os.Exit(product(os.Args[2], len(os.Args) > 3))
	}
	goleak.VerifyTestMain(m)
}

// fakeEnvoy does what the file "behaviour" in its working directory says: exit, or write so many bytes; then it runs until SIGTERM.
func fakeEnvoy() int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "envoy runs as", os.Getuid(), os.Environ())
	// As Envoy does for its access log.
	stdout, err := os.OpenFile("/dev/stdout", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	behaviour, _ := os.ReadFile("behaviour")
	word, rest, _ := strings.Cut(strings.TrimSpace(string(behaviour)), " ")
	switch word {
	case "exit":
		return 3
	case "write":
		lines, _ := strconv.Atoi(rest)
		for i := range lines {
			_, _ = fmt.Fprintf(stdout, "line %06d\n", i)
		}
	}
	_ = os.WriteFile(filepath.Join("own", "running"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	<-term
	_, _ = fmt.Fprintln(stdout, "told to end")
	return 0
}

// product supervises one proxy in dir until it is killed. A held one never opens the gate.
func product(dir string, held bool) int {
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	s, err := envoy.NewSupervisor(context.Background(), envoy.Options{
		Binary: envoy.Binary{Path: self}, Records: filepath.Join(dir, "proxies.json"), Log: slog.New(slog.DiscardHandler),
		Started: func(_ string, pid int) error {
			if held {
				_ = os.WriteFile(filepath.Join(dir, "held"), []byte(strconv.Itoa(pid)), 0o600)
				select {}
			}
			return nil
		},
	})
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Apply([]envoy.Proxy{proxyIn(dir, "gateway/default/edge")})
	_ = s.Run(context.Background())
	return 0
}

func proxyIn(dir, id string) envoy.Proxy {
	own := filepath.Join(dir, strings.ReplaceAll(id, "/", "_"))
	return envoy.Proxy{
		Node: envoy.Node{
			ID: id, AgentSocket: filepath.Join(own, "agent.sock"), SDSSocket: filepath.Join(own, "sds.sock"), AdminSocket: filepath.Join(own, "own", "admin.sock"),
		},
		Dir: own, LogFile: own + ".log",
	}
}

// eventually waits until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("it never came to this: %s", what)
		case <-tick.C:
		}
	}
}

// tempDir is short: a socket path has 107 bytes.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "envoy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil { // proxies of other users
		t.Fatal(err)
	}
	return dir
}

func contents(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		return ""
	}
	return string(b)
}

// alive tells whether a process runs: one that ended and was not waited for does not.
func alive(pid int) bool {
	stat := contents(fmt.Sprintf("/proc/%d/stat", pid))
	if stat == "" {
		return false
	}
	state := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[0]
	return state != "Z" && state != "X"
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	var pid int
	eventually(t, "a pid in "+file, func() bool {
		var err error
		pid, err = strconv.Atoi(contents(file))
		return err == nil
	})
	return pid
}
