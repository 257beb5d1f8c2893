package attest_test

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// One user can't take all descriptors of the agent: the socket is open to everybody.
func TestConnectionsOfOneUserAreBounded(t *testing.T) {
	const most = 512
	h := newHost(t)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("unix", h.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var last net.Conn
	for range most {
		dial()
		_, last = h.accept(t)
	}
	refused := func() bool {
		t.Helper()
		dial()
		if err := h.listener.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		raw, err := h.listener.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		before := openFDs(t)
		c, _, err := h.creds.ServerHandshake(raw)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return false
		}
		if !strings.Contains(err.Error(), "too many connections") {
			t.Errorf("refused with %v", err)
		}
		if after := openFDs(t); after > before {
			t.Errorf("the refused connection keeps %d descriptors", after-before)
		}
		if err := raw.Close(); err != nil {
			t.Error(err)
		}
		return true
	}
	if !refused() {
		t.Fatalf("connection %d of one user is accepted", most+1)
	}
	if os.Geteuid() == 0 {
		nobody := h.start(t, h.program(t, "orders"), &syscall.Credential{Uid: 12345, Gid: 12345})
		if p, _ := h.accept(t); p.UID() != 12345 {
			t.Errorf("another user is uid %d", p.UID())
		}
		nobody.kill()
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	if refused() {
		t.Error("refused although one has been closed")
	}
}
