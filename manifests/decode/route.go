package decode

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests/regex"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func validateRoute(r *gatewayv1.HTTPRoute) []v1alpha1.FieldError {
	c := &checker{}
	c.parents(r.Spec.ParentRefs)
	for i, h := range r.Spec.Hostnames {
		c.hostname(index("spec.hostnames", i), string(h), true)
	}
	names := map[gatewayv1.SectionName]bool{}
	for i := range r.Spec.Rules {
		rule, at := &r.Spec.Rules[i], index("spec.rules", i)
		c.ruleName(at, rule.Name, names)
		for j := range rule.Matches {
			c.match(index(at+".matches", j), &rule.Matches[j])
		}
		c.filters(at, rule)
		for j := range rule.BackendRefs {
			c.backend(index(at+".backendRefs", j), &rule.BackendRefs[j])
		}
		c.timeouts(at+".timeouts", rule.Timeouts)
	}
	return c.found
}

// parents checks the references of a route to its Gateways.
func (c *checker) parents(refs []gatewayv1.ParentReference) {
	for i := range refs {
		p, at := &refs[i], index("spec.parentRefs", i)
		if *p.Group != gatewayv1.GroupName || *p.Kind != "Gateway" {
			c.fail(at, "unsupported-reference", fmt.Sprintf("a route can't attach to %s", refKind(*p.Group, *p.Kind)), "refer to a Gateway")
		}
		c.name(at+".name", string(p.Name))
		c.namespace(at+".namespace", p.Namespace)
		if p.SectionName != nil {
			c.name(at+".sectionName", string(*p.SectionName))
		}
		if p.Port != nil {
			c.port(at+".port", *p.Port)
		}
	}
}

// ruleName checks the name of a rule, if it has one: unique in its route.
func (c *checker) ruleName(at string, name *gatewayv1.SectionName, seen map[gatewayv1.SectionName]bool) {
	if name == nil {
		return
	}
	c.name(at+".name", string(*name))
	if seen[*name] {
		c.fail(at+".name", "duplicate-value", fmt.Sprintf("another rule is named %q", *name), "a policy's sectionName could mean both")
	}
	seen[*name] = true
}

func (c *checker) backend(at string, b *gatewayv1.HTTPBackendRef) {
	if *b.Group != v1alpha1.Group || *b.Kind != v1alpha1.KindWorkload {
		c.fail(at, "unsupported-reference", fmt.Sprintf("a backend of kind %s exists only in Kubernetes", refKind(*b.Group, *b.Kind)),
			"kind: Workload, group: credence.mesh")
	}
	c.name(at+".name", string(b.Name))
	c.namespace(at+".namespace", b.Namespace)
	if b.Port == nil {
		c.fail(at+".port", "required", "the port of the Workload is required", "")
	} else {
		c.port(at+".port", *b.Port)
	}
	if *b.Weight < 0 || *b.Weight > 1_000_000 {
		c.fail(at+".weight", "out-of-range", fmt.Sprintf("%d is out of range", *b.Weight), "from 0 to 1000000")
	}
}

