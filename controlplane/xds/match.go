package xds

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// match is what a request must have (Gateway API HTTPRouteMatch).
func (t *translation) match(r *policy.Route) *routev3.RouteMatch {
	m := &routev3.RouteMatch{}
	path := normalisedPath(r.Match.Path)
	switch {
	case r.Match.PathKind == policy.PathExact:
		m.PathSpecifier = &routev3.RouteMatch_Path{Path: path}
	case r.Match.PathKind == policy.PathPrefix && path == "/":
		m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	case r.Match.PathKind == policy.PathPrefix:
		m.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: path}
	default:
		t.fail("%s: path match of kind %d", origin(r), r.Match.PathKind)
	}
	if r.Match.Method != "" {
		m.Headers = append(m.Headers, headerIs(":method", r.Match.Method))
	}
	for _, h := range r.Match.Headers {
		m.Headers = append(m.Headers, headerIs(h.Name, h.Value))
	}
	// Envoy compares query parameters as sent, percent-encoded.
	for _, q := range r.Match.Query {
		m.QueryParameters = append(m.QueryParameters, &routev3.QueryParameterMatcher{
			Name:                         q.Name,
			QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: exactly(q.Value)},
		})
	}
	return m
}

func headerIs(name, value string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exactly(value)},
	}
}

// normalisedPath writes a path as Envoy's normalisation does: percent-encoded unreserved characters are decoded (RFC 3986 §6.2.2.2). A
// route for "/%61" would never see a request otherwise.
func normalisedPath(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if hi >= 0 && lo >= 0 && unreserved(byte(hi<<4|lo)) {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// unreserved of RFC 3986 §2.3.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func origin(r *policy.Route) string {
	s := r.Origin.Kind + " " + r.Origin.Name.String()
	if r.Origin.Rule != "" {
		s += ", " + r.Origin.Rule
	}
	return s
}
