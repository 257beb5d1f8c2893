package regex

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
)

const (
	// maxLength is the longest expression, in bytes.
	maxLength = 1024
	// maxSize bounds RE2's program by what size counts; the bootstrap's limit is 1<<16, and the two have been compared on Envoy.
	maxSize = 1 << 15
	// beyond is what RE2 needs for the characters beyond ASCII of one class: it compiles to bytes of UTF-8.
	beyond = 14
)

var (
	errLength  = fmt.Errorf("it is empty, or longer than %d bytes", maxLength)
	errASCII   = errors.New("it has a character that is not printable ASCII: write %XX as it stands in a path")
	errUnicode = errors.New("it names a character beyond ASCII, which never matches")
	errSize    = errors.New("it is too large once its repetitions are written out: lower their counts")
	errCount   = errors.New("a count of repetitions is above 1000 or stands for more")
)

// escapes are the letters and digits that mean the same to both after a backslash. Punctuation always stands for itself. Left out: \p
// and \P (their names and tables differ by version), \Q and \E, \C (RE2 alone), octal numbers.
const escapes = "dDsSwWbBAztnrfvax"

// Check says why an expression can't be taken; nil: Envoy and Go read it alike.
func Check(pattern string) error {
	_, err := parse(pattern)
	return err
}

// ASCII is the expression that matches the ASCII texts that pattern matches and no other. In values of headers and queries Envoy
// passes any byte on, and the two engines differ on bytes that are not UTF-8.
func ASCII(pattern string) (string, error) {
	re, err := parse(pattern)
	if err != nil {
		return "", err
	}
	onlyASCII(re)
	return re.String(), nil
}

func parse(pattern string) (*syntax.Regexp, error) {
	if pattern == "" || len(pattern) > maxLength {
		return nil, errLength
	}
	if err := checkEscapes(pattern); err != nil {
		return nil, err
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var at *syntax.Error
		if errors.As(err, &at) && at.Code == syntax.ErrInvalidRepeatSize {
			return nil, fmt.Errorf("%w: %w", errCount, err)
		}
		return nil, err
	}
	if beyondASCII(re) {
		return nil, errUnicode
	}
	program, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	if size(program) > maxSize {
		return nil, errSize
	}
	// Simplify may share and change parts: the caller gets a tree of its own.
	return syntax.Parse(pattern, syntax.Perl)
}

// size is about what RE2 makes of Go's program: one instruction for each range of a class, and more for those beyond ASCII.
func size(program *syntax.Prog) int {
	total := 0
	for i := range program.Inst {
		total++
		switch in := &program.Inst[i]; in.Op { //nolint:exhaustive // the others match no character
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			total += beyond
		case syntax.InstRune, syntax.InstRune1:
			total += len(in.Rune) / 2
			if n := len(in.Rune); n > 1 && in.Rune[n-1] > maxASCII || in.Arg&uint32(syntax.FoldCase) != 0 {
				total += beyond
			}
		}
	}
	return total
}

func checkEscapes(pattern string) error {
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if c < ' ' || c > '~' {
			return errASCII
		}
		if strings.HasPrefix(pattern[i:], "(?<") {
			return errors.New("write a named group as (?P<name>…)")
		}
		if c != '\\' || i+1 == len(pattern) {
			continue // a backslash at the end is the parser's to refuse
		}
		i++
		c = pattern[i]
		if letterOrDigit(c) && strings.IndexByte(escapes, c) < 0 {
			return fmt.Errorf(`\%c does not mean the same to Envoy and Credence`, c)
		}
		if c < ' ' || c > '~' {
			return errASCII
		}
	}
	return nil
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// maxASCII is the last character that an expression may name.
const maxASCII = 0x7f

// beyondASCII: a literal of re, or a class without any ASCII character, could only match beyond ASCII.
func beyondASCII(re *syntax.Regexp) bool {
	switch re.Op { //nolint:exhaustive // the others hold no characters of their own
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r > maxASCII {
				return true
			}
		}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 && re.Rune[0] > maxASCII {
			return true
		}
	}
	for _, sub := range re.Sub {
		if beyondASCII(sub) {
			return true
		}
	}
	return false
}

// onlyASCII takes from every class of re what is beyond ASCII.
func onlyASCII(re *syntax.Regexp) {
	switch re.Op { //nolint:exhaustive // the others hold no class
	case syntax.OpAnyChar:
		re.Op, re.Rune = syntax.OpCharClass, []rune{0, maxASCII}
	case syntax.OpAnyCharNotNL:
		re.Op, re.Rune = syntax.OpCharClass, []rune{0, '\n' - 1, '\n' + 1, maxASCII}
	case syntax.OpCharClass:
		var kept []rune
		for i := 0; i+1 < len(re.Rune) && re.Rune[i] <= maxASCII; i += 2 {
			kept = append(kept, re.Rune[i], min(re.Rune[i+1], maxASCII))
		}
		re.Rune = kept
	case syntax.OpLiteral:
		onlyASCIILiteral(re)
	}
	for _, sub := range re.Sub {
		onlyASCII(sub)
	}
}

// onlyASCIILiteral writes a literal without regard to case out: "k" also folds to the Kelvin sign, and "s" to the long s.
func onlyASCIILiteral(re *syntax.Regexp) {
	if re.Flags&syntax.FoldCase == 0 {
		return
	}
	parts := make([]*syntax.Regexp, 0, len(re.Rune))
	for _, r := range re.Rune {
		part := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{r}}
		lower, upper := r|0x20, r&^0x20
		if upper >= 'A' && upper <= 'Z' {
			part = &syntax.Regexp{Op: syntax.OpCharClass, Rune: []rune{upper, upper, lower, lower}}
		}
		parts = append(parts, part)
	}
	*re = syntax.Regexp{Op: syntax.OpConcat, Sub: parts}
}
