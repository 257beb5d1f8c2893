package xds

import (
	"fmt"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// A path can be written in several ways: "/a@b" and "/a%40b" are one to whoever decodes, and so to policy and to the upstream. Envoy's
// normalisation decodes unreserved characters only (RFC 3986 §6.2.2.2) and leaves the case of digits alone, so a route for one spelling
// would not see the others, and they would fall to a wider route with other policies.

// plainPath decodes a path all of whose characters are unreserved after Envoy's normalisation: there is one spelling left. Of another path
// plain is false.
func plainPath(path string) (decoded string, plain bool) {
	b := decodePath(path)
	for _, c := range b {
		if c.encoded || c.byte != '/' && !unreserved(c.byte) {
			return "", false
		}
	}
	return string(bytesOf(b)), true
}

// pathPattern is the regular expression of every spelling of a path that passes Envoy's normalisation.
func pathPattern(path string) string {
	var b strings.Builder
	for _, c := range decodePath(path) {
		switch {
		case !c.encoded && (c.byte == '/' || unreserved(c.byte)):
			b.WriteString(regexp.QuoteMeta(string(rune(c.byte))))
		case c.byte >= 0x80 || c.byte <= ' ' || c.byte == 0x7f || strings.IndexByte(`%?#/\"<>[]^`+"`{|}", c.byte) >= 0:
			b.WriteString(escapePattern(c.byte)) // it is never there as itself
		default:
			b.WriteString("(?:" + regexp.QuoteMeta(string(rune(c.byte))) + "|" + escapePattern(c.byte) + ")")
		}
	}
	return b.String()
}

// queryIs compares a query parameter, which Envoy leaves as it was sent: encoded in one of several ways, blanks as "+" too (HTML's
// application/x-www-form-urlencoded). Names, and characters that nobody needs to encode, are compared as sent: which route a query chooses
// is a convenience, policies never look at it.
func queryIs(value string) *matcherv3.StringMatcher {
	var b strings.Builder
	plain := true
	for i := range len(value) {
		c := value[i]
		switch {
		case unreserved(c):
			b.WriteString(regexp.QuoteMeta(string(rune(c))))
			continue
		case c == ' ':
			b.WriteString(`(?:\+|%20)`)
		case c >= 0x80 || c < ' ' || c == 0x7f || strings.IndexByte("%&+#", c) >= 0:
			b.WriteString(escapePattern(c))
		default:
			b.WriteString("(?:" + regexp.QuoteMeta(string(rune(c))) + "|" + escapePattern(c) + ")")
		}
		plain = false
	}
	if plain {
		return exactly(value)
	}
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: b.String()}}}
}

// escapePattern matches the percent-encoding of c with digits of either case.
func escapePattern(c byte) string {
	var b strings.Builder
	b.WriteByte('%')
	for _, digit := range fmt.Sprintf("%02x", c) {
		if digit >= 'a' {
			b.WriteString("[" + string(digit) + strings.ToUpper(string(digit)) + "]")
			continue
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// pathByte is one character of a decoded path; encoded: a slash that was not one ("%2F").
type pathByte struct {
	byte
	encoded bool
}

func decodePath(path string) []pathByte {
	out := make([]pathByte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if hi, lo := unhex(path[i+1]), unhex(path[i+2]); hi >= 0 && lo >= 0 {
				c := byte(hi<<4 | lo) //nolint:gosec // two digits of 4 bits
				out = append(out, pathByte{c, c == '/'})
				i += 2
				continue
			}
		}
		out = append(out, pathByte{path[i], false})
	}
	return out
}

func bytesOf(path []pathByte) []byte {
	out := make([]byte, len(path))
	for i, c := range path {
		out[i] = c.byte
	}
	return out
}

func wholePath(pattern string) *routev3.RouteMatch_SafeRegex {
	return &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: pattern}}
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// unreserved of RFC 3986 §2.3.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