var (
	pathCharacters = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$`)
	headerName     = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$")
	routeDuration  = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
)

func (c *checker) match(at string, m *gatewayv1.HTTPRouteMatch) {
	switch {
	case *m.Path.Type == gatewayv1.PathMatchRegularExpression:
		c.regex(at+".path.value", *m.Path.Value)
	case c.oneOf(at+".path.type", string(*m.Path.Type), "Exact", "PathPrefix", "RegularExpression"):
		c.path(at+".path.value", *m.Path.Value)
	}
	if m.Method != nil {
		c.oneOf(at+".method", string(*m.Method), "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
	}
	seen := map[string]bool{}
	for i := range m.Headers {
		h, p := &m.Headers[i], index(at+".headers", i)
		c.header(p, string(h.Name), h.Value)
		if c.oneOf(p+".type", string(*h.Type), "Exact", "RegularExpression") && *h.Type == gatewayv1.HeaderMatchRegularExpression {
			c.regex(p+".value", h.Value)
		}
		if seen[strings.ToLower(string(h.Name))] {
			c.fail(p+".name", "duplicate-value", fmt.Sprintf("header %s is matched twice", h.Name), "names of headers compare without case")
		}
		seen[strings.ToLower(string(h.Name))] = true
	}
	seen = map[string]bool{}
	for i := range m.QueryParams {
		q, p := &m.QueryParams[i], index(at+".queryParams", i)
		c.header(p, string(q.Name), q.Value)
		if c.oneOf(p+".type", string(*q.Type), "Exact", "RegularExpression") && *q.Type == gatewayv1.QueryParamMatchRegularExpression {
			c.regex(p+".value", q.Value)
		}
		if seen[string(q.Name)] {
			c.fail(p+".name", "duplicate-value", fmt.Sprintf("parameter %s is matched twice", q.Name), "")
		}
		seen[string(q.Name)] = true
	}
}

// regex refuses what Envoy and Credence could read in two ways. It is refused here, where an edit leaves the last good version in force: a
// match that went missing would let its requests fall to a wider rule.
func (c *checker) regex(at, pattern string) {
	if err := regex.Check(pattern); err != nil {
		c.fail(at, "regex", fmt.Sprintf("%q can't be used: %v", pattern, err), "RE2, ASCII; the whole value must match")
	}
}

func (c *checker) header(at, name, value string) {
	if !headerName.MatchString(name) || len(name) > 256 {
		c.fail(at+".name", "invalid-value", fmt.Sprintf("%q is not a name", name), "a token of RFC 9110")
	}
	if value == "" || len(value) > 4096 {
		c.fail(at+".value", "invalid-value", "a value has 1 to 4096 bytes", "")
	} else if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		c.fail(at+".value", "invalid-value", "a value holds no control characters", "")
	}
}

func (c *checker) path(at, p string) {
	problem := ""
	switch {
	case !strings.HasPrefix(p, "/"):
		problem = `does not begin with "/"`
	case len(p) > 1024:
		problem = "is longer than 1024 bytes"
	case strings.Contains(p, "//"):
		problem = `contains "//"`
	case strings.Contains(p+"/", "/./") || strings.Contains(p+"/", "/../"):
		problem = `has a segment "." or ".."`
	case strings.Contains(strings.ToLower(p), "%2f"):
		problem = "contains an encoded slash"
	case strings.Contains(p, "#"):
		problem = `contains "#"`
	case !pathCharacters.MatchString(p):
		problem = "contains characters that a path does not"
	default:
		return
	}
	c.fail(at, "invalid-path", fmt.Sprintf("%q %s", p, problem), "no request has such a path once it is normalised")
}

func (c *checker) timeouts(at string, t *gatewayv1.HTTPRouteTimeouts) {
	if t == nil {
		return
	}
	request, backend := c.timeout(at+".request", t.Request), c.timeout(at+".backendRequest", t.BackendRequest)
	if request != 0 && backend > request {
		c.fail(at+".backendRequest", "out-of-range", "longer than request", "at most "+request.String())
	}
}

func (c *checker) timeout(at string, d *gatewayv1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil || !routeDuration.MatchString(string(*d)) {
		c.fail(at, "invalid-value", fmt.Sprintf("%q is not a duration (GEP-2257)", *d), `for example "10s" or "1m30s"`)
	}
	return v
}

func (c *checker) filters(at string, rule *gatewayv1.HTTPRouteRule) {
	seen := map[gatewayv1.HTTPRouteFilterType]bool{}
	for i := range rule.Filters {
		f, p := &rule.Filters[i], index(at+".filters", i)
		if seen[f.Type] {
			c.fail(p+".type", "duplicate-value", fmt.Sprintf("filter %s is given twice", f.Type), "")
		}
		seen[f.Type] = true
		c.filter(p, f, rule)
	}
	if seen[gatewayv1.HTTPRouteFilterRequestRedirect] && seen[gatewayv1.HTTPRouteFilterCORS] {
		c.fail(at+".filters", "conflict", "Envoy adds no CORS headers to a redirect", "let pages ask for the new address")
	}
	if seen[gatewayv1.HTTPRouteFilterRequestRedirect] {
		if seen[gatewayv1.HTTPRouteFilterURLRewrite] {
			c.fail(at+".filters", "conflict", "RequestRedirect and URLRewrite don't go together", "remove one of them")
		}
		if len(rule.BackendRefs) > 0 {
			c.fail(at+".backendRefs", "conflict", "a rule with RequestRedirect has no backends", "remove backendRefs")
		}
	}
}

func (c *checker) filter(at string, f *gatewayv1.HTTPRouteFilter, rule *gatewayv1.HTTPRouteRule) {
	bodies := []struct {
		kind gatewayv1.HTTPRouteFilterType
		name string
		set  bool
	}{
		{gatewayv1.HTTPRouteFilterRequestHeaderModifier, "requestHeaderModifier", f.RequestHeaderModifier != nil},
		{gatewayv1.HTTPRouteFilterResponseHeaderModifier, "responseHeaderModifier", f.ResponseHeaderModifier != nil},
		{gatewayv1.HTTPRouteFilterRequestRedirect, "requestRedirect", f.RequestRedirect != nil},
		{gatewayv1.HTTPRouteFilterURLRewrite, "urlRewrite", f.URLRewrite != nil},
		{gatewayv1.HTTPRouteFilterCORS, "cors", f.CORS != nil},
	}
	var kinds []string
	for _, b := range bodies {
		kinds = append(kinds, string(b.kind))
		if b.kind == f.Type && !b.set {
			c.fail(at+"."+b.name, "required", fmt.Sprintf("filter %s needs %s", f.Type, b.name), "")
		} else if b.kind != f.Type && b.set {
			c.fail(at+"."+b.name, "one-of", fmt.Sprintf("does not go with type %s", f.Type), "write type: "+string(b.kind))
		}
	}
	if !c.oneOf(at+".type", string(f.Type), kinds...) {
		return
	}
	c.headerFilter(at+".requestHeaderModifier", f.RequestHeaderModifier)
	c.headerFilter(at+".responseHeaderModifier", f.ResponseHeaderModifier)
	c.cors(at+".cors", f.CORS)
	if r := f.RequestRedirect; r != nil {
		c.redirect(at+".requestRedirect", r, rule)
	}
	if u := f.URLRewrite; u != nil {
		if u.Hostname != nil {
			c.hostname(at+".urlRewrite.hostname", string(*u.Hostname), false)
		}
		c.pathModifier(at+".urlRewrite.path", u.Path, rule)
	}
}

func (c *checker) redirect(at string, r *gatewayv1.HTTPRequestRedirectFilter, rule *gatewayv1.HTTPRouteRule) {
	if r.Scheme != nil {
		c.oneOf(at+".scheme", *r.Scheme, "http", "https")
	}
	if r.Hostname != nil {
		c.hostname(at+".hostname", string(*r.Hostname), false)
	}
	if r.Port != nil {
		c.port(at+".port", *r.Port)
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, *r.StatusCode) {
		c.fail(at+".statusCode", "unsupported-value", fmt.Sprintf("%d is not a redirect", *r.StatusCode), "one of: 301, 302, 303, 307, 308")
	}
	c.pathModifier(at+".path", r.Path, rule)
}

func (c *checker) pathModifier(at string, m *gatewayv1.HTTPPathModifier, rule *gatewayv1.HTTPRouteRule) {
	if m == nil || !c.oneOf(at+".type", string(m.Type), "ReplaceFullPath", "ReplacePrefixMatch") {
		return
	}
	full := m.Type == gatewayv1.FullPathHTTPPathModifier
	if (m.ReplaceFullPath != nil) != full || (m.ReplacePrefixMatch != nil) == full {
		c.fail(at, "one-of", "type and value don't go together", "set replaceFullPath or replacePrefixMatch, as type says")
		return
	}
	if full {
		c.path(at+".replaceFullPath", *m.ReplaceFullPath)
		return
	}
	if *m.ReplacePrefixMatch != "" {
		c.path(at+".replacePrefixMatch", *m.ReplacePrefixMatch)
	}
	if len(rule.Matches) != 1 || *rule.Matches[0].Path.Type != gatewayv1.PathMatchPathPrefix {
		c.fail(at+".replacePrefixMatch", "conflict", "needs exactly one match, of type PathPrefix", "")
	}
}

func (c *checker) headerFilter(at string, f *gatewayv1.HTTPHeaderFilter) {
	if f == nil {
		return
	}
	c.headers(at+".set", f.Set)
	c.headers(at+".add", f.Add)
	seen := map[string]bool{}
	for i, name := range f.Remove {
		if !headerName.MatchString(name) {
			c.fail(index(at+".remove", i), "invalid-value", fmt.Sprintf("%q is not a name", name), "a token of RFC 9110")
		}
		c.once(index(at+".remove", i), name, seen)
	}
}

func (c *checker) headers(at string, headers []gatewayv1.HTTPHeader) {
	seen := map[string]bool{}
	for i, h := range headers {
		c.header(index(at, i), string(h.Name), h.Value)
		c.once(index(at, i)+".name", string(h.Name), seen)
	}
}

func (c *checker) once(path, name string, seen map[string]bool) {
	if seen[strings.ToLower(name)] {
		c.fail(path, "duplicate-value", fmt.Sprintf("header %s is given twice", name), "names of headers compare without case")
	}
	seen[strings.ToLower(name)] = true
}
