package token

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/credence-mesh/credence/policy/decide"
)

// Limits of what is parsed before anybody is known to have signed it.
const (
	maxToken   = 16 << 10
	maxHeader  = 1 << 10
	maxMembers = 64
	maxDepth   = 16
	maxString  = 4 << 10
)

// object decodes one JSON object strictly (RFC 8259, RFC 7493 §2): no duplicate names (compared exactly), valid UTF-8 and no half of a
// surrogate pair, nothing after it, within the limits. Values are nil, bool, string, decide.Number, []any and map[string]any; their
// strings are parts of one copy of data.
func object(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, invalid(ReasonUTF8, "not UTF-8")
	}
	d := reader{text: string(data)}
	if d.peek() != '{' {
		return nil, invalid(ReasonMalformed, "not a JSON object")
	}
	d.pos++
	m, err := d.members()
	if err != nil {
		return nil, err
	}
	if d.peek(); d.pos < len(d.text) {
		return nil, invalid(ReasonMalformed, "data after the JSON object")
	}
	return m, nil
}

// reader reads JSON text that is UTF-8, once and from the front. jsontext reads the same, with all of a general decoder's state for each
// of the two objects of a token; the tests compare both.
type reader struct {
	text string
	pos  int
	// depth is how many arrays and objects are open.
	depth int
}

// malformed says nothing of the text: it is a token's.
func malformed() error { return invalid(ReasonMalformed, "not JSON") }

// peek skips white space and returns the next byte, or 0 at the end: no JSON has that byte.
func (d *reader) peek() byte {
	for ; d.pos < len(d.text); d.pos++ {
		switch c := d.text[d.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (d *reader) value() (any, error) {
	switch c := d.peek(); c {
	case '"':
		return d.string()
	case '{':
		d.pos++
		return d.members()
	case '[':
		d.pos++
		return d.array()
	case 't':
		return true, d.literal("true")
	case 'f':
		return false, d.literal("false")
	case 'n':
		return nil, d.literal("null")
	default:
		return d.number()
	}
}

func (d *reader) literal(word string) error {
	if !strings.HasPrefix(d.text[d.pos:], word) {
		return malformed()
	}
	d.pos += len(word)
	return nil
}

// number reads RFC 8259 §6.
func (d *reader) number() (any, error) {
	start := d.pos
	if d.at('-') {
		d.pos++
	}
	switch {
	case d.at('0'):
		d.pos++
	case !d.digits():
		return nil, malformed()
	}
	if d.at('.') {
		d.pos++
		if !d.digits() {
			return nil, malformed()
		}
	}
	if d.at('e') || d.at('E') {
		d.pos++
		if d.at('+') || d.at('-') {
			d.pos++
		}
		if !d.digits() {
			return nil, malformed()
		}
	}
	return decide.Number(d.text[start:d.pos]), nil
}

func (d *reader) at(c byte) bool { return d.pos < len(d.text) && d.text[d.pos] == c }

// digits skips at least one, or returns false.
func (d *reader) digits() bool {
	start := d.pos
	for d.pos < len(d.text) && '0' <= d.text[d.pos] && d.text[d.pos] <= '9' {
		d.pos++
	}
	return d.pos > start
}

// open counts an array or object that begins.
func (d *reader) open() error {
	if d.depth++; d.depth > maxDepth {
		return invalid(ReasonTooLarge, "nested over %d deep", maxDepth)
	}
	return nil
}

// more tells whether another element follows: the first, or one after a comma. The end is consumed.
func (d *reader) more(first bool, end byte) (bool, error) {
	switch c := d.peek(); {
	case c == end:
		d.pos++
		d.depth--
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, malformed()
	}
	d.pos++
	return true, nil
}

func (d *reader) array() (any, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	out := []any{}
	for {
		if more, err := d.more(len(out) == 0, ']'); err != nil || !more {
			return out, err
		}
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

func (d *reader) members() (map[string]any, error) {
	if err := d.open(); err != nil {
		return nil, err
	}
	out := make(map[string]any, 8)
	for {
		if more, err := d.more(len(out) == 0, '}'); err != nil || !more {
			return out, err
		}
		if d.peek() != '"' {
			return nil, malformed()
		}
		name, err := d.string()
		if err != nil {
			return nil, err
		}
		if len(out) == maxMembers {
			return nil, invalid(ReasonTooLarge, "an object of over %d members", maxMembers)
		}
		if _, twice := out[name]; twice {
			return nil, invalid(ReasonDuplicateMember, "a member name occurs twice")
		}
		if d.peek() != ':' {
			return nil, malformed()
		}
		d.pos++
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
}

// string reads RFC 8259 §7. It is a part of the text where that has no escapes.
func (d *reader) string() (string, error) {
	d.pos++
	start := d.pos
	for ; d.pos < len(d.text); d.pos++ {
		switch c := d.text[d.pos]; {
		case c == '"':
			s := d.text[start:d.pos]
			d.pos++
			return bounded(s)
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", malformed()
		}
	}
	return "", malformed()
}

// escaped reads on at the first escape of a string that began at start.
func (d *reader) escaped(start int) (string, error) {
	out := []byte(d.text[start:d.pos])
	for d.pos < len(d.text) {
		c := d.text[d.pos]
		d.pos++
		switch {
		case c == '"':
			return bounded(string(out))
		case c < ' ':
			return "", malformed()
		case c != '\\':
			out = append(out, c)
			continue
		}
		r, ok := d.escape()
		if !ok {
			return "", malformed()
		}
		out = utf8.AppendRune(out, r)
	}
	return "", malformed()
}

// escape reads what follows a backslash; two halves of a surrogate pair are one character, and a half alone is none (RFC 7493 §2.1).
func (d *reader) escape() (rune, bool) {
	if d.pos >= len(d.text) {
		return 0, false
	}
	c := d.text[d.pos]
	d.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok := d.hex()
		if !ok || !utf16.IsSurrogate(r) {
			return r, ok
		}
		if !strings.HasPrefix(d.text[d.pos:], `\u`) {
			return 0, false
		}
		d.pos += 2
		low, ok := d.hex()
		r = utf16.DecodeRune(r, low)
		return r, ok && r != utf8.RuneError
	}
	return 0, false
}

// hex reads four hexadecimal digits.
func (d *reader) hex() (rune, bool) {
	if len(d.text)-d.pos < 4 {
		return 0, false
	}
	var r rune
	for range 4 {
		c := d.text[d.pos]
		d.pos++
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func bounded(s string) (string, error) {
	if len(s) > maxString {
		return "", invalid(ReasonTooLarge, "a string of over %d bytes", maxString)
	}
	return s, nil
}
