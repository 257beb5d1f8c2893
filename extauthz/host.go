package extauthz

import (
	"net/netip"
	"strings"
)

// Limits of a host name (RFC 1035 §2.3.4).
const (
	maxHost  = 253
	maxLabel = 63
)

// parseHost reads Host strictly and returns it in lower case without port, an IPv6 address in brackets and RFC 5952's form. Envoy passes on joined, empty and mangled hosts, cuts ports
// whatever they are, and matches a '*' virtual host with them; a host that is not a name or an IP address is refused here. Underscores are
// accepted: container names have them and no reader takes them for something else.
func parseHost(raw string) (string, bool) {
	if strings.HasPrefix(raw, "[") {
		return parseIPv6(raw)
	}
	host, port, hasPort := strings.Cut(raw, ":")
	if hasPort && !validPort(port) || host == "" || len(host) > maxHost {
		return "", false
	}
	label, upper := 0, false
	for i := 0; i < len(host); i++ {
		switch c := host[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case 'A' <= c && c <= 'Z':
			upper = true
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return "", false
		}
		if label++; label > maxLabel {
			return "", false
		}
	}
	// A dot at the end that Envoy has left there is a second one, or a name that it did not match like the one without.
	if label == 0 {
		return "", false
	}
	if upper {
		host = strings.ToLower(host)
	}
	return host, true
}

func parseIPv6(raw string) (string, bool) {
	end := strings.IndexByte(raw, ']')
	if end < 0 {
		return "", false
	}
	if rest := raw[end+1:]; rest != "" && (rest[0] != ':' || !validPort(rest[1:])) {
		return "", false
	}
	addr, err := netip.ParseAddr(raw[1:end])
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	// One address has many spellings: a rule against "[::1]" must hold for "[0::1]" too.
	return "[" + addr.String() + "]", true
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}
