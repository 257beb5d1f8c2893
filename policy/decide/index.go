package decide

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// Index finds the rules of a route. It is immutable; all methods may be called at the same time.
type Index struct {
	routes   map[policy.RouteID]*Route
	order    []*Route
	policies map[policy.Name]*policy.Policy
	// common are the policies that are in force on every route of a proxy.
	common map[policy.ProxyID][]policy.Name
	// realms of the Credentials.
	realms map[policy.Name]string
	// conditions of all rules.
	conditions conditions
}

// level is one policy.Level with its rules divided by what they do.
type level struct {
	kind        policy.LevelKind
	names       []policy.Name
	rules       []compiled
	allow, deny *bucket
	audit       *bucket
	// missing is the first policy with an issuer or Credentials that lead nowhere.
	missing *policy.Policy
	// readsHeaders: see Route.ReadsHeaders.
	readsHeaders bool
	// unknown is a policy that the Set does not hold: the level can allow nothing.
	unknown *policy.Name
}

// Route is one route id and who may use it. It is immutable.
type Route struct {
	id      policy.RouteID
	proxy   policy.ProxyID
	origin  string
	access  *policy.Access
	paths   policy.PathRules
	denied  string
	levels  []*level
	accepts Accepts
	// today are levels of which the deny rules alone count (Index.Retire).
	today   []*level
	audited bool
}

// NewIndex builds the index of the whole Set. The Set is kept, not copied.
func NewIndex(set *policy.Set) *Index {
	// All routes with the same policies at the same kind of level share one level.
	cache := map[string]*level{}
	ix := &Index{
		routes:   map[policy.RouteID]*Route{},
		policies: make(map[policy.Name]*policy.Policy, len(set.Policies)),
		common:   map[policy.ProxyID][]policy.Name{},
		realms:   make(map[policy.Name]string, len(set.Credentials)),

		conditions: conditionsOf(set),
	}
	for i := range set.Credentials {
		ix.realms[set.Credentials[i].Name] = set.Credentials[i].Realm
	}
	for i := range set.Policies {
		ix.policies[set.Policies[i].Name] = &set.Policies[i]
	}
	behind := pathsBehind(set)
	for i := range set.Gateways {
		ix.addGateway(cache, &set.Gateways[i], behind)
	}
	for i := range set.Workloads {
		w := &set.Workloads[i]
		for j := range w.Ports {
			p := &w.Ports[j]
			if p.OwnMTLS {
				continue // no proxy serves it, so none may ask about it
			}
			ix.add(cache, &Route{id: p.Route, proxy: policy.SidecarID(w.Name), origin: "Workload " + w.Name.String() + " " + p.Name, access: &p.Access, paths: p.Paths})
		}
	}
	return ix
}

func (ix *Index) addGateway(cache map[string]*level, g *policy.Gateway, behind map[backend]policy.PathRules) {
	proxy := policy.GatewayID(g.Name)
	for i := range g.Listeners {
		for j := range g.Listeners[i].Sections {
			hosts := g.Listeners[i].Sections[j].VirtualHosts
			for k := range hosts {
				for l := range hosts[k].Routes {
					r := &hosts[k].Routes[l]
					origin := strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Origin.Kind, r.Origin.Name, r.Origin.Rule))
					ix.add(cache, &Route{id: r.ID, proxy: proxy, origin: origin, access: &r.Access, paths: routePaths(g, r, behind)})
				}
			}
		}
	}
}

func (ix *Index) add(cache map[string]*level, r *Route) {
	if other := ix.routes[r.id]; other != nil {
		// One id with two meanings: nobody can tell which one a request is for.
		if other.proxy != r.proxy || other.paths != r.paths || !reflect.DeepEqual(other.access, r.access) {
			other.denied = "the route id is not unique"
		}
		return
	}
	r.denied = r.access.Denied
	for _, l := range r.access.Levels {
		lv := ix.level(cache, l)
		r.levels = append(r.levels, lv)
		for _, n := range lv.names {
			if p := ix.policies[n]; p != nil {
				r.accepts.add(p)
			}
		}
		r.audited = r.audited || lv.audit != nil
	}
	r.accepts.sort(ix.realms)
	ix.routes[r.id] = r
	ix.order = append(ix.order, r)
	ix.addCommon(r)
}

