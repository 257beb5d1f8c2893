package jwks

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errPrivate: whoever controls an issuer's metadata must not make credence send requests into the network that it stands in.
var errPrivate = errors.New("a host that only the issuer's metadata names must have a public address: write the address of the key set into keys.url")

// special are the ranges of IPv4 that are not for the public Internet (RFC 6890 and IANA's registry). Of IPv6 only 2000::/3 is public, less
// specialV6.
var special = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")

var (
	publicV6  = netip.MustParsePrefix("2000::/3")
	specialV6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

func prefixes(text ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(text))
	for _, t := range text {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// Public tells whether a is an address of the public Internet: not private, loopback, link-local, shared (CGNAT), multicast, unspecified or
// reserved, and no IPv6 address that stands for an IPv4 one (v4-mapped, NAT64, 6to4, Teredo), behind which any of these may be.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	in := special
	if a.Is6() {
		if !publicV6.Contains(a) {
			return false
		}
		in = specialV6
	}
	for _, p := range in {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// onlyPublic is a net.Dialer's Control: it sees the address that is connected to, so no later answer of DNS gets around it.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("not an address: %.64q", address)
	}
	if !Public(at.Addr()) {
		return fmt.Errorf("%s is not public: %w", at.Addr(), errPrivate)
	}
	return nil
}
