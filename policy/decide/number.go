package decide

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// equals tells whether a rule's value is n: as text, or as a JSON number of the same value (7.0 and 70e-1 are 7). It is exact: no digit is
// rounded away. An issuer that writes a number in another way must not be how a deny rule is passed by.
func (n Number) equals(value string) bool {
	if string(n) == value {
		return true
	}
	a, ok := decimalOf(string(n))
	if !ok {
		return false
	}
	b, ok := decimalOf(value)
	return ok && a == b
}

// maxDigits of a fraction: what a float64 is written with at most.
const maxDigits = 17

// Exact is n as an int64 where it is whole, and else as the float64 next to it; an error where neither can hold it, so that two numbers
// that differ are never taken for one.
func (n Number) Exact() (any, error) {
	d, ok := decimalOf(string(n))
	switch {
	case !ok:
		return nil, errors.New("a number beyond comparing")
	case d.exponent > maxWhole:
		return nil, errors.New("a number beyond 64 bits")
	case d.exponent < len(d.digits):
		f, err := strconv.ParseFloat(string(n), 64)
		if err != nil || len(d.digits) > maxDigits || f == math.Trunc(f) {
			return nil, errors.New("a fraction beyond 64 bits")
		}
		return f, nil
	}
	text := d.digits + strings.Repeat("0", d.exponent-len(d.digits))
	if text == "" {
		return int64(0), nil
	}
	if d.negative {
		text = "-" + text
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errors.New("a number beyond 64 bits")
	}
	return i, nil
}

// maxWhole digits of an int64.
const maxWhole = 19

// claimKeys are the keys under which the index finds a rule's value: by its text, and by its value where it is a number.
func claimKeys(value string) []string {
	if d, ok := decimalOf(value); ok {
		return []string{value, d.key()}
	}
	return []string{value}
}

// claimKey is the one key by which the index looks a claim's value up.
func claimKey(v any) (string, bool) {
	if n, ok := v.(Number); ok {
		if d, ok := decimalOf(string(n)); ok {
			return d.key(), true
		}
	}
	return claimText(v)
}

// key is one for all ways to write the number. Should a text be the same, it costs a comparison.
func (d decimal) key() string {
	return fmt.Sprintf("number %t %s %d", d.negative, d.digits, d.exponent)
}

// decimal is 0.digits × 10^exponent, digits without zeros at its ends; zero is the zero value.
type decimal struct {
	negative bool
	digits   string
	exponent int
}

// maxExponent of a number that is compared by its value.
const maxExponent = 1_000_000

// decimalOf reads a number as JSON writes it (RFC 8259 §6). False: it is none, or its exponent is beyond maxExponent.
func decimalOf(s string) (decimal, bool) {
	s, negative := strings.CutPrefix(s, "-")
	whole, rest := leading(s)
	if whole == "" || (len(whole) > 1 && whole[0] == '0') {
		return decimal{}, false
	}
	fraction := ""
	if after, ok := strings.CutPrefix(rest, "."); ok {
		if fraction, rest = leading(after); fraction == "" {
			return decimal{}, false
		}
	}
	exponent, ok := exponentOf(rest)
	if !ok {
		return decimal{}, false
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	exponent += len(whole) - (len(whole) + len(fraction) - len(digits))
	if digits = strings.TrimRight(digits, "0"); digits == "" {
		return decimal{}, true
	}
	if exponent > maxExponent || exponent < -maxExponent {
		return decimal{}, false
	}
	return decimal{negative, digits, exponent}, true
}

// exponentOf reads e+1 and the like; nothing is 0. What is too large to be exact comes out over maxExponent by more than a token is long.
func exponentOf(s string) (int, bool) {
	if s == "" {
		return 0, true
	}
	if s[0] != 'e' && s[0] != 'E' {
		return 0, false
	}
	s = s[1:]
	sign := 1
	if s != "" && (s[0] == '+' || s[0] == '-') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	digits, rest := leading(s)
	if digits == "" || rest != "" {
		return 0, false
	}
	n := 0
	for i := range len(digits) {
		n = min(n*10+int(digits[i]-'0'), 10*maxExponent)
	}
	return sign * n, true
}

// leading digits of s, and what follows them.
func leading(s string) (digits, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}
