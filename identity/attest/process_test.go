package attest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/identity/attest"
)

func wait(t *testing.T, p *attest.Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("the end of the process was not noticed")
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to start processes of other users")
	}
}

func sum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func TestC3Attest(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	// The command name holds what a careless parser of /proc/<pid>/stat takes for fields.
	program := h.program(t, "a) R 1 2 3 4")
	c := h.start(t, program, &syscall.Credential{Uid: 12345, Gid: 23456})
	p, _ := h.accept(t)
	got, err := p.Attest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := attest.Attributes{UID: 12345, GID: 23456, Path: program, SHA256: sum(t, program)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p.PID() != c.cmd.Process.Pid || !p.Alive() {
		t.Errorf("pid %d, alive %v; started %d", p.PID(), p.Alive(), c.cmd.Process.Pid)
	}
	c.kill()
	wait(t, p)
	if p.Alive() {
		t.Error("a dead process is alive")
	}
	if _, err := p.Attest(t.Context()); !errors.Is(err, attest.ErrGone) {
		t.Errorf("Attest of a dead process: %v", err)
	}
}

func TestC3ExecAfterConnectIsSeen(t *testing.T) {
	h := newHost(t)
	program := h.program(t, "orders")
	c := h.start(t, program, nil)
	p, _ := h.accept(t)
	before, err := p.Attest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sleep, err := filepath.EvalSymlinks("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	c.tell(t, "exec "+sleep)
	// The new program says nothing: it is attested until it is seen.
	deadline := time.Now().Add(time.Minute)
	for {
		a, err := p.Attest(t.Context())
		if err == nil && a.Path == sleep && a.SHA256 != before.SHA256 {
			return
		}
		if err != nil && !errors.Is(err, attest.ErrChanged) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", a)
		}
	}
}

func TestC3ChangedUserIsRefused(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	c := h.start(t, h.program(t, "orders"), nil)
	p, _ := h.accept(t)
	c.do(t, "setuid")
	if a, err := p.Attest(t.Context()); !errors.Is(err, attest.ErrChanged) {
		t.Errorf("Attest: %s, %v", a, err)
	}
}

func TestC3SocketHandedOnEndsWithItsProcess(t *testing.T) {
	h := newHost(t)
	c := h.start(t, h.program(t, "orders"), nil)
	p, conn := h.accept(t)
	c.tell(t, "pass") // its child holds the socket and waits for input on it
	if err := c.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection lives on: %v", err)
		}
	}
}

func TestReplacedExecutableHasNoPath(t *testing.T) {
	h := newHost(t)
	program := h.program(t, "orders")
	want := sum(t, program)
	h.start(t, program, nil)
	p, _ := h.accept(t)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	h.program(t, "orders") // another file of the same name
	a, err := p.Attest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Path != "" || a.Note == "" || a.SHA256 != want {
		t.Errorf("attested %s", a)
	}
}

func TestForeignConnectionIsRefused(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	defer func() { _ = b.Close() }()
	if _, _, err := attest.Credentials().ServerHandshake(a); err == nil {
		t.Error("a pipe was attested")
	}
	if _, err := attest.FromContext(t.Context()); !errors.Is(err, attest.ErrNoProcess) {
		t.Errorf("FromContext: %v", err)
	}
}

func TestDeadBeforeTheHandshake(t *testing.T) {
	h := newHost(t)
	c := h.start(t, h.program(t, "orders"), nil)
	if err := h.listener.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	raw, err := h.listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	c.kill()
	if _, _, err := h.creds.ServerHandshake(raw); !errors.Is(err, attest.ErrGone) {
		t.Errorf("handshake with a dead process: %v", err)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestClosedConnectionsKeepNoDescriptors is the fd leak that SPIRE's peer tracker had.
func TestClosedConnectionsKeepNoDescriptors(t *testing.T) {
	h := newHost(t)
	connect := func() {
		c, err := net.Dial("unix", h.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p, s := h.accept(t)
		if _, err := p.Attest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if p.Alive() {
			t.Error("alive after its connection has ended")
		}
		if _, err := p.Attest(t.Context()); !errors.Is(err, attest.ErrGone) {
			t.Errorf("Attest after close: %v", err)
		}
	}
	connect()
	before := openFDs(t)
	for range 50 {
		connect()
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestChildren(t *testing.T) {
	h := newHost(t)
	program := h.program(t, "envoy")
	var children attest.Children
	defer children.Close()
	first := h.start(t, program, nil)
	if err := children.Add(first.cmd.Process.Pid, "gateway/default/edge"); err != nil {
		t.Fatal(err)
	}
	p, _ := h.accept(t)
	h.start(t, program, nil) // the same executable, not registered
	stranger, _ := h.accept(t)
	if id, ok := children.Lookup(p); !ok || id != "gateway/default/edge" {
		t.Errorf("child: %q, %v", id, ok)
	}
	if id, ok := children.Lookup(stranger); ok {
		t.Errorf("a stranger with the same executable is %q", id)
	}
	if id, ok := children.Lookup(nil); ok {
		t.Errorf("nobody is %q", id)
	}
	// Started anew: the old one is nobody any more.
	second := h.start(t, program, nil)
	again, _ := h.accept(t)
	if err := children.Add(second.cmd.Process.Pid, "gateway/default/edge"); err != nil {
		t.Fatal(err)
	}
	if id, ok := children.Lookup(again); !ok || id != "gateway/default/edge" {
		t.Errorf("the new child: %q, %v", id, ok)
	}
	if id, ok := children.Lookup(p); ok {
		t.Errorf("the replaced child is %q", id)
	}
	second.kill()
	wait(t, again)
	if id, ok := children.Lookup(again); ok {
		t.Errorf("the dead child is %q", id)
	}
	children.Remove("gateway/default/edge")
	children.Remove("unknown")
	if err := children.Add(second.cmd.Process.Pid, "gateway/default/edge"); !errors.Is(err, attest.ErrGone) {
		t.Errorf("Add of a dead process: %v", err)
	}
}
