package route

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// verdict of a match. Whoever reads a request as our own proxies do takes the first route whose verdict is not no; the readings of other
// control planes and of older Envoys may go past those that are perhaps.
type verdict int

// Verdicts, the weaker one first.
const (
	// no reading matches.
	no verdict = iota
	// foreign: a reading matches, and that of our own proxies does not.
	foreign
	// perhaps: ours matches, and another does not.
	perhaps
	// yes: every reading matches.
	yes
)

// readings makes a verdict of ours and of the other reading.
func readings(ours, other bool) verdict {
	switch {
	case ours && other:
		return yes
	case ours:
		return perhaps
	case other:
		return foreign
	}
	return no
}

// and holds where both do. Readings of two things are independent: one of each may be anybody's, so ours holds where both hold for us.
func (v verdict) and(o verdict) verdict { return min(v, o) }

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

func (m *matcher) matches(r *Request) verdict {
	if m.method != "" && m.method != r.Method {
		return no
	}
	v := m.pathMatches(r.Path)
	for i := 0; v != no && i < len(m.headers); i++ {
		v = v.and(m.headers[i].header(r))
	}
	for i := 0; v != no && i < len(m.query); i++ {
		v = v.and(m.query[i].parameter(r.Query))
	}
	return v
}

// pathMatches by the words of Gateway API: the whole path, whole segments, or the whole path by an expression. To us every
// percent-encoding of the same characters is the same; control planes that hand the manifest's text to Envoy compare it byte by byte.
func (m *matcher) pathMatches(path string) verdict {
	if m.kind == policy.PathRegex {
		ok := m.regex.MatchString(latin1(path))
		return readings(ok, ok)
	}
	if m.kind == policy.PathPrefix && m.path == "/" {
		ok := strings.HasPrefix(path, "/")
		return readings(ok, ok)
	}
	ends := func(rest string, ok bool) bool {
		return ok && (rest == "" || m.kind == policy.PathPrefix && rest[0] == '/')
	}
	literal := ends(strings.CutPrefix(path, m.path))
	if m.once {
		return readings(literal, literal)
	}
	return readings(ends(cutSpelled(path, m.chars, pathSpelling)), literal)
}

// one tells whether it holds for one value.
func (f *field) one(value string) bool {
	if f.regex != nil {
		return f.regex.MatchString(latin1(value))
	}
	return value == f.value
}

// header: to us one of several values is enough; older Envoys compare all of them, joined with ",".
func (f *field) header(r *Request) verdict {
	if r.Header == nil {
		return no
	}
	values, joined := r.Header(f.name)
	switch {
	case len(values) == 0:
		return no
	case joined:
		return f.parts(strings.Join(values, ","))
	case len(values) == 1:
		ok := f.one(values[0])
		return readings(ok, ok)
	}
	return readings(slices.ContainsFunc(values, f.one), f.one(strings.Join(values, ",")))
}

// Limits of what parts tries: an expression reads every run of them.
const (
	maxParts  = 16
	maxJoined = 4096
)

// parts judges a text that may be one value or several that somebody has joined. Every run of its parts could be one of them: it holds
// for all readings only where no way to part the text has none for which it holds.
func (f *field) parts(text string) verdict {
	if f.regex == nil {
		if text == f.value && !strings.Contains(text, ",") {
			return yes
		}
		return readings(strings.Contains(","+text+",", ","+f.value+","), false)
	}
	parts := strings.Count(text, ",") + 1
	if parts > maxParts || len(text) > maxJoined {
		return perhaps
	}
	// missed[i]: the text up to its i-th part can be parted so that it holds for none.
	missed, found := make([]bool, parts+1), false
	missed[0] = true
	for i, from := 0, 0; i < parts; i++ {
		for j, to := i, from; j < parts; j++ {
			if n := strings.IndexByte(text[to:], ','); n >= 0 {
				to += n
			} else {
				to = len(text)
			}
			switch {
			case f.one(text[from:to]):
				found = true
			case missed[i]:
				missed[j+1] = true
			}
			to++
		}
		if n := strings.IndexByte(text[from:], ','); n >= 0 {
			from += n + 1
		}
	}
	return readings(found, !missed[parts])
}

// parameter looks at the first parameter of the name, as Envoy does; names are compared as sent.
func (f *field) parameter(query string) verdict {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name != f.name {
			continue
		}
		if f.regex != nil {
			ok := f.one(value)
			return readings(ok, ok)
		}
		rest, ok := cutSpelled(value, plain(f.value), querySpelling)
		return readings(ok && rest == "", f.one(value))
	}
	return no
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
