package policy

import "strings"

// hopByHop are the fields by which a message is framed, and those that end with a connection (RFC 9110 §7.6.1, RFC 9112 §6).
var hopByHop = [...]string{
	"connection", "content-length", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// ReservedHeader tells whether no route may change a header, in any case of its letters: what says who calls, under every spelling that some
// server reads as such (X.Credence.Subject); where a request goes; and where a message ends, or what it turns into, once it has been judged.
func ReservedHeader(name string) bool {
	name = strings.ToLower(name)
	if name == "" || name == "host" || name[0] == ':' {
		return true
	}
	for _, h := range hopByHop {
		if name == h {
			return true
		}
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return plain == "txn-token" || strings.HasPrefix(plain, "x-credence-")
}
