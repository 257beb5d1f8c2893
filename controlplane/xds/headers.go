package xds

import (
	"iter"
	"slices"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

// request and response put a route's header modifiers into it. They run after ext_authz: one that touched our identity headers would
// forge them, and Envoy refuses a whole route configuration for one that touches Host or a pseudo header.
func (t *translation) request(r *policy.Route, out *routev3.Route) {
	t.mayChange(r, r.Request)
	out.RequestHeadersToAdd, out.RequestHeadersToRemove = added(r.Request), r.Request.Remove
}

func (t *translation) response(r *policy.Route, out *routev3.Route) {
	t.mayChange(r, r.Response)
	out.ResponseHeadersToAdd, out.ResponseHeadersToRemove = added(r.Response), r.Response.Remove
}

func (t *translation) mayChange(r *policy.Route, c policy.HeaderChange) {
	check := func(name string) {
		if policy.ReservedHeader(name) {
			t.fail("%s: a route may not change the header %q", origin(r), name)
		}
	}
	for _, h := range c.Set {
		check(h.Name)
	}
	for _, h := range c.Add {
		check(h.Name)
	}
	for _, name := range c.Remove {
		check(name)
	}
}

func added(c policy.HeaderChange) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	add := func(h policy.NameValue, action corev3.HeaderValueOption_HeaderAppendAction) {
		out = append(out, &corev3.HeaderValueOption{
			Header:         &corev3.HeaderValue{Key: h.Name, Value: literal(h.Value)},
			AppendAction:   action,
			KeepEmptyValue: true,
		})
	}
	for _, h := range c.Set {
		add(h, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	for _, h := range c.Add {
		add(h, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	}
	return out
}

// literal keeps Envoy from reading text as a format string.
func literal(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// claimHeaders are the headers that carry claims, by name.
func claimHeaders(all iter.Seq[*policy.Access]) []string {
	var out []string
	for a := range all {
		if a.Upstream == nil {
			continue
		}
		for i := range a.Upstream.Headers {
			out = append(out, a.Upstream.Headers[i].Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// claimLookalikes removes what some server reads as a header that carries a claim: those themselves are Check's to overwrite or remove.
func (t *translation) claimLookalikes(s side) []*mutationv3.HeaderMutation {
	names := slices.DeleteFunc(slices.Clone(t.claims), func(n string) bool { return !strings.Contains(n, "-") })
	if len(names) == 0 || s == fromApplication {
		return nil
	}
	return []*mutationv3.HeaderMutation{lookalikes(names)}
}

func gatewayAccess(g *policy.Gateway) iter.Seq[*policy.Access] {
	return func(yield func(*policy.Access) bool) {
		for i := range g.Listeners {
			for j := range g.Listeners[i].Sections {
				for k := range g.Listeners[i].Sections[j].VirtualHosts {
					routes := g.Listeners[i].Sections[j].VirtualHosts[k].Routes
					for l := range routes {
						if !yield(&routes[l].Access) {
							return
						}
					}
				}
			}
		}
	}
}

func portAccess(w *policy.Workload) iter.Seq[*policy.Access] {
	return func(yield func(*policy.Access) bool) {
		for i := range w.Ports {
			if !yield(&w.Ports[i].Access) {
				return
			}
		}
	}
}
