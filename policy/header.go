package policy

import (
	"slices"
	"strings"
)

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

// ChangeableHeader tells whether a policy may have Check set or remove a header, whose name is in lower case: none that frames or routes a
// message, or by which a proxy or a browser has said something. A name with "_" could pass for another one. Proxies are configured to let Check
// do exactly that, beside its own headers.
func ChangeableHeader(name string) bool {
	if ReservedHeader(name) || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Contains("-"+name+"-", "--") {
		return false
	}
	for _, prefix := range [...]string{"x-forwarded-", "x-envoy-", "grpc-", "access-control-", "sec-", "content-", "accept-", "proxy-", "if-"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return !slices.Contains([]string{
		"accept", "cookie", "forwarded", "expect", "range", "via", "date", "origin", "referer", "x-real-ip", "x-request-id",
		"x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url", "traceparent", "tracestate",
	}, name)
}
