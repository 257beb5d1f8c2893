package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/policy"
)

// kindGRPCRoute is the kind of routes that match gRPC services and methods.
const kindGRPCRoute = "GRPCRoute"

// grpcRoute makes the route of a GRPCRoute: what it says is said as the HTTP that gRPC is (gRPC over HTTP/2: POST /service/method), at the same
// places of the manifest. A match that cannot be said is left out, never served wider.
func (c *compiler) grpcRoute(it item[gatewayv1.GRPCRoute]) *route {
	spec := &it.value.Spec
	out := &gatewayv1.HTTPRoute{Spec: gatewayv1.HTTPRouteSpec{CommonRouteSpec: spec.CommonRouteSpec, Hostnames: spec.Hostnames}}
	r := &route{
		item: item[gatewayv1.HTTPRoute]{it.obj, out, it.name}, kind: kindGRPCRoute,
		grpc: make([][]grpcMatch, len(spec.Rules)), skipped: make(map[[2]int]bool),
	}
	for i := range spec.Rules {
		in := &spec.Rules[i]
		rule := gatewayv1.HTTPRouteRule{Name: in.Name, Filters: grpcFilters(in.Filters)}
		for j := range in.BackendRefs {
			rule.BackendRefs = append(rule.BackendRefs, gatewayv1.HTTPBackendRef{
				BackendRef: in.BackendRefs[j].BackendRef, Filters: grpcFilters(in.BackendRefs[j].Filters),
			})
		}
		matches := in.Matches
		if len(matches) == 0 {
			matches = []gatewayv1.GRPCRouteMatch{{}}
		}
		for j := range matches {
			m, key, err := grpcRouteMatch(&matches[j])
			if err != nil {
				at := place{it.obj, fmt.Sprintf("spec.rules[%d].matches[%d].method", i, j)}
				c.errorAt(at, "unsupported-match", err.Error()+": the match is not served", "look at docs/manifests.md, GRPCRoute")
				r.skipped[[2]int{i, j}] = true
			}
			rule.Matches = append(rule.Matches, m)
			r.grpc[i] = append(r.grpc[i], key)
		}
		out.Spec.Rules = append(out.Spec.Rules, rule)
	}
	return r
}

// grpcMatch is what precedence compares of a match: how sure it is of the service and of the method (2 by name, 1 by expression, 0 any), and
// the number of characters of each.
type grpcMatch struct {
	serviceRank, service int
	methodRank, method   int
}

// grpcPrecedence orders matches of GRPCRoutes as Gateway API says (GRPCRouteRule.Matches): most characters in a matching service, then in a
// matching method, then most headers. How many characters an expression will match is not known: it yields to a name.
func grpcPrecedence(a, b *candidate) int {
	x, y := a.route.grpc[a.rule][a.match], b.route.grpc[b.rule][b.match]
	return cmp.Or(
		cmp.Compare(y.serviceRank, x.serviceRank),
		cmp.Compare(y.service, x.service),
		cmp.Compare(y.methodRank, x.methodRank),
		cmp.Compare(y.method, x.method),
		cmp.Compare(len(b.out.Match.Headers)+len(b.out.Match.HeaderRegex), len(a.out.Match.Headers)+len(a.out.Match.HeaderRegex)),
	)
}

// grpcRouteMatch says m as a match of HTTP.
func grpcRouteMatch(m *gatewayv1.GRPCRouteMatch) (gatewayv1.HTTPRouteMatch, grpcMatch, error) {
	post := gatewayv1.HTTPMethodPost
	out := gatewayv1.HTTPRouteMatch{Method: &post}
	for _, h := range m.Headers {
		header := gatewayv1.HTTPHeaderMatch{Name: gatewayv1.HTTPHeaderName(h.Name), Value: h.Value}
		if h.Type != nil {
			t := gatewayv1.HeaderMatchType(*h.Type)
			header.Type = &t
		}
		out.Headers = append(out.Headers, header)
	}
	service, method, kind := "", "", gatewayv1.GRPCMethodMatchExact
	if d := m.Method; d != nil {
		service, method = valueOf(d.Service), valueOf(d.Method)
		if d.Type != nil {
			kind = *d.Type
		}
	}
	var key grpcMatch
	var path gatewayv1.HTTPPathMatch
	var err error
	switch kind {
	case gatewayv1.GRPCMethodMatchExact:
		path, err = exactGRPC(service, method)
		key = grpcMatch{rank(service, 2), len(service), rank(method, 2), len(method)}
	case gatewayv1.GRPCMethodMatchRegularExpression:
		path, err = regexGRPC(service, method)
		key = grpcMatch{rank(service, 1), len(service), rank(method, 1), len(method)}
	default:
		err = fmt.Errorf("method match %s is not supported", kind)
	}
	out.Path = &path
	return out, key, err
}

