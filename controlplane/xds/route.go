package xds

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

func (t *translation) addListener(l *listenerv3.Listener) {
	t.listeners = append(t.listeners, t.resource(l.GetName(), l))
}

// addRoutes makes one route configuration: what Envoy applies or refuses as a whole. Ports and path parameters are ignored in matching
// and stay in what Check and the upstream see; a sidecar's outbound listener (anyPort false) tells ports apart.
func (t *translation) addRoutes(name string, hosts []*routev3.VirtualHost, anyPort bool) {
	for _, h := range hosts {
		for _, r := range h.GetRoutes() {
			for filter := range r.GetTypedPerFilterConfig() {
				t.configured[filterOf{name, filter}] = true
			}
		}
	}
	t.routes = append(t.routes, t.resource(name, &routev3.RouteConfiguration{
		Name:                               name,
		VirtualHosts:                       hosts,
		IgnorePortInHostMatching:           anyPort,
		IgnorePathParametersInPathMatching: true,
		ResponseHeadersToRemove:            []string{"x-envoy-upstream-service-time"},
	}))
}

func (t *translation) virtualHost(l *policy.Listener, vh *policy.VirtualHost) *routev3.VirtualHost {
	out := &routev3.VirtualHost{Name: vh.Host, Domains: []string{vh.Host}, Routes: make([]*routev3.Route, 0, len(vh.Routes))}
	for i := range vh.Documents {
		out.Routes = append(out.Routes, t.document(&vh.Documents[i]))
	}
	for i := range vh.Routes {
		r := &vh.Routes[i]
		if p := t.preflight(r); p != nil {
			out.Routes = append(out.Routes, p)
		}
		out.Routes = append(out.Routes, t.route(l, r))
	}
	return out
}

func (t *translation) route(l *policy.Listener, r *policy.Route) *routev3.Route {
	out := &routev3.Route{
		Name:                 string(r.ID),
		Match:                t.match(r),
		TypedPerFilterConfig: t.judged(r.ID),
	}
	t.request(r, out)
	t.response(r, out)
	t.cors(r, out)
	if r.Redirect != nil && r.CORS != nil {
		t.fail("%s: Envoy's cors filter does not act on a redirect", origin(r))
	}
	if r.Redirect != nil {
		t.redirect(l, out, r)
	} else {
		t.forward(out, r)
	}
	if r.GRPC {
		t.grpc(out, t.gatewayCap())
	}
	return out
}
