package xds

import (
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

// gateway translates the gateway that is proxy; false: there is none.
func (t *translation) gateway(proxy policy.ProxyID) bool {
	i := slices.IndexFunc(t.set.Gateways, func(g policy.Gateway) bool { return policy.GatewayID(g.Name) == proxy })
	if i < 0 {
		return false
	}
	g := &t.set.Gateways[i]
	t.self, t.settings, t.claims = g.SPIFFEID, g.Settings, claimHeaders(gatewayAccess(g))
	for j := range g.Listeners {
		t.gatewayListener(g, &g.Listeners[j])
	}
	t.destinations()
	return true
}

func (t *translation) gatewayListener(g *policy.Gateway, l *policy.Listener) {
	addr, err := netip.ParseAddr(l.Address)
	if err != nil {
		t.fail("Gateway %s: listener address %q: %w", g.Name, l.Address, err)
		return
	}
	ap := netip.AddrPortFrom(addr, l.Port)
	name := ap.String()
	switch l.Protocol {
	case policy.HTTP:
		var hosts []*routev3.VirtualHost
		for i := range l.Sections {
			hosts = append(hosts, t.sectionHosts(l, &l.Sections[i])...)
		}
		t.addRoutes(name, hosts, true)
		t.addListener(listener(name, socketAddress(ap), corev3.TrafficDirection_UNSPECIFIED, t.chains(func(m manners) *listenerv3.FilterChain {
			return chain(name, t.manager(m, name, name))
		})...))
	case policy.HTTPS:
		var chains []*listenerv3.FilterChain
		for i := range l.Sections {
			chains = append(chains, t.secureSection(g, name, l, &l.Sections[i])...)
		}
		// Without any certificate no client can be served: the port stays closed.
		if len(chains) == 0 {
			return
		}
		out := listener(name, socketAddress(ap), corev3.TrafficDirection_UNSPECIFIED, chains...)
		t.inspectTLS(out)
		t.addListener(out)
	default:
		t.fail("Gateway %s: listener %s: protocol %d", g.Name, name, l.Protocol)
	}
}

// chains makes a filter chain, and the one for trusted proxies before it where there are some.
func (t *translation) chains(build func(manners) *listenerv3.FilterChain) []*listenerv3.FilterChain {
	m := manners{side: fromOutside, settings: t.settings}
	all := []*listenerv3.FilterChain{build(m)}
	if trusted := t.trusted(&t.settings); len(trusted) > 0 {
		m.front = true
		all = append([]*listenerv3.FilterChain{frontChain(build(m), trusted)}, all...)
	}
	return all
}

// secureSection are the filter chains of one HTTPS section, chosen by server name; none where none of its certificates exists.
func (t *translation) secureSection(g *policy.Gateway, name string, l *policy.Listener, s *policy.Section) []*listenerv3.FilterChain {
	var certificates []policy.Name
	for _, c := range s.Certificates {
		if t.certificates[c] && !slices.Contains(certificates, c) {
			certificates = append(certificates, c)
		}
	}
	if len(certificates) == 0 {
		return nil
	}
	routes := name + "/" + s.Name
	t.addRoutes(routes, t.sectionHosts(l, s), true)
	return t.chains(func(m manners) *listenerv3.FilterChain {
		c := secureChain(s.Name, t.manager(m, routes, routes), t.gatewayTLS(g, certificates))
		if s.Hostname != "" {
			c.FilterChainMatch = &listenerv3.FilterChainMatch{ServerNames: []string{s.Hostname}}
		}
		return c
	})
}

// sectionHosts are the virtual hosts of one section. A host belongs to the section of the listener with the most specific hostname that
// covers it (Gateway API: listeners are isolated). An HTTP listener answers such a host by that section alone, 404 where it has no
// routes; with HTTPS a client that reuses a connection for a host of another section hears 421 and opens one of its own (RFC 9110
// §15.5.20), so that one section's certificate and routes never serve another's host.
func (t *translation) sectionHosts(l *policy.Listener, s *policy.Section) []*routev3.VirtualHost {
	var hosts []*routev3.VirtualHost
	own := map[string]bool{}
	for i := range s.VirtualHosts {
		vh := &s.VirtualHosts[i]
		if owner(l, vh.Host) == s {
			own[vh.Host] = true
			hosts = append(hosts, t.virtualHost(l, vh))
		}
	}
	if l.Protocol == policy.HTTP {
		if s.Hostname != "" && !own[s.Hostname] {
			hosts = append(hosts, &routev3.VirtualHost{Name: s.Hostname, Domains: []string{s.Hostname}})
		}
		return hosts
	}
	for i := range l.Sections {
		if o := &l.Sections[i]; o != s && o.Hostname != s.Hostname && covers(s.Hostname, o.Hostname) {
			hosts = append(hosts, t.misdirected(o.Hostname))
		}
	}
	return hosts
}

// misdirected answers 421 without asking Check: nothing is behind it.
func (t *translation) misdirected(host string) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: host, Domains: []string{host}, Routes: []*routev3.Route{{
		Name:                 "misdirected",
		Match:                anyPath(),
		Action:               answer(421),
		TypedPerFilterConfig: t.unjudged(),
	}}}
}

// owner is the section with the most specific hostname that covers host.
func owner(l *policy.Listener, host string) *policy.Section {
	var best *policy.Section
	for i := range l.Sections {
		s := &l.Sections[i]
		if covers(s.Hostname, host) && (best == nil || covers(best.Hostname, s.Hostname) && best.Hostname != s.Hostname) {
			best = s
		}
	}
	return best
}

// covers: every host that inner stands for is one that outer stands for. Empty is any host; so is "*".
func covers(outer, inner string) bool {
	switch {
	case outer == "" || outer == "*":
		return true
	case inner == "" || inner == "*":
		return false
	case outer == inner:
		return true
	}
	suffix, wild := strings.CutPrefix(outer, "*")
	return wild && strings.HasSuffix(strings.TrimPrefix(inner, "*"), suffix)
}
