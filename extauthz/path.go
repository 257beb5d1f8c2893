package extauthz

import (
	"strings"
	"unicode/utf8"

	"github.com/credence-mesh/credence/policy"
)

// Why a request has no canonical form. All are answered with 400.
const (
	reasonVersion      = "http_version"
	reasonMethod       = "method_invalid"
	reasonUpgrade      = "upgrade_method"
	reasonHost         = "host_invalid"
	reasonPath         = "path_invalid"
	reasonPathDots     = "path_dot_segment"
	reasonPathParams   = "path_parameter"
	reasonPathEncoding = "path_encoding"
	reasonPathSlash    = "path_encoded_slash"
	reasonPathControl  = "path_control"
	reasonPathEmpty    = "path_empty_segment"
)

// target is a request target in the one form that policy compares.
type target struct {
	// path is what the client sent, without the query; query what followed the first '?', untouched.
	path, query string
	segments    []string
	// slash: the path ends with one, "/" itself does not.
	slash bool
}

// maxKeptSegments bounds what a path may have where the rules keep what is refused otherwise: such a path has several readings.
const maxKeptSegments = 256

// parseTarget reads an origin-form target (RFC 9112 §3.2.1) as Envoy normalised it. It decodes each segment once and refuses whatever
// two readers could read differently: dot segments, parameters, control characters, encodings that are not UTF-8, and, unless rules
// keep them, encoded slashes and empty segments. One pass of Envoy's normalisation is not a fixed point, so this is not done there. The
// reason is empty if all is well. It never uses net/url, whose idea of a target differs from everybody's.
func parseTarget(raw string, rules policy.PathRules) (target, string) {
	var t target
	t.path, t.query, _ = strings.Cut(raw, "?")
	if t.path == "" || t.path[0] != '/' {
		return t, reasonPath
	}
	rest := t.path[1:]
	if rest == "" {
		return t, ""
	}
	if rules != (policy.PathRules{}) && separators(t.path) > maxKeptSegments {
		return t, reasonPath
	}
	t.segments = make([]string, 0, strings.Count(rest, "/")+1)
	for {
		segment, after, more := strings.Cut(rest, "/")
		switch {
		case segment == "" && !more:
			t.slash = true
			return t, ""
		case segment == "" && !rules.KeepEmptySegments:
			return t, reasonPathEmpty
		}
		decoded, reason := decodeSegment(segment, rules.KeepEscapedSlashes)
		if reason != "" {
			return t, reason
		}
		t.segments = append(t.segments, decoded)
		if !more {
			return t, ""
		}
		rest = after
	}
}

// separators counts slashes and what some reader takes for one.
func separators(path string) int {
	n := 0
	for _, s := range [...]string{"/", "%2F", "%2f", "%5C", "%5c"} {
		n += strings.Count(path, s)
	}
	return n
}

// decodeSegment decodes percent-encoding (RFC 3986 §2.1) once.
func decodeSegment(s string, keepSlashes bool) (string, string) {
	plain := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			plain = false
		case c <= ' ' || c >= 0x7f:
			return "", reasonPathControl
		case c == ';':
			return "", reasonPathParams
		case c == '\\' || c == '#':
			return "", reasonPath
		}
	}
	if !plain {
		var reason string
		if s, reason = unescape(s, keepSlashes); reason != "" {
			return "", reason
		}
	}
	// A reader that takes an escaped slash for a slash resolves the dots between them.
	for part := range strings.FieldsFuncSeq(s, isSlash) {
		if part == "." || part == ".." {
			return "", reasonPathDots
		}
	}
	return s, ""
}

func isSlash(r rune) bool { return r == '/' || r == '\\' }

func unescape(s string, keepSlashes bool) (string, string) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", reasonPathEncoding
			}
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return "", reasonPathEncoding
			}
			c = hi<<4 | lo
			i += 2
			switch {
			case (c == '/' || c == '\\') && !keepSlashes:
				return "", reasonPathSlash
			case c == ';':
				return "", reasonPathParams
			case c < ' ' || c == 0x7f:
				return "", reasonPathControl
			}
		}
		b.WriteByte(c)
	}
	// Overlong forms and surrogates are not UTF-8 either.
	if !utf8.ValidString(b.String()) {
		return "", reasonPathEncoding
	}
	return b.String(), ""
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// validMethod accepts tokens (RFC 9110 §9.1) without lower-case letters. Methods are case-sensitive and many servers do not know
// that: "post" would pass a rule against POST and then be served as one.
func validMethod(m string) bool {
	if m == "" || len(m) > 32 {
		return false
	}
	for i := 0; i < len(m); i++ {
		c := m[i]
		if ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return true
}
