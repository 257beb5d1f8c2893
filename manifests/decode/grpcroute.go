package decode

import (
	"fmt"
	"regexp"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

const grpcRouteFields = `hostnames
	parentRefs parentRefs.group parentRefs.kind parentRefs.namespace parentRefs.name parentRefs.sectionName parentRefs.port
	rules rules.name
	rules.matches rules.matches.method rules.matches.method.type rules.matches.method.service rules.matches.method.method
	rules.matches.headers rules.matches.headers.type rules.matches.headers.name rules.matches.headers.value
	rules.backendRefs rules.backendRefs.group rules.backendRefs.kind rules.backendRefs.namespace rules.backendRefs.name
	rules.backendRefs.port rules.backendRefs.weight
	rules.filters rules.filters.type
	rules.filters.requestHeaderModifier rules.filters.requestHeaderModifier.remove
	rules.filters.requestHeaderModifier.set rules.filters.requestHeaderModifier.set.name rules.filters.requestHeaderModifier.set.value
	rules.filters.requestHeaderModifier.add rules.filters.requestHeaderModifier.add.name rules.filters.requestHeaderModifier.add.value
	rules.filters.responseHeaderModifier rules.filters.responseHeaderModifier.remove
	rules.filters.responseHeaderModifier.set rules.filters.responseHeaderModifier.set.name rules.filters.responseHeaderModifier.set.value
	rules.filters.responseHeaderModifier.add rules.filters.responseHeaderModifier.add.name rules.filters.responseHeaderModifier.add.value`

// defaultGRPCRoute gives what the CRD of GRPCRoute gives, for the supported fields.
func defaultGRPCRoute(r *gatewayv1.GRPCRoute) {
	for i := range r.Spec.ParentRefs {
		unset(&r.Spec.ParentRefs[i].Group, gatewayv1.GroupName)
		unset(&r.Spec.ParentRefs[i].Kind, "Gateway")
	}
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		for j := range rule.Matches {
			m := &rule.Matches[j]
			if m.Method != nil {
				unset(&m.Method.Type, gatewayv1.GRPCMethodMatchExact)
			}
			for k := range m.Headers {
				unset(&m.Headers[k].Type, gatewayv1.GRPCHeaderMatchExact)
			}
		}
		for j := range rule.BackendRefs {
			b := &rule.BackendRefs[j]
			unset(&b.Group, "")
			unset(&b.Kind, "Service")
			unset(&b.Weight, 1)
		}
	}
}

func validateGRPCRoute(r *gatewayv1.GRPCRoute) []v1alpha1.FieldError {
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
			c.grpcMatch(index(at+".matches", j), &rule.Matches[j])
		}
		c.grpcFilters(at, rule)
		for j := range rule.BackendRefs {
			c.backend(index(at+".backendRefs", j), &gatewayv1.HTTPBackendRef{BackendRef: rule.BackendRefs[j].BackendRef})
		}
	}
	return c.found
}

// grpcService and grpcMethod are what the CRD takes as names.
var (
	grpcService = regexp.MustCompile(`^\.?[a-zA-Z_][a-zA-Z_0-9]*(\.[a-zA-Z_][a-zA-Z_0-9]*)*$`)
	grpcMethod  = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*$`)
)

func (c *checker) grpcMatch(at string, m *gatewayv1.GRPCRouteMatch) {
	if d := m.Method; d != nil {
		c.grpcMethod(at+".method", d)
	}
	seen := map[string]bool{}
	for i := range m.Headers {
		h, p := &m.Headers[i], index(at+".headers", i)
		c.header(p, string(h.Name), h.Value)
		if c.oneOf(p+".type", string(*h.Type), "Exact", "RegularExpression") && *h.Type == gatewayv1.GRPCHeaderMatchRegularExpression {
			c.regex(p+".value", h.Value)
		}
		if seen[strings.ToLower(string(h.Name))] {
			c.fail(p+".name", "duplicate-value", fmt.Sprintf("header %s is matched twice", h.Name), "names of headers compare without case")
		}
		seen[strings.ToLower(string(h.Name))] = true
	}
}

func (c *checker) grpcMethod(at string, m *gatewayv1.GRPCMethodMatch) {
	var service, method string
	if m.Service != nil {
		service = *m.Service
	}
	if m.Method != nil {
		method = *m.Method
	}
	if service == "" && method == "" {
		c.fail(at, "required", "neither service nor method is given", "leave method out to match every call")
	}
	if !c.oneOf(at+".type", string(*m.Type), "Exact", "RegularExpression") {
		return
	}
	for _, f := range []struct {
		name, value string
		exact       *regexp.Regexp
	}{{"service", service, grpcService}, {"method", method, grpcMethod}} {
		switch {
		case f.value == "":
		case len(f.value) > 1024:
			c.fail(at+"."+f.name, "invalid-value", "it is longer than 1024 bytes", "")
		case *m.Type == gatewayv1.GRPCMethodMatchRegularExpression:
			c.regex(at+"."+f.name, f.value)
		case !f.exact.MatchString(f.value):
			c.fail(at+"."+f.name, "invalid-value", fmt.Sprintf("%q is not the name of a gRPC %s", f.value, f.name),
				"service: shop.v1.Orders, method: GetOrder; or type: RegularExpression")
		}
	}
}

func (c *checker) grpcFilters(at string, rule *gatewayv1.GRPCRouteRule) {
	seen := map[gatewayv1.GRPCRouteFilterType]bool{}
	for i := range rule.Filters {
		f, p := &rule.Filters[i], index(at+".filters", i)
		if seen[f.Type] {
			c.fail(p+".type", "duplicate-value", fmt.Sprintf("filter %s is given twice", f.Type), "")
		}
		seen[f.Type] = true
		if string(f.Type) == string(gatewayv1.HTTPRouteFilterCORS) {
			c.fail(p+".type", "unsupported-value", "a GRPCRoute can't have CORS", "for browsers of another origin use an HTTPRoute with it, and rules with grpc all the same")
			continue
		}
		if !c.oneOf(p+".type", string(f.Type), string(gatewayv1.GRPCRouteFilterRequestHeaderModifier), string(gatewayv1.GRPCRouteFilterResponseHeaderModifier)) {
			continue
		}
		for _, b := range []struct {
			kind gatewayv1.GRPCRouteFilterType
			name string
			body *gatewayv1.HTTPHeaderFilter
		}{
			{gatewayv1.GRPCRouteFilterRequestHeaderModifier, "requestHeaderModifier", f.RequestHeaderModifier},
			{gatewayv1.GRPCRouteFilterResponseHeaderModifier, "responseHeaderModifier", f.ResponseHeaderModifier},
		} {
			switch {
			case b.kind == f.Type && b.body == nil:
				c.fail(p+"."+b.name, "required", fmt.Sprintf("filter %s needs %s", f.Type, b.name), "")
			case b.kind != f.Type && b.body != nil:
				c.fail(p+"."+b.name, "one-of", fmt.Sprintf("does not go with type %s", f.Type), "write type: "+string(b.kind))
			default:
				c.headerFilter(p+"."+b.name, b.body)
			}
		}
	}
}
