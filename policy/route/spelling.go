package route

import "strings"

// char is one byte of a decoded text; encoded: it was written as %2F, which is not the slash that parts segments.
type char struct {
	byte
	encoded bool
}

// spelling says how a byte may be written.
type spelling int

const (
	_ spelling = iota
	// asItself alone.
	asItself
	// asEscape: percent-encoded alone.
	asEscape
	// asEither way.
	asEither
	// asBlank is "+" or "%20".
	asBlank
)

// pathSpelling is what Envoy's normalisation leaves: unreserved characters are always decoded (RFC 3986 §6.2.2.2), some never are there
// as themselves, the others are as they were sent.
func pathSpelling(c char) spelling {
	switch {
	case !c.encoded && (c.byte == '/' || unreserved(c.byte)):
		return asItself
	case c.byte >= 0x80 || c.byte <= ' ' || c.byte == 0x7f || strings.IndexByte(`%?#/\"<>[]^`+"`{|}", c.byte) >= 0:
		return asEscape
	}
	return asEither
}

// querySpelling is what clients send: nothing normalises a query.
func querySpelling(c char) spelling {
	switch {
	case unreserved(c.byte):
		return asItself
	case c.byte == ' ':
		return asBlank
	case c.byte >= 0x80 || c.byte < ' ' || c.byte == 0x7f || strings.IndexByte("%&+#", c.byte) >= 0:
		return asEscape
	}
	return asEither
}

// cutSpelled takes want off the beginning of s, however it is spelled.
func cutSpelled(s string, want []char, how func(char) spelling) (rest string, ok bool) {
	for _, c := range want {
		n := 0
		switch how(c) {
		case asItself:
			n = itself(s, c.byte)
		case asEscape:
			n = escape(s, c.byte)
		case asEither:
			n = max(itself(s, c.byte), escape(s, c.byte))
		case asBlank:
			n = max(itself(s, '+'), escape(s, ' '))
		}
		if n == 0 {
			return "", false
		}
		s = s[n:]
	}
	return s, true
}

func itself(s string, c byte) int {
	if s != "" && s[0] == c {
		return 1
	}
	return 0
}

// escape: digits of either case.
func escape(s string, c byte) int {
	if len(s) < 3 || s[0] != '%' {
		return 0
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	if hi < 0 || lo < 0 || byte(hi<<4|lo) != c { //nolint:gosec // two digits of 4 bits
		return 0
	}
	return 3
}

// decode reads the path of a manifest.
func decode(path string) []char {
	out := make([]char, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if hi, lo := unhex(path[i+1]), unhex(path[i+2]); hi >= 0 && lo >= 0 {
				c := byte(hi<<4 | lo) //nolint:gosec // two digits of 4 bits
				out = append(out, char{c, c == '/'})
				i += 2
				continue
			}
		}
		out = append(out, char{path[i], false})
	}
	return out
}

func plain(value string) []char {
	out := make([]char, len(value))
	for i := range out {
		out[i].byte = value[i]
	}
	return out
}

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
