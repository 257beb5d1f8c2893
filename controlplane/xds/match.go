package xds

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/credence-mesh/credence/policy"
)

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// match is what a request must have (Gateway API HTTPRouteMatch).
func (t *translation) match(r *policy.Route) *routev3.RouteMatch {
	m := &routev3.RouteMatch{}
	path, plain := plainPath(r.Match.Path)
	switch {
	case r.Match.PathKind == policy.PathExact && plain:
		m.PathSpecifier = &routev3.RouteMatch_Path{Path: path}
	case r.Match.PathKind == policy.PathExact:
		m.PathSpecifier = wholePath(pathPattern(r.Match.Path))
	case r.Match.PathKind == policy.PathPrefix && path == "/":
		m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	case r.Match.PathKind == policy.PathPrefix && plain:
		m.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: path}
	case r.Match.PathKind == policy.PathPrefix:
		m.PathSpecifier = wholePath(pathPattern(r.Match.Path) + "(?:/.*)?")
	case r.Match.PathKind == policy.PathRegex:
		m.PathSpecifier = wholePath(r.Match.Path)
	default:
		t.fail("%s: path match of kind %d", origin(r), r.Match.PathKind)
	}
	if r.Match.Method != "" {
		m.Headers = append(m.Headers, headerIs(":method", r.Match.Method))
	}
	for _, h := range r.Match.Headers {
		m.Headers = append(m.Headers, headerIs(h.Name, h.Value))
	}
	for _, h := range r.Match.HeaderRegex {
		m.Headers = append(m.Headers, &routev3.HeaderMatcher{
			Name: h.Name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: matches(h.Value)},
		})
	}
	query := func(name string, value *matcherv3.StringMatcher) {
		m.QueryParameters = append(m.QueryParameters, &routev3.QueryParameterMatcher{
			Name: name, QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: value},
		})
	}
	for _, q := range r.Match.Query {
		query(q.Name, queryIs(q.Value))
	}
	for _, q := range r.Match.QueryRegex {
		query(q.Name, matches(q.Value))
	}
	return m
}

func headerIs(name, value string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exactly(value)},
	}
}

func origin(r *policy.Route) string {
	s := r.Origin.Kind + " " + r.Origin.Name.String()
	if r.Origin.Rule != "" {
		s += ", " + r.Origin.Rule
	}
	return s
}
