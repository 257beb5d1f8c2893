package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

// OutboundName is the listener and the route configuration of a sidecar's explicit proxy.
const OutboundName = "outbound"

// OutboundSocket and ApplicationSocket are file names in Paths.WorkloadDir.
const OutboundSocket = "outbound.sock"

// ApplicationSocket is the socket on which the application behind a port listens with policy.BoundaryUser.
func ApplicationSocket(port string) string { return port + ".sock" }

// sidecar translates the sidecar that is proxy; false: there is none.
func (t *translation) sidecar(proxy policy.ProxyID) bool {
	i := slices.IndexFunc(t.set.Workloads, func(w policy.Workload) bool { return policy.SidecarID(w.Name) == proxy })
	if i < 0 {
		return false
	}
	w := &t.set.Workloads[i]
	t.self, t.claims = w.SPIFFEID, claimHeaders(portAccess(w))
	for j := range w.Ports {
		if !w.Ports[j].OwnMTLS {
			t.inbound(w, &w.Ports[j])
		}
	}
	t.outbound(w)
	t.destinations()
	return true
}

// inbound is the mTLS listener of one port. Peers are proxies of the mesh; every request of theirs is judged as the route of the port.
func (t *translation) inbound(w *policy.Workload, p *policy.Port) {
	ap, err := netip.ParseAddrPort(p.Inbound)
	if err != nil {
		t.fail("Workload %s, port %q: inbound address %q: %w", w.Name, p.Name, p.Inbound, err)
		return
	}
	application, err := t.application(w, p)
	if err != nil {
		t.fail("Workload %s, port %q: %w", w.Name, p.Name, err)
		return
	}
	name, cluster := "inbound/"+p.Name, "application/"+p.Name
	t.clusters = append(t.clusters, t.resource(cluster, t.applicationCluster(cluster, application, p)))
	route := &routev3.Route{
		Name:                 string(p.Route),
		Match:                anyPath(),
		Action:               &routev3.Route_Route{Route: forwardTo([]share{{cluster: cluster}})},
		TypedPerFilterConfig: t.judged(p.Route),
	}
	routes := []*routev3.Route{route}
	if p.HTTP2 {
		t.grpc(route, lifetimesOf(t.set.Mesh.SVIDTTL).stream)
	} else {
		routes = []*routev3.Route{websocket(route), route}
	}
	t.addRoutes(name, []*routev3.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: routes}}, true)
	t.addListener(listener(name, socketAddress(ap), corev3.TrafficDirection_INBOUND,
		secureChain(p.Name, t.manager(t.behind(w, p), name, name), t.inboundTLS())))
}

var errNoSocketDir = errors.New("the directory of its sockets is not known")

// application is where the application behind a port listens.
func (t *translation) application(w *policy.Workload, p *policy.Port) (*corev3.Address, error) {
	switch w.Boundary {
	case policy.BoundaryNone:
		return socketAddress(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.Port)), nil
	case policy.BoundaryUser:
		if t.paths.WorkloadDir == "" {
			return nil, errNoSocketDir
		}
		return pipeAddress(filepath.Join(t.paths.WorkloadDir, ApplicationSocket(p.Name)), 0), nil
	}
	return nil, fmt.Errorf("boundary %d", w.Boundary)
}

// outbound is the explicit HTTP proxy through which the application calls others by their names.
func (t *translation) outbound(w *policy.Workload) {
	var address *corev3.Address
	switch w.Boundary {
	case policy.BoundaryNone:
		ap, err := netip.ParseAddrPort(w.Outbound)
		if err != nil {
			t.fail("Workload %s: outbound address %q: %w", w.Name, w.Outbound, err)
			return
		}
		address = socketAddress(ap)
	case policy.BoundaryUser:
		if t.paths.WorkloadDir == "" {
			t.fail("Workload %s: %w", w.Name, errNoSocketDir)
			return
		}
		address = pipeAddress(filepath.Join(t.paths.WorkloadDir, OutboundSocket), socketMode)
	default:
		t.fail("Workload %s: boundary %d", w.Name, w.Boundary)
		return
	}
	t.addRoutes(OutboundName, t.services(w.Name.Namespace), false)
	t.addListener(listener(OutboundName, address, corev3.TrafficDirection_OUTBOUND,
		chain(OutboundName, t.manager(manners{side: fromApplication}, OutboundName, OutboundName))))
}

// services are the virtual hosts of all ports of all workloads, as seen from a namespace.
func (t *translation) services(namespace string) []*routev3.VirtualHost {
	// Full names are unique; a short name that equals the full name of another workload ("orders.shop") yields to it.
	taken := map[string]bool{}
	for _, w := range t.set.Workloads {
		taken[w.Name.Name+"."+w.Name.Namespace] = true
	}
	var hosts []*routev3.VirtualHost
	for _, w := range t.set.Workloads {
		names := []string{w.Name.Name + "." + w.Name.Namespace}
		if w.Name.Namespace == namespace && !taken[w.Name.Name] {
			names = append(names, w.Name.Name)
		}
		for _, p := range w.Ports {
			d := destination{workload: w.Name, port: p.Port}
			t.wanted[d] = true
			hosts = append(hosts, &routev3.VirtualHost{
				Name:    d.cluster(),
				Domains: domains(names, p.Port, p.Port == barePort(&w)),
				Routes: []*routev3.Route{{
					Name:   OutboundName + "/" + d.cluster(),
					Match:  anyPath(),
					Action: &routev3.Route_Route{Route: forwardTo([]share{{cluster: d.cluster()}})},
				}},
			})
		}
	}
	return hosts
}

// barePort is the port that a name without one means: 80, which HTTP clients leave out; else the only port, or the one named http. 0: none.
func barePort(w *policy.Workload) uint16 {
	var named uint16
	for i := range w.Ports {
		switch p := &w.Ports[i]; {
		case p.Port == 80:
			return 80
		case len(w.Ports) == 1 || p.Name == "http":
			named = p.Port
		}
	}
	return named
}

// domains are "name:port", and for the bare port "name".
func domains(names []string, port uint16, bare bool) []string {
	var out []string
	for _, n := range names {
		if bare {
			out = append(out, n)
		}
		out = append(out, fmt.Sprintf("%s:%d", n, port))
	}
	return out
}
