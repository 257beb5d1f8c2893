package envoy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/envoy"
)

// startAs runs the proxy of a workload user in dir until its process was started and until holds (nil: at once), or until it was
// refused, and returns why.
func startAs(t *testing.T, dir string, user *envoy.User, until func() bool) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\nls -l /proc/$$/fd >fds.new && mv fds.new fds\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := envoy.NewSupervisor(ctx, envoy.Options{
		Binary: envoy.Binary{Path: binary}, Records: filepath.Join(t.TempDir(), "proxies.json"), Log: slog.New(slog.DiscardHandler),
		Started: func(string, int) error { started <- struct{}{}; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Apply([]envoy.Proxy{{
		Node: envoy.Node{
			ID: "sidecar/default/orders", AgentSocket: filepath.Join(dir, "agent.sock"), SDSSocket: filepath.Join(dir, "sds.sock"),
			AdminSocket: filepath.Join(dir, "own", "admin.sock"),
		},
		Dir: dir, LogFile: filepath.Join(t.TempDir(), "log"), User: user,
	}})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if until == nil {
		until = func() bool { return true }
	}
	running := false
	for {
		if running && until() {
			return ""
		}
		for _, st := range s.States() {
			if st.Error != "" {
				return st.Error
			}
		}
		select {
		case <-started:
			running = true
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// victim is a file that is not the workload's.
func victim(t *testing.T) (path string, unchanged func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(path, []byte("secret"), 0o640); err != nil {
		t.Fatal(err)
	}
	before := stat(t, path)
	return path, func() {
		t.Helper()
		body, err := os.ReadFile(path)
		if err != nil || string(body) != "secret" {
			t.Errorf("the file that a link led to now holds %.40q, %v", body, err)
		}
		if after := stat(t, path); after.Uid != before.Uid || after.Gid != before.Gid || after.Mode != before.Mode {
			t.Errorf("the file that a link led to has another owner or mode: %d:%d %o", after.Uid, after.Gid, after.Mode)
		}
	}
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return &st
}

// A workload with a user of its own kills its sidecar and puts a link where the next one's bootstrap file is written with our rights.
func TestBootstrapIsNotWrittenThroughALink(t *testing.T) {
	dir := t.TempDir()
	target, unchanged := victim(t)
	if err := os.Symlink(target, filepath.Join(dir, "bootstrap.json")); err != nil {
		t.Fatal(err)
	}
	var user *envoy.User // only root starts processes as a named user
	if os.Geteuid() == 0 {
		user = &envoy.User{UID: 0, GID: 0}
	}
	if why := startAs(t, dir, user, nil); why != "" {
		t.Fatalf("not started: %s", why)
	}
	unchanged()
	if st := stat(t, filepath.Join(dir, "bootstrap.json")); st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Mode&0o777 != 0o600 {
		t.Errorf("bootstrap.json has mode %o", st.Mode)
	}
}

func TestProxyDirectoryMustBeOurs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	user := &envoy.User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	if why := startAs(t, dir, user, nil); !strings.Contains(why, "only its owner") {
		t.Errorf("started in a directory that anybody may write: %q", why)
	}
}

// Links that the workload makes in the one directory that is its own lead nowhere.
func TestOwnDirectoryOfAProxyIsNotALink(t *testing.T) {
	dir, target := t.TempDir(), t.TempDir()
	if err := os.Symlink(target, filepath.Join(dir, "own")); err != nil {
		t.Fatal(err)
	}
	before := stat(t, target)
	uid := uint32(os.Geteuid())
	if uid == 0 {
		uid = 65533 // another user's, as in production
	}
	startAs(t, dir, &envoy.User{UID: uid, GID: uint32(os.Getegid())}, nil)
	if after := stat(t, target); after.Uid != before.Uid {
		t.Errorf("the directory that a link led to was given to user %d", after.Uid)
	}
}

// A descriptor that the product has inherited, and that is not closed on exec, is not a proxy's business.
func TestProxyInheritsNothing(t *testing.T) {
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", pipe[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = syscall.Close(pipe[0]), syscall.Close(pipe[1]) }()
	dir := t.TempDir()
	var fds []byte
	why := startAs(t, dir, nil, func() bool {
		var err error
		fds, err = os.ReadFile(filepath.Join(dir, "fds"))
		return err == nil
	})
	if why != "" {
		t.Fatalf("not started: %s", why)
	}
	if strings.Contains(string(fds), name) {
		t.Errorf("the proxy holds %s:\n%s", name, fds)
	}
}
