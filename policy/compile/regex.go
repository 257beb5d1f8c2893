package compile

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests/regex"
	"github.com/credence-mesh/credence/policy"
)

// checkRegex says why an expression can't be taken; nil: Envoy and Go read it alike.
func checkRegex(pattern string) error { return regex.Check(pattern) }

// pathRegex compiles the path match RegularExpression: the whole normalised path, still percent-encoded, without query.
func (c *compiler) pathRegex(out *policy.RouteMatch, at place) bool {
	if err := checkRegex(out.Path); err != nil {
		c.badRegex(out.Path, err, at)
		return false
	}
	out.PathKind = policy.PathRegex
	if what := regexSpelling(out.Path); what != "" {
		c.warnAt(at, "regex-spelling", fmt.Sprintf("%q: %s", out.Path, what), "a path match Exact or PathPrefix matches every spelling")
	}
	return true
}

// valueRegex adds the expression for a header or query parameter. Values may hold any byte, and the engines differ on what is not UTF-8, so
// what is kept matches ASCII alone. Of several with one name the first counts (Gateway API).
func (c *compiler) valueRegex(to *[]policy.NameValue, pair policy.NameValue, at place) bool {
	ascii, err := regex.ASCII(pair.Value)
	if err != nil {
		c.badRegex(pair.Value, err, at)
		return false
	}
	*to = addPair(*to, pair.Name, ascii)
	return true
}

func (c *compiler) badRegex(pattern string, err error, at place) {
	c.errorAt(at, "regex", fmt.Sprintf("%q can't be used: %v", pattern, err), "RE2, ASCII; the whole value must match")
}

var caseOfDigits = regexp.MustCompile(`%(?:[0-9][A-Fa-f]|[A-Fa-f])`)

// regexSpelling says what keeps an expression from matching every spelling of the paths that its author thinks of; empty: nothing known.
func regexSpelling(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	literals := literalsOf(re)
	for _, text := range literals {
		// As plainPath of controlplane/xds: Envoy's normalisation leaves none of these, and a path parameter is cut off before the match.
		if i := strings.IndexAny(text, "?#; \\\"<>^`{|}"); i >= 0 {
			return fmt.Sprintf("no path has the character %q once it is normalised", text[i])
		}
	}
	for _, text := range literals {
		if i := strings.IndexAny(text, "!$&'()*+,:=@"); i >= 0 {
			return fmt.Sprintf("clients may also send %q as %%%02X, and such a path does not match", text[i], text[i])
		}
	}
	for _, text := range literals {
		if caseOfDigits.MatchString(text) {
			return "clients may write the digits after % in either case: write for example %[cC]3"
		}
	}
	return ""
}

// literalsOf are the texts that re needs as they stand.
func literalsOf(re *syntax.Regexp) []string {
	var out []string
	if re.Op == syntax.OpLiteral {
		out = append(out, string(re.Rune))
	}
	for _, sub := range re.Sub {
		out = append(out, literalsOf(sub)...)
	}
	return out
}

// lintUnreachableRegex tells of expressions behind a prefix "/" that takes every request: prefixes come first. list is in the order of matching.
func (c *compiler) lintUnreachableRegex(list []*candidate) {
	all := slices.IndexFunc(list, func(x *candidate) bool {
		m := &x.out.Match
		return m.PathKind == policy.PathPrefix && m.Path == "/" && m.Method == "" &&
			len(m.Headers)+len(m.Query)+len(m.HeaderRegex)+len(m.QueryRegex) == 0
	})
	if all < 0 {
		return
	}
	for _, x := range list[all+1:] {
		if x.out.Match.PathKind == policy.PathRegex {
			c.warnAt(x.place(), "regex-unreachable", fmt.Sprintf("%s %s takes every path first: prefixes come before regular expressions",
				list[all].route.obj.Key, list[all].place().field), "give it a narrower prefix, or write this match as a prefix")
		}
	}
}
