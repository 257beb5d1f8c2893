package route_test

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/route"
)

// proxy is one way to read a request.
type proxy struct {
	// literal compares paths and query values byte by byte, else by what they decode to; joins compares values of a header as one.
	literal, joins bool
}

// sent is a request as its client sent it.
type sent struct {
	path, query string
	headers     map[string][]string
}

func (p proxy) same(as string, text string) bool {
	if p.literal {
		return as == text
	}
	a, err1 := url.QueryUnescape(as)
	b, err2 := url.QueryUnescape(text)
	return err1 == nil && err2 == nil && a == b
}

func (p proxy) takes(m *policy.RouteMatch, q *sent) bool {
	if !p.same(q.path, m.Path) {
		return false
	}
	holds := func(name string, ok func(string) bool) bool {
		values := q.headers[name]
		if p.joins && len(values) > 0 {
			values = []string{strings.Join(values, ",")}
		}
		return slices.ContainsFunc(values, ok)
	}
	for _, h := range m.Headers {
		if !holds(h.Name, func(v string) bool { return v == h.Value }) {
			return false
		}
	}
	for _, h := range m.HeaderRegex {
		if !holds(h.Name, regexp.MustCompile("^(?:"+h.Value+")$").MatchString) {
			return false
		}
	}
	for _, f := range m.Query {
		value, ok := strings.CutPrefix(q.query, f.Name+"=")
		if is := p.same(value, url.QueryEscape(f.Value)) || p.literal && value == f.Value; !ok || !is {
			return false
		}
	}
	return true
}

// TestNoProxyTakesOtherAccess: whatever a proxy makes of the request, and whether it joins headers before it asks, the route that it takes
// has the access of the one that is found.
func TestNoProxyTakesOtherAccess(t *testing.T) {
	paths, values := []string{"/a@b", "/a%40b", "/c"}, []string{"a", "b", "a,b", "b,a", "c"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(from []string) string { return rapid.SampledFrom(from).Draw(t, "") }
		one := func() bool { return rapid.IntRange(0, 2).Draw(t, "") == 0 }
		var routes []policy.Route
		for i := range rapid.IntRange(1, 5).Draw(t, "routes") {
			r := with(exact(fmt.Sprint("r", i), draw(paths)), func(r *policy.Route) { r.Access = access(draw([]string{"x", "y"})) })
			if one() {
				r.Match.Headers = []policy.NameValue{{Name: "h", Value: draw(values)}}
			}
			if one() {
				r.Match.HeaderRegex = []policy.NameValue{{Name: draw([]string{"h", "g"}), Value: draw([]string{"a.*", ".*b", "a.*b", "[^,]*", ".*,.*"})}}
			}
			if one() {
				r.Match.Query = []policy.NameValue{{Name: "q", Value: draw([]string{"@", "a"})}}
			}
			routes = append(routes, r)
		}
		q := &sent{path: draw(paths), query: "q=" + draw([]string{"@", "%40", "a", "b"}), headers: map[string][]string{}}
		for _, name := range []string{"h", "g"} {
			for range rapid.IntRange(0, 3).Draw(t, "values") {
				q.headers[name] = append(q.headers[name], draw(values))
			}
		}
		joined := rapid.Bool().Draw(t, "joined")
		found, outcome := table(listener(80, section("a", "", vhost("*", routes...)))).Find(&route.Request{
			Method: "GET", Host: "h", Path: q.path, Query: q.query, Header: func(name string) ([]string, bool) {
				if v := q.headers[name]; joined && len(v) > 0 {
					return []string{strings.Join(v, ",")}, true
				}
				return q.headers[name], false
			},
		})
		if outcome != route.Found {
			return // refused
		}
		for _, p := range []proxy{{}, {literal: true}, {joins: true}, {literal: true, joins: true}} {
			i := slices.IndexFunc(routes, func(r policy.Route) bool { return p.takes(&r.Match, q) })
			if i >= 0 && !reflect.DeepEqual(routes[i].Access, found.Access) {
				t.Fatalf("%+v, joined %v: found is %s, and %+v takes %s %+v", q, joined, found.ID, p, routes[i].ID, routes[i].Match)
			}
		}
	})
}
