// Package testport gives tests TCP ports on which another process, an Envoy, will listen a moment later.
//
// Port 0 is no help there: what the kernel hands out comes from the range of outgoing connections, and one of these takes the port
// before the Envoy binds it. These ports lie below that range, and no two tests of this machine get the same one.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The range: above the well-known ports, below the kernel's default for outgoing connections (32768).
const first, last = 10_240, 31_999

// Free returns n ports of 127.0.0.1 that nothing listens on. They are the test's until it ends: the name of an abstract unix socket stands
// for each, which the kernel gives up with the process at the latest.
func Free(t testing.TB, n int) []int {
	t.Helper()
	var out []int
	for port := first + rand.IntN(last-first); len(out) < n; port++ { //nolint:gosec // a place to begin, not a secret
		if port > last {
			port = first
		}
		var lc net.ListenConfig
		claim, err := lc.Listen(t.Context(), "unix", fmt.Sprintf("@credence-test-port-%d", port))
		if err != nil {
			if t.Context().Err() != nil {
				t.Fatal(t.Context().Err())
			}
			continue // another test's
		}
		l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			_ = claim.Close()
			continue // something listens on it
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = claim.Close() })
		out = append(out, port)
	}
	return out
}
