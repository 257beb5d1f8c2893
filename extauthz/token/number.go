package token

// maxSeconds is the last second of the year 9999.
const maxSeconds = 253402300799

// millis reads a JSON number as a NumericDate (RFC 7519 §2): exact, without floating point, fractions of a millisecond cut off. False:
// below 0 or over maxSeconds, or so long or of such an exponent that nobody meant a time.
func millis(s string) (int64, bool) {
	const longest = 40
	if len(s) > longest || s == "" || s[0] == '-' {
		return 0, false
	}
	digits, point, exponent := make([]byte, 0, longest), -1, 0
	i := 0
	for ; i < len(s) && s[i] != 'e' && s[i] != 'E'; i++ {
		if s[i] == '.' {
			point = len(digits)
			continue
		}
		digits = append(digits, s[i]-'0')
	}
	if point < 0 {
		point = len(digits)
	}
	if i < len(s) {
		var ok bool
		if exponent, ok = smallInt(s[i+1:]); !ok {
			return 0, false
		}
	}
	// The value in milliseconds is digits with the point three places to the right.
	point += exponent + 3
	ms := int64(0)
	for d := range point {
		ms *= 10
		if d < len(digits) {
			ms += int64(digits[d])
		}
		if ms > maxSeconds*1000 {
			return 0, false
		}
	}
	return ms, true
}

// smallInt reads an exponent of at most two digits.
func smallInt(s string) (int, bool) {
	sign := 1
	switch {
	case s == "":
		return 0, false
	case s[0] == '-':
		sign, s = -1, s[1:]
	case s[0] == '+':
		s = s[1:]
	}
	if len(s) == 0 || len(s) > 2 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return sign * n, true
}