func (ix *Index) addCommon(r *Route) {
	var names []policy.Name
	for _, l := range r.levels {
		names = append(names, l.names...)
	}
	common, seen := ix.common[r.proxy]
	if seen {
		names = slices.DeleteFunc(slices.Clone(common), func(n policy.Name) bool { return !slices.Contains(names, n) })
	}
	ix.common[r.proxy] = names
}

// level builds a level once per cache.
func (ix *Index) level(cache map[string]*level, l policy.Level) *level {
	var k strings.Builder
	fmt.Fprintf(&k, "%d", l.Kind)
	for _, n := range l.Policies {
		fmt.Fprintf(&k, " %s", n)
	}
	if lv := cache[k.String()]; lv != nil {
		return lv
	}
	lv := ix.newLevel(l)
	cache[k.String()] = lv
	return lv
}

func (ix *Index) newLevel(l policy.Level) *level {
	lv := &level{kind: l.Kind, names: l.Policies}
	var allows, denies, audits []int32
	for i := range l.Policies {
		p := ix.policies[l.Policies[i]]
		if p == nil {
			lv.unknown = &l.Policies[i]
			continue
		}
		if len(p.MissingIssuers)+len(p.MissingCredentials) > 0 && lv.missing == nil {
			lv.missing = p
		}
		for j := range p.Rules {
			c := compileRule(p, &p.Rules[j], ix.conditions)
			if !c.possible() {
				continue
			}
			id := int32(len(lv.rules)) //nolint:gosec // a Set of two billion rules does not fit into memory
			lv.rules = append(lv.rules, c)
			lv.readsHeaders = lv.readsHeaders || readsHeaders(c.rule)
			switch {
			case c.rule.Audit:
				audits = append(audits, id)
			case c.rule.Action == policy.Allow:
				allows = append(allows, id)
			default:
				denies = append(denies, id)
			}
		}
	}
	lv.allow, lv.deny, lv.audit = divide(lv.rules, allows, byPath), divide(lv.rules, denies, byPath), divide(lv.rules, audits, byPath)
	return lv
}

func sortNames(names []policy.Name) []policy.Name {
	slices.SortFunc(names, func(a, b policy.Name) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Compact(names)
}

// Route finds one route by its id, in constant time.
func (ix *Index) Route(id policy.RouteID) (*Route, bool) {
	r, ok := ix.routes[id]
	return r, ok
}

// Routes are all routes, in the order of the Set.
func (ix *Index) Routes() iter.Seq[*Route] { return slices.Values(ix.order) }

// Retire gives routes of an older Set a last time to live: each is decided by the rules that it had, and besides by the deny rules that
// ix, the newest Set, has in the policies of its levels and in those that are in force on every route of its proxy. A retired route never
// allows what the route itself does not allow. The routes that are given stay as they are.
func (ix *Index) Retire(routes []*Route) []*Route {
	cache := map[string]*level{}
	out := make([]*Route, len(routes))
	for i, r := range routes {
		retired := *r
		retired.today = nil
		for _, l := range r.levels {
			known := slices.DeleteFunc(slices.Clone(l.names), func(n policy.Name) bool { return ix.policies[n] == nil })
			retired.today = append(retired.today, ix.level(cache, policy.Level{Kind: l.kind, Policies: known}))
		}
		if common := ix.common[r.proxy]; len(common) > 0 {
			retired.today = append(retired.today, ix.level(cache, policy.Level{Kind: policy.MeshLevel, Policies: common}))
		}
		out[i] = &retired
	}
	return out
}

// ID of the route.
func (r *Route) ID() policy.RouteID { return r.id }

// Proxy that serves the route: no other may ask about it.
func (r *Route) Proxy() policy.ProxyID { return r.proxy }

// Origin tells people where the route came from: kind, name, rule.
func (r *Route) Origin() string { return r.origin }

// Paths is how the paths of its requests are read.
func (r *Route) Paths() policy.PathRules { return r.paths }

// Issuers whose tokens some level accepts, sorted. The slice is shared: read only.
func (r *Route) Issuers() []policy.Name { return r.accepts.Issuers }

// ReadsToken tells whether any level accepts a token.
func (r *Route) ReadsToken() bool { return len(r.accepts.Issuers) > 0 }
