package compile

import (
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/policy"
)

// cors compiles the CORS filter (Gateway API HTTPCORSFilter, Fetch standard §3.2).
func (c *compiler) cors(f *gatewayv1.HTTPCORSFilter, at place) *policy.CORS {
	out := &policy.CORS{
		AllowCredentials: f.AllowCredentials != nil && *f.AllowCredentials,
		MaxAge:           time.Duration(f.MaxAge) * time.Second,
	}
	for _, o := range f.AllowOrigins {
		out.AllowOrigins = append(out.AllowOrigins, serialisedOrigin(string(o)))
	}
	for _, m := range f.AllowMethods {
		out.AllowMethods = append(out.AllowMethods, string(m))
	}
	for _, h := range f.AllowHeaders {
		out.AllowHeaders = append(out.AllowHeaders, strings.ToLower(string(h)))
	}
	for _, h := range f.ExposeHeaders {
		out.ExposeHeaders = append(out.ExposeHeaders, strings.ToLower(string(h)))
	}
	for _, list := range []*[]string{&out.AllowOrigins, &out.AllowMethods, &out.AllowHeaders, &out.ExposeHeaders} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	c.lintCORS(out, at)
	return out
}

// corsOfRedirect refuses what Envoy cannot do: its cors filter does not act on a redirect, so browsers could not follow it.
func (c *compiler) corsOfRedirect(r *policy.Route, at place) {
	if r.CORS == nil || r.Redirect == nil {
		return
	}
	c.errorAt(at.at("filters"), "unsupported-filter", "CORS and RequestRedirect don't go together: the route is denied", "let pages ask for the new address")
	r.CORS, r.Access.Denied = nil, "a CORS filter on a redirect"
}

// lintCORS tells of what is allowed to write and is rarely meant.
func (c *compiler) lintCORS(out *policy.CORS, at place) {
	if len(out.AllowOrigins) == 0 {
		c.warnAt(at, "cors-no-origin", "the CORS filter allows no origin: no page of another origin can read an answer", "set allowOrigins")
	}
	if !out.AllowCredentials {
		return
	}
	if slices.Contains(out.AllowOrigins, "*") {
		c.warnAt(at.at("allowOrigins"), "cors-any-origin",
			"with allowCredentials every page of the Internet can act with the cookies of whoever opens it", "name the origins")
	}
	// The wildcard has no meaning for requests with credentials, and must not be sent (Gateway API).
	if i := slices.Index(out.ExposeHeaders, "*"); i >= 0 {
		out.ExposeHeaders = slices.Delete(out.ExposeHeaders, i, i+1)
		c.warnAt(at.at("exposeHeaders"), "cors-expose-any", `"*" exposes nothing to requests with credentials: it is left out`, "name the headers")
	}
}

// lintPreflight tells of a match whose preflights go elsewhere: a browser sends them without the headers of the request.
func (c *compiler) lintPreflight(x *candidate) {
	if x.out.CORS == nil {
		return
	}
	for _, list := range [][]policy.NameValue{x.out.Match.Headers, x.out.Match.HeaderRegex} {
		for _, h := range list {
			if h.Name == "origin" || h.Name == ":method" {
				continue
			}
			c.warnAt(x.place(), "cors-preflight", "a preflight has no header "+h.Name+": another rule answers it, or none",
				"give the CORS filter to a rule with the same path and without header matches too")
			return
		}
	}
}

// serialisedOrigin writes an origin as browsers do: lower case, and no port that is the scheme's own (HTML standard, "serialization of an
// origin").
func serialisedOrigin(o string) string {
	o = strings.ToLower(o)
	for scheme, port := range map[string]string{"http://": ":80", "https://": ":443"} {
		if strings.HasPrefix(o, scheme) {
			o = strings.TrimSuffix(o, port)
		}
	}
	return o
}
