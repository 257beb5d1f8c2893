package route

import (
	"reflect"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// Request is what of a request chooses its route.
type Request struct {
	Method string
	// Host is lower case, without port and without a dot at the end.
	Host string
	// Path is as the proxy sends it on: normalised, percent-encoded, without query. Query is what follows the first '?', untouched.
	Path, Query string
	// Header gives the values of a header by its lower-case name, one for each time that it is there, or that it could be there: of
	// values that somebody has joined with "," their parts. Nil: there are none.
	Header func(name string) []string
	// Section is the name of the listener that the request came in by; empty: it is not known.
	Section string
}

// Outcome of Find. The zero value is not valid.
type Outcome int

// Outcomes.
const (
	_ Outcome = iota
	// Found: one route, or several that give the same access.
	Found
	// NoHost: no listener serves the host.
	NoHost
	// NoRoute: the host is served, and none of its routes matches.
	NoRoute
	// NoSection: there is no listener of that name.
	NoSection
	// Ambiguous: two readings, or two listeners that serve the host, give different access.
	Ambiguous
)

// Table holds the routes of one gateway. It is immutable; all methods may be called at the same time. A nil Table holds none.
type Table struct {
	listeners []listener
	sections  map[string]bool
}

// listener is one socket: its sections share it and are told apart by host alone.
type listener struct {
	exact map[string]*host
	// wild are "*.example.com" by their length, longest first; any is "*".
	wild []*host
	any  *host
}

// host is a virtual host; one without routes answers 404.
type host struct {
	suffix  string
	section string
	routes  []candidate
	// plain: every route is written the one way in which it can be spelled.
	plain bool
}

type candidate struct {
	*policy.Route
	matcher
}

// New makes the Table of g, which is kept, not copied. A match that can't be compiled (compile makes no such Set) leaves
// what comes after it in its virtual host Ambiguous: nobody can tell which requests are its.
func New(g *policy.Gateway) *Table {
	t := &Table{sections: map[string]bool{}}
	for i := range g.Listeners {
		t.listeners = append(t.listeners, newListener(&g.Listeners[i]))
		for j := range g.Listeners[i].Sections {
			t.sections[g.Listeners[i].Sections[j].Name] = true
		}
	}
	return t
}

// newListener gathers the virtual hosts of all sections. A section without routes for its own hostname still answers for it (404): the
// host must not fall to a section with a wider one.
func newListener(l *policy.Listener) listener {
	out := listener{exact: map[string]*host{}}
	for i := range l.Sections {
		s := &l.Sections[i]
		for j := range s.VirtualHosts {
			vh := &s.VirtualHosts[j]
			h := &host{section: s.Name, routes: make([]candidate, len(vh.Routes)), plain: true}
			for k := range vh.Routes {
				h.routes[k] = candidate{&vh.Routes[k], newMatcher(&vh.Routes[k].Match)}
				h.plain = h.plain && h.routes[k].plain()
			}
			out.add(vh.Host, h)
		}
	}
	for i := range l.Sections {
		if s := &l.Sections[i]; s.Hostname != "" {
			out.add(s.Hostname, &host{section: s.Name})
		}
	}
	slices.SortStableFunc(out.wild, func(a, b *host) int { return len(b.suffix) - len(a.suffix) })
	return out
}

// add keeps the first of two with one name: compile makes hosts of a listener disjoint.
func (l *listener) add(name string, h *host) {
	suffix, wild := strings.CutPrefix(name, "*")
	switch {
	case name == "*":
		if l.any == nil {
			l.any = h
		}
	case wild:
		h.suffix = suffix
		if !slices.ContainsFunc(l.wild, func(o *host) bool { return o.suffix == suffix }) {
			l.wild = append(l.wild, h)
		}
	default:
		if l.exact[name] == nil {
			l.exact[name] = h
		}
	}
}

// host finds the virtual host as Envoy does: exact, the longest suffix with something before it, any. Nil: none.
func (l *listener) host(name string) *host {
	if h := l.exact[name]; h != nil {
		return h
	}
	for _, h := range l.wild {
		if len(name) > len(h.suffix) && strings.HasSuffix(name, h.suffix) {
			return h
		}
	}
	return l.any
}

// Find finds the route of r. The route is nil unless the Outcome is Found; with several listeners of the same access it is the first
// one's, in the order of the Set.
func (t *Table) Find(r *Request) (*policy.Route, Outcome) {
	if t == nil {
		return nil, NoHost
	}
	if r.Section != "" && !t.sections[r.Section] {
		return nil, NoSection
	}
	outcome := NoHost
	var found *policy.Route
	for i := range t.listeners {
		h := t.listeners[i].host(r.Host)
		if h == nil || r.Section != "" && h.section != r.Section {
			continue
		}
		route, clear := h.find(r)
		switch {
		case !clear:
			return nil, Ambiguous
		case outcome == NoHost:
			found, outcome = route, Found
		case (found == nil) != (route == nil), route != nil && !sameAccess(found, route):
			return nil, Ambiguous
		}
	}
	if outcome == Found && found == nil {
		outcome = NoRoute
	}
	return found, outcome
}

// find is the first route that matches, or nil, as our own proxies read. The other readings are those of other control planes and of
// older Envoys: clear is false where one of them leads to a route with other access. One that leads to none forwards nothing.
func (h *host) find(r *Request) (found *policy.Route, clear bool) {
	several, asked := false, *r
	if r.Header != nil {
		asked.Header = func(name string) []string {
			values := r.Header(name)
			several = several || len(values) > 1
			return values
		}
	}
	found, broken := h.first(&asked, reading{})
	if broken || found == nil {
		return nil, !broken
	}
	differs := func(how reading) bool {
		other, _ := h.first(r, how)
		return other != nil && !sameAccess(found, other)
	}
	if !h.plain && differs(reading{literal: true}) || several && differs(reading{joined: true}) {
		return nil, false
	}
	return found, true
}

// first route that matches; broken: a route before it can't be matched at all.
func (h *host) first(r *Request, how reading) (found *policy.Route, broken bool) {
	for i := range h.routes {
		c := &h.routes[i]
		if c.err != nil {
			return nil, true
		}
		if c.matches(r, how) {
			return c.Route, false
		}
	}
	return nil, false
}

func sameAccess(a, b *policy.Route) bool {
	return a == b || reflect.DeepEqual(a.Access, b.Access)
}
