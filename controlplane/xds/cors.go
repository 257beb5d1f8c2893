package xds

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

// corsFilter is the name of the filter and of its per-route configuration. It stands before ext_authz: a preflight carries no token, and a
// denial must be readable by the page that caused it.
const corsFilter = "envoy.filters.http.cors"

// corsHeaders are what the filter says; where it is in force, an application's own do not reach the client: two sources would add up.
var corsHeaders = []string{
	"access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods", "access-control-allow-headers",
	"access-control-expose-headers", "access-control-max-age",
}

// cors puts a route's CORS policy into it.
func (t *translation) cors(r *policy.Route, out *routev3.Route) {
	if r.CORS == nil {
		return
	}
	out.TypedPerFilterConfig[corsFilter] = t.pack(corsPolicy(r.CORS))
	out.ResponseHeadersToRemove = slices.Concat(out.GetResponseHeadersToRemove(), corsHeaders)
	// The filter answers with the request's own origin: a cache must not give one origin's answer to another (Fetch standard §3.2.5).
	out.ResponseHeadersToAdd = append(slices.Clip(out.GetResponseHeadersToAdd()), &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: "vary", Value: "origin"},
		AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
	})
}

// preflight is a route for the preflights of a match that has another method than OPTIONS; nil: the match takes its preflights itself. It
// takes exactly what the filter answers, so its own answer is never seen; any other request goes on to the next route.
func (t *translation) preflight(r *policy.Route) *routev3.Route {
	if r.CORS == nil || r.Match.Method == "" || r.Match.Method == "OPTIONS" || len(r.CORS.AllowOrigins) == 0 {
		return nil
	}
	asked := *r
	asked.Match.Method = "OPTIONS"
	m := t.match(&asked)
	m.Headers = append(m.Headers, headerIs("access-control-request-method", r.Match.Method), &routev3.HeaderMatcher{
		Name:                 "origin",
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: matches(anyOrigin(r.CORS))},
	})
	out := &routev3.Route{Name: string(r.ID), Match: m, Action: nowhere(), TypedPerFilterConfig: t.judged(r.ID)}
	out.TypedPerFilterConfig[corsFilter] = t.pack(corsPolicy(r.CORS))
	return out
}

// nowhere answers 500 like answer(500). Envoy's cors filter does not act on a route with a direct response.
func nowhere() *routev3.Route_Route {
	a := forwardTo([]share{{cluster: missingCluster}})
	a.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
	return &routev3.Route_Route{Route: a}
}

func corsPolicy(c *policy.CORS) *corsv3.CorsPolicy {
	out := &corsv3.CorsPolicy{
		AllowMethods:  strings.Join(c.AllowMethods, ", "),
		AllowHeaders:  strings.Join(c.AllowHeaders, ", "),
		ExposeHeaders: strings.Join(exposed(c), ", "),
		MaxAge:        strconv.FormatInt(int64(c.MaxAge/time.Second), 10),
	}
	if len(c.AllowOrigins) > 0 {
		out.AllowOriginStringMatch = []*matcherv3.StringMatcher{matches(anyOrigin(c))}
	}
	if c.AllowCredentials {
		out.AllowCredentials = wrapperspb.Bool(true)
	}
	return out
}

// exposed are the headers that a page may read: those of the manifest, and the one by which a denial says what is missing.
func exposed(c *policy.CORS) []string {
	const challenge = "www-authenticate"
	if slices.Contains(c.ExposeHeaders, challenge) || slices.Contains(c.ExposeHeaders, "*") {
		return c.ExposeHeaders
	}
	return append(slices.Clip(c.ExposeHeaders), challenge)
}

// anyOrigin is the expression of all origins that are allowed, as a whole: no prefix and no suffix of one is enough. It never matches "*",
// which Envoy takes for "any".
func anyOrigin(c *policy.CORS) string {
	var all []string
	for _, o := range c.AllowOrigins {
		all = append(all, originPattern(o, c.AllowCredentials))
	}
	return strings.Join(all, "|")
}

// originPattern is the expression of one origin of the manifest.
func originPattern(o string, credentials bool) string {
	if o == "*" {
		const named = `[a-z][a-z0-9+.-]*://[^ ,/]+`
		if credentials {
			return named // "null" is every sandboxed frame and local file: nobody one could trust with credentials
		}
		return named + "|null"
	}
	scheme, host, _ := strings.Cut(o, "://")
	scheme += "://"
	if host == "*" || strings.HasPrefix(host, "*:") {
		// Any host, and an IPv6 address too, with the port as written.
		return regexp.QuoteMeta(scheme) + `(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])` + regexp.QuoteMeta(host[1:])
	}
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		return regexp.QuoteMeta(scheme) + `(?:[a-z0-9_-]+\.)+` + regexp.QuoteMeta(rest)
	}
	return regexp.QuoteMeta(o)
}

func matches(pattern string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: pattern}}}
}
