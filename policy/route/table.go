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
	// Header gives the values of a header by its lower-case name, one for each time that it is there. Joined: somebody has joined values
	// with ",", and nobody can tell any more which commas part two. Nil: there are none.
	Header func(name string) (values []string, joined bool)
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
	// apart are the sections of an HTTPS listener, each as if it were alone: a client may ask for a host of one of them on a connection that
	// its SNI has led to another, and not every control plane keeps that apart.
	apart []listener
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
		sections := g.Listeners[i].Sections
		l := newListener(sections)
		for j := range sections {
			t.sections[sections[j].Name] = true
			if g.Listeners[i].Protocol != policy.HTTP {
				l.apart = append(l.apart, newListener(sections[j:j+1]))
			}
		}
		t.listeners = append(t.listeners, l)
	}
	return t
}

// newListener gathers the virtual hosts of all sections. A section without routes for its own hostname still answers for it (404): the
// host must not fall to a section with a wider one.
func newListener(sections []policy.Section) listener {
	out := listener{exact: map[string]*host{}}
	for i := range sections {
		s := &sections[i]
		for j := range s.VirtualHosts {
			vh := &s.VirtualHosts[j]
			h := &host{section: s.Name, routes: make([]candidate, len(vh.Routes))}
			for k := range vh.Routes {
				h.routes[k] = candidate{&vh.Routes[k], newMatcher(&vh.Routes[k].Match)}
			}
			out.add(vh.Host, h)
		}
	}
	for i := range sections {
		if s := &sections[i]; s.Hostname != "" {
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
		case !clear, r.Section == "" && t.listeners[i].crossed(h, route, r):
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

// crossed: on a connection to another section of the listener than that of h, the request could take a route with other access than found.
func (l *listener) crossed(h *host, found *policy.Route, r *Request) bool {
	if found == nil {
		return false // and is refused
	}
	for i := range l.apart {
		o := l.apart[i].host(r.Host)
		if o == nil || o.section == h.section {
			continue
		}
		if route, clear := o.find(r); !clear || route != nil && !sameAccess(found, route) {
			return true
		}
	}
	return false
}

// find is the first route that matches, or nil, as our own proxies read. clear is false where another reading leads to a route with
// other access. One that leads to none forwards nothing.
func (h *host) find(r *Request) (found *policy.Route, clear bool) {
	var others []*policy.Route
	for i := range h.routes {
		c := &h.routes[i]
		if c.err != nil {
			return nil, false
		}
		v := c.matches(r)
		if v == no {
			continue
		}
		if found == nil && v != foreign {
			found = c.Route
		} else {
			others = append(others, c.Route)
		}
		if v == yes {
			break
		}
	}
	if found == nil {
		return nil, true
	}
	return found, !slices.ContainsFunc(others, func(o *policy.Route) bool { return !sameAccess(found, o) })
}

func sameAccess(a, b *policy.Route) bool {
	return a == b || reflect.DeepEqual(a.Access, b.Access)
}
