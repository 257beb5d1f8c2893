package regex_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/manifests/regex"
)

func TestRefused(t *testing.T) {
	for _, pattern := range []string{
		"", "(", "a)(b", "[a", `a\`, "*a", "a**", "a{1001}", "(a{500}){500}", "((a{20}){20}){20}", // broken, or too many
		"/é", "/\xff", "a\nb", "\x00", // not printable ASCII
		`\pL`, `\PL`, `\p{Greek}`, `\p{Letter}`, `[\pN]`, `\C`, `\Qa\E`, `\1`, `\07`, `\Z`, `\G`, `\K`, `\u0041`, `\h`, // not of both
		`(?<name>a)`, `(?=a)`, `(?!a)`, `(?<=a)`, `(?>a)`, `a++`, `(?x)a`, // not of RE2, or of new ones
		`\x{e9}`, `\xe9`, `[\x{100}-\x{200}]`, // beyond ASCII
		strings.Repeat("a", 1025), `.{1000}.{1000}.{300}`, `[acegikmoqsuwy02468ACEGIKMOQSUWY!#%')+/;=?_]{1000}`, `(?i)k{1000}k{1000}k{1000}`,
	} {
		if err := regex.Check(pattern); err == nil {
			t.Errorf("%.40q is taken", pattern)
		}
		if _, err := regex.ASCII(pattern); err == nil {
			t.Errorf("%.40q is taken for headers", pattern)
		}
	}
}

func TestTaken(t *testing.T) {
	for _, pattern := range []string{
		`/`, `/api/v[0-9]+/.*`, `/(a|b)/(?:c|d)?`, `(?i)/Admin`, `/[^/]+/x`, `\.\*\/\-\_\%`, `\d\D\s\S\w\W\b\B\A\z`, `a{1000}`, `[[:alpha:]]`,
		`(?P<name>a)`, `(?s).`, `(?m)^a$`, `(?U)a+`, `\x41\x{42}`, strings.Repeat("@", 1024),
	} {
		if err := regex.Check(pattern); err != nil {
			t.Errorf("%.40q: %v", pattern, err)
		}
	}
}

// What asciiRegex makes matches the same ASCII texts, and no other.
func TestASCIISameOnASCII(t *testing.T) {
	patterns := []string{
		`.*`, `[^a]*`, `(?i)kiss`, `(?i:k)*`, `(?i)s+|x`, `\D+`, `\W`, `(?s).+b`, `a?(?i:Bk)$`, `^(?m:^a$)`, `\S{2,3}`, `(?i)[^k]`, `\b.\B.*`, `(?U)a.*?b`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.SampledFrom(patterns).Draw(rt, "pattern")
		narrow, err := regex.ASCII(pattern)
		if err != nil {
			rt.Fatal(err)
		}
		if err := regex.Check(narrow); err != nil {
			rt.Errorf("%q becomes %q: %v", pattern, narrow, err)
		}
		before, after := whole(pattern), whole(narrow)
		text := rapid.StringOf(rapid.RuneFrom([]rune("akKisSbxB \t\n~\x00"))).Draw(rt, "text")
		if before.MatchString(text) != after.MatchString(text) {
			rt.Errorf("%q and %q differ on %q", pattern, narrow, text)
		}
		for _, beyond := range []string{"é", "\u212a", "\u017f", "\xff", "\xc3", "\xed\xa0\x80"} {
			if other := text + beyond; after.MatchString(other) {
				rt.Errorf("%q matches %q", narrow, other)
			}
		}
	})
}

func whole(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }
