package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/policy"
)

// ruleCandidates makes one candidate of every match of the rule. What the matches share is made once.
func (c *compiler) ruleCandidates(r *route, rule int) {
	spec := &r.value.Spec.Rules[rule]
	at := place{r.obj, fmt.Sprintf("spec.rules[%d]", rule)}
	shared := policy.Route{Origin: policy.Origin{Kind: r.kind, Name: r.name, Rule: r.ruleName(rule)}, GRPC: r.kind == kindGRPCRoute}
	if shared.Origin.Rule == "" {
		shared.Origin.Rule = fmt.Sprintf("rules[%d]", rule)
	}
	shared.Backends = c.backends(r, spec, at)
	if spec.Timeouts != nil {
		shared.RequestTimeout = c.timeout(spec.Timeouts.Request, at.at("timeouts.request"))
		shared.BackendTimeout = c.timeout(spec.Timeouts.BackendRequest, at.at("timeouts.backendRequest"))
	}
	c.filters(&shared, spec.Filters, at)
	c.corsOfRedirect(&shared, at)
	matches := spec.Matches
	if len(matches) == 0 {
		matches = []gatewayv1.HTTPRouteMatch{{}}
	}
	for i := range matches {
		x := &candidate{route: r, rule: rule, match: i, out: shared}
		if r.skipped[[2]int{rule, i}] || !c.routeMatch(&x.out.Match, &matches[i], x.place()) {
			continue
		}
		if x.out.Match.PathKind != policy.PathPrefix && replacesPrefix(&x.out) {
			c.errorAt(x.place(), "unsupported-filter", "ReplacePrefixMatch needs a match of type PathPrefix: the route is denied",
				"use ReplaceFullPath")
			x.out.Access.Denied = "ReplacePrefixMatch on a path that is not a prefix"
		}
		if x.out.Match.PathKind == policy.PathRegex {
			x.undecodable = true // which paths it stands for is not told apart
		} else {
			x.segments, x.undecodable = pathSegments(x.out.Match.Path)
		}
		x.path = canonicalPath(&x.out.Match, x)
		x.key = matchKey(x.out.Match, x.path)
		c.lintPreflight(x)
		r.candidates = append(r.candidates, x)
	}
}

func replacesPrefix(r *policy.Route) bool {
	return (r.Redirect != nil && r.Redirect.Path != nil && r.Redirect.Path.Prefix) ||
		(r.Rewrite != nil && r.Rewrite.Path != nil && r.Rewrite.Path.Prefix)
}

