package compile

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/policy"
)

// filters compiles the filters of a rule. One that cannot be said in a Set denies the route: ignoring it would serve requests
// that the manifest does not mean.
func (c *compiler) filters(out *policy.Route, filters []gatewayv1.HTTPRouteFilter, at place) {
	for i := range filters {
		f := &filters[i]
		where := at.at("filters[%d]", i)
		switch {
		case f.Type == gatewayv1.HTTPRouteFilterRequestHeaderModifier && f.RequestHeaderModifier != nil:
			c.headerChange(&out.Request, f.RequestHeaderModifier, where.at("requestHeaderModifier"))
		case f.Type == gatewayv1.HTTPRouteFilterResponseHeaderModifier && f.ResponseHeaderModifier != nil:
			c.headerChange(&out.Response, f.ResponseHeaderModifier, where.at("responseHeaderModifier"))
		case f.Type == gatewayv1.HTTPRouteFilterRequestRedirect && f.RequestRedirect != nil:
			out.Redirect = redirect(f.RequestRedirect)
		case f.Type == gatewayv1.HTTPRouteFilterURLRewrite && f.URLRewrite != nil:
			out.Rewrite = rewrite(f.URLRewrite)
		case f.Type == gatewayv1.HTTPRouteFilterCORS && f.CORS != nil:
			out.CORS = c.cors(f.CORS, where.at("cors"))
		default:
			c.errorAt(where.at("type"), "unsupported-filter", fmt.Sprintf("filter %s is not supported: the route is denied", f.Type), "remove it")
			out.Access.Denied = fmt.Sprintf("filter %s is not supported", f.Type)
		}
	}
}

// headerChange compiles a header modifier. It runs after the Check, so it must not touch what the Check has put there, what says where the
// request goes, nor what frames it.
func (c *compiler) headerChange(out *policy.HeaderChange, f *gatewayv1.HTTPHeaderFilter, at place) {
	refused := func(name, list string, i int) bool {
		if !policy.ReservedHeader(name) {
			return false
		}
		c.errorAt(at.at("%s[%d]", list, i), "reserved-header", fmt.Sprintf("header %q may not be changed by a route: left as it is", name),
			"remove it from the filter; use URLRewrite for the host")
		return true
	}
	for i, h := range f.Set {
		if name := strings.ToLower(string(h.Name)); !refused(name, "set", i) {
			out.Set = addPair(out.Set, name, h.Value)
		}
	}
	for i, h := range f.Add {
		if name := strings.ToLower(string(h.Name)); !refused(name, "add", i) {
			out.Add = addPair(out.Add, name, h.Value)
		}
	}
	for i, h := range f.Remove {
		if name := strings.ToLower(h); !refused(name, "remove", i) {
			out.Remove = append(out.Remove, name)
		}
	}
	sortPairs(out.Set)
	sortPairs(out.Add)
	slices.Sort(out.Remove)
	out.Remove = slices.Compact(out.Remove)
}

// redirect compiles a RequestRedirect. A scheme without a port means the scheme's own port.
func redirect(f *gatewayv1.HTTPRequestRedirectFilter) *policy.Redirect {
	out := &policy.Redirect{Status: 302, Path: pathChange(f.Path)}
	if f.StatusCode != nil {
		out.Status = *f.StatusCode
	}
	if f.Hostname != nil {
		out.Host = string(*f.Hostname)
	}
	if f.Scheme != nil {
		out.Scheme = strings.ToLower(*f.Scheme)
		switch out.Scheme {
		case "http":
			out.Port = 80
		case "https":
			out.Port = 443
		}
	}
	if f.Port != nil {
		out.Port, _ = portNumber(*f.Port)
	}
	return out
}

func rewrite(f *gatewayv1.HTTPURLRewriteFilter) *policy.Rewrite {
	out := &policy.Rewrite{Path: pathChange(f.Path)}
	if f.Hostname != nil {
		out.Host = string(*f.Hostname)
	}
	return out
}

func pathChange(m *gatewayv1.HTTPPathModifier) *policy.PathChange {
	switch {
	case m == nil:
		return nil
	case m.ReplacePrefixMatch != nil:
		return &policy.PathChange{Prefix: true, Value: *m.ReplacePrefixMatch}
	case m.ReplaceFullPath != nil:
		return &policy.PathChange{Value: *m.ReplaceFullPath}
	}
	return nil
}
