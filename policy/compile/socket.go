package compile

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/credence-mesh/credence/policy"
)

// sockets are the TCP addresses given away so far, by port.
type sockets map[uint16][]claim

type claim struct {
	addr  netip.Addr
	owner string
}

// take claims ap for owner, or tells who has it: nil is success. An unspecified address overlaps every other of its port.
func (s sockets) take(ap netip.AddrPort, owner string) error {
	for _, c := range s[ap.Port()] {
		if c.addr == ap.Addr() || c.addr.IsUnspecified() || ap.Addr().IsUnspecified() {
			return fmt.Errorf("%s is taken by %s", netip.AddrPortFrom(c.addr, ap.Port()), c.owner)
		}
	}
	s[ap.Port()] = append(s[ap.Port()], claim{ap.Addr(), owner})
	return nil
}

// placement is the loopback address that a listener gets when the manifests do not place it: a hash of its name alone, so that
// no other object can ever move it.
func (c *compiler) placement(n policy.Name, what string) netip.AddrPort {
	h := fnv.New64a()
	// hash.Hash never returns an error.
	_, _ = fmt.Fprintf(h, "%q %q %q", n.Namespace, n.Name, what)
	first, count := c.portRange()
	port, _ := portNumber(first + int64(h.Sum64()%count)) //nolint:gosec // below count, which is at most 65535
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

// portNumber is n as a TCP port; false: it is none.
func portNumber[T int32 | int64](n T) (uint16, bool) {
	if n < 1 || n > 65535 {
		return 0, false
	}
	return uint16(n), true
}
