package route

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// reading is how a request is compared with a route. The zero value is that of our own proxies: every percent-encoding of the same
// characters is the same, and one of several values of a header is enough.
type reading struct {
	// literal: byte by byte, as control planes do that hand the manifest's text to Envoy.
	literal bool
	// joined: several values of a header are one, joined with ",", as older Envoys do.
	joined bool
}

// matcher is a policy.RouteMatch ready for use.
type matcher struct {
	kind  policy.PathMatchKind
	path  string // as written
	chars []char // of path, decoded
	regex *regexp.Regexp
	// once: path can be spelled in one way alone, that in which it is written.
	once   bool
	method string
	// headers and query: all must hold.
	headers, query []field
	// err: it can't be compiled, and must not be asked.
	err error
}

// field is a name and what its value must be.
type field struct {
	name  string
	value string
	regex *regexp.Regexp
}

func newMatcher(m *policy.RouteMatch) matcher {
	out := matcher{kind: m.PathKind, path: m.Path, method: m.Method}
	var errs [3]error
	switch m.PathKind {
	case policy.PathExact, policy.PathPrefix:
		out.chars = decode(m.Path)
		out.once = once(m.Path, out.chars, pathSpelling)
	case policy.PathRegex:
		out.regex, errs[0] = whole(m.Path)
	default:
		errs[0] = fmt.Errorf("path match of kind %d", m.PathKind)
	}
	out.headers, errs[1] = fields(m.Headers, m.HeaderRegex)
	out.query, errs[2] = fields(m.Query, m.QueryRegex)
	out.err = errors.Join(errs[:]...)
	return out
}

func fields(exact, patterns []policy.NameValue) ([]field, error) {
	out := make([]field, 0, len(exact)+len(patterns))
	for _, f := range exact {
		out = append(out, field{name: f.Name, value: f.Value})
	}
	for _, f := range patterns {
		re, err := whole(f.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, field{name: f.Name, regex: re})
	}
	return out, nil
}

// whole is the expression that matches the whole of a text.
func whole(pattern string) (*regexp.Regexp, error) {
	// On its own first: "a)|(b" is an expression inside of a group and none outside.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	return re, nil
}

// once: the decoded text can be spelled in one way alone, and is written so.
func once(text string, chars []char, how func(char) spelling) bool {
	return len(text) == len(chars) && !slices.ContainsFunc(chars, func(c char) bool { return how(c) != asItself })
}

// plain: both readings of its path and query are the same.
func (m *matcher) plain() bool {
	return (m.regex != nil || m.once) && !slices.ContainsFunc(m.query, func(f field) bool {
		return f.regex == nil && !once(f.value, plain(f.value), querySpelling)
	})
}

func (m *matcher) matches(r *Request, how reading) bool {
	if m.method != "" && m.method != r.Method || !m.pathMatches(r.Path, how) {
		return false
	}
	for i := range m.headers {
		if !m.headers[i].header(r, how) {
			return false
		}
	}
	for i := range m.query {
		if !m.query[i].parameter(r.Query, how) {
			return false
		}
	}
	return true
}

// pathMatches by the words of Gateway API: the whole path, whole segments, or the whole path by an expression.
func (m *matcher) pathMatches(path string, how reading) bool {
	if m.kind == policy.PathRegex {
		return m.regex.MatchString(latin1(path))
	}
	if m.kind == policy.PathPrefix && m.path == "/" {
		return strings.HasPrefix(path, "/")
	}
	var rest string
	var ok bool
	if how.literal || m.once {
		rest, ok = strings.CutPrefix(path, m.path)
	} else {
		rest, ok = cutSpelled(path, m.chars, pathSpelling)
	}
	return ok && (rest == "" || m.kind == policy.PathPrefix && rest[0] == '/')
}

func (f *field) header(r *Request, how reading) bool {
	if r.Header == nil {
		return false
	}
	values := r.Header(f.name)
	if how.joined && len(values) > 1 {
		values = []string{strings.Join(values, ",")}
	}
	for _, v := range values {
		if f.regex != nil && f.regex.MatchString(latin1(v)) || f.regex == nil && v == f.value {
			return true
		}
	}
	return false
}

// parameter looks at the first parameter of the name, as Envoy does; names are compared as sent.
func (f *field) parameter(query string, how reading) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name != f.name {
			continue
		}
		switch {
		case f.regex != nil:
			return f.regex.MatchString(latin1(value))
		case how.literal:
			return value == f.value
		}
		rest, ok := cutSpelled(value, plain(f.value), querySpelling)
		return ok && rest == ""
	}
	return false
}

// latin1 makes one rune of every byte: Envoy's expressions read bytes.
func latin1(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			runes := make([]rune, len(s))
			for j := 0; j < len(s); j++ {
				runes[j] = rune(s[j])
			}
			return string(runes)
		}
	}
	return s
}