func rank(s string, of int) int {
	if s == "" {
		return 0
	}
	return of
}

func valueOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// exactGRPC is the path of a service and a method by name; empty is any.
func exactGRPC(service, method string) (gatewayv1.HTTPPathMatch, error) {
	for _, s := range []string{service, method} {
		if strings.ContainsFunc(s, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.'
		}) || s == "." || s == ".." {
			return gatewayv1.HTTPPathMatch{}, fmt.Errorf("%q is not the name of a gRPC service or method", s)
		}
	}
	kind, value := gatewayv1.PathMatchExact, "/"+service+"/"+method
	switch {
	case service == "" && method == "":
		kind, value = gatewayv1.PathMatchPathPrefix, "/"
	case method == "":
		kind, value = gatewayv1.PathMatchPathPrefix, "/"+service
	case service == "":
		kind, value = gatewayv1.PathMatchRegularExpression, "/[^/]+/"+strings.ReplaceAll(method, ".", `\.`)
	}
	return gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}, nil
}

// regexGRPC is the expression of a whole path of whose two segments each matches an expression; empty is any. Each must be one by itself, or
// one could end the other's group.
func regexGRPC(service, method string) (gatewayv1.HTTPPathMatch, error) {
	parts := []string{service, method}
	for i, p := range parts {
		if p == "" {
			parts[i] = "[^/]+"
			continue
		}
		if err := checkRegex(p); err != nil {
			return gatewayv1.HTTPPathMatch{}, fmt.Errorf("%q: %w", p, err)
		}
		parts[i] = "(?:" + p + ")"
	}
	kind, value := gatewayv1.PathMatchRegularExpression, "/"+parts[0]+"/"+parts[1]
	return gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}, nil
}

// grpcFilters says filters as those of an HTTPRoute; what that does not know either is refused there.
func grpcFilters(in []gatewayv1.GRPCRouteFilter) []gatewayv1.HTTPRouteFilter {
	var out []gatewayv1.HTTPRouteFilter
	for i := range in {
		out = append(out, gatewayv1.HTTPRouteFilter{
			Type:                  gatewayv1.HTTPRouteFilterType(in[i].Type),
			RequestHeaderModifier: in[i].RequestHeaderModifier, ResponseHeaderModifier: in[i].ResponseHeaderModifier,
			RequestMirror: in[i].RequestMirror, ExtensionRef: in[i].ExtensionRef,
		})
	}
	return out
}

// speaksGRPC tells whether gRPC can reach a port: it needs HTTP/2 to the end.
func speaksGRPC(p *policy.Port) bool { return p.HTTP2 || p.OwnMTLS }

// otherKind is a route of the other kind that s serves on a host of r's. Gateway API (HTTPRouteSpec.Hostnames, GRPCRouteSpec.Hostnames) lets a
// listener accept only one of two such routes: the first by namespace and name. Routes are attached in that order.
func (s *section) otherKind(r *route, hosts []string) *route {
	for _, a := range s.attached {
		if a.route.kind == r.kind {
			continue
		}
		if slices.ContainsFunc(a.hosts, func(h string) bool {
			return slices.ContainsFunc(hosts, func(own string) bool { return covers(h, own) || covers(own, h) })
		}) {
			return a.route
		}
	}
	return nil
}

// attachedRoute is a route on a section, with the hosts under which it is served there.
type attachedRoute struct {
	route *route
	hosts []string
}

// byName orders routes for attachment. There are no timestamps here: the name decides, and of two equal names the HTTPRoute is first.
func byName(a, b *route) int {
	return cmp.Or(
		strings.Compare(a.name.Namespace, b.name.Namespace), strings.Compare(a.name.Name, b.name.Name), -strings.Compare(a.kind, b.kind),
	)
}