func (c *compiler) timeout(d *gatewayv1.Duration, at place) time.Duration {
	if d == nil {
		return 0
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil || v < 0 {
		c.errorAt(at, "duration", fmt.Sprintf("%q is not a duration: there is no timeout", *d), `write "10s"`)
		return 0
	}
	return v
}

// routeMatch compiles m. What cannot be said in a Set is reported and not served: never a wider match.
func (c *compiler) routeMatch(out *policy.RouteMatch, m *gatewayv1.HTTPRouteMatch, at place) bool {
	if !c.pathMatch(out, m.Path, at) {
		return false
	}
	if m.Method != nil {
		out.Method = string(*m.Method)
	}
	for i, h := range m.Headers {
		pair := policy.NameValue{Name: strings.ToLower(string(h.Name)), Value: h.Value}
		switch {
		case h.Type == nil || *h.Type == gatewayv1.HeaderMatchExact:
			out.Headers = addPair(out.Headers, pair.Name, pair.Value)
		case *h.Type != gatewayv1.HeaderMatchRegularExpression:
			c.errorAt(at.at("headers[%d].type", i), "unsupported-match", fmt.Sprintf("header match %s is not supported", *h.Type), "use Exact")
			return false
		case !c.valueRegex(&out.HeaderRegex, pair, at.at("headers[%d].value", i)):
			return false
		}
	}
	for i, q := range m.QueryParams {
		pair := policy.NameValue{Name: string(q.Name), Value: q.Value}
		switch {
		case q.Type == nil || *q.Type == gatewayv1.QueryParamMatchExact:
			out.Query = addPair(out.Query, pair.Name, pair.Value)
		case *q.Type != gatewayv1.QueryParamMatchRegularExpression:
			c.errorAt(at.at("queryParams[%d].type", i), "unsupported-match", fmt.Sprintf("query match %s is not supported", *q.Type), "use Exact")
			return false
		case !c.valueRegex(&out.QueryRegex, pair, at.at("queryParams[%d].value", i)):
			return false
		}
	}
	sortPairs(out.Headers)
	sortPairs(out.Query)
	sortPairs(out.HeaderRegex)
	sortPairs(out.QueryRegex)
	return true
}

func (c *compiler) pathMatch(out *policy.RouteMatch, p *gatewayv1.HTTPPathMatch, at place) bool {
	kind, value := gatewayv1.PathMatchPathPrefix, "/"
	if p != nil && p.Type != nil {
		kind = *p.Type
	}
	if p != nil && p.Value != nil {
		value = *p.Value
	}
	out.Path = value
	switch kind {
	case gatewayv1.PathMatchExact:
		out.PathKind = policy.PathExact
	case gatewayv1.PathMatchPathPrefix:
		out.PathKind = policy.PathPrefix
		if out.Path = strings.TrimRight(value, "/"); out.Path == "" {
			out.Path = "/"
		}
	case gatewayv1.PathMatchRegularExpression:
		return c.pathRegex(out, at.at("path.value"))
	default:
		c.errorAt(at.at("path.type"), "unsupported-match", fmt.Sprintf("path match %s is not supported", kind), "use Exact or PathPrefix")
		return false
	}
	return true
}

// addPair adds a pair; of several with one name the first counts (Gateway API).
func addPair(pairs []policy.NameValue, name, value string) []policy.NameValue {
	if slices.ContainsFunc(pairs, func(p policy.NameValue) bool { return p.Name == name }) {
		return pairs
	}
	return append(pairs, policy.NameValue{Name: name, Value: value})
}

func sortPairs(pairs []policy.NameValue) {
	slices.SortFunc(pairs, func(a, b policy.NameValue) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
}

// canonicalPath is the decoded path: however two routes spell one path, they match the same requests.
func canonicalPath(m *policy.RouteMatch, x *candidate) string {
	if x.undecodable {
		return m.Path
	}
	path := "/" + strings.Join(x.segments, "/")
	if len(path) > 1 && strings.HasSuffix(m.Path, "/") {
		path += "/"
	}
	return path
}

func matchKey(m policy.RouteMatch, path string) string {
	m.Path = path
	return string(appendMatch(make([]byte, 0, 64), &m))
}

// byPrecedence orders candidates as Gateway API says (HTTPRouteRule.Matches): exact path, longest prefix, method, most headers,
// most query parameters; then the route's name and the order in the manifest. Regular expressions come after all prefixes, the longest first.
func byPrecedence(a, b *candidate) int {
	x, y := &a.out.Match, &b.out.Match
	if a.route.kind == kindGRPCRoute && b.route.kind == kindGRPCRoute {
		if first := grpcPrecedence(a, b); first != 0 {
			return first
		}
	}
	return cmp.Or(
		cmp.Compare(x.PathKind, y.PathKind),
		cmp.Compare(len(b.path), len(a.path)),
		yesFirst(x.Method != "", y.Method != ""),
		cmp.Compare(len(y.Headers)+len(y.HeaderRegex), len(x.Headers)+len(x.HeaderRegex)),
		cmp.Compare(len(y.Query)+len(y.QueryRegex), len(x.Query)+len(x.QueryRegex)),
		strings.Compare(a.route.name.Namespace, b.route.name.Namespace),
		strings.Compare(a.route.name.Name, b.route.name.Name),
		cmp.Compare(a.rule, b.rule),
		cmp.Compare(a.match, b.match),
	)
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
