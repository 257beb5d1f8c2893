package v1alpha1

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// GatewayGroup is the API group of the Gateway API.
const GatewayGroup = "gateway.networking.k8s.io"

func (c *checker) authPolicy(s *AuthPolicySpec) {
	if len(s.TargetRefs) == 0 {
		c.fail("spec.targetRefs", "required", "a policy needs a target", "name the Mesh, Gateway, HTTPRoute or Workload that it is for")
	}
	for i := range s.TargetRefs {
		c.target(index("spec.targetRefs", i), &s.TargetRefs[i])
	}
	if s.Override != "" {
		c.oneOf("spec.override", s.Override, OverrideAllowed)
	}
	c.authentication(s)
	if s.Rules == nil {
		c.fail("spec.rules", "required", "a policy needs rules", "write rules: [] to deny everything")
	}
	names := map[string]bool{}
	for i := range s.Rules {
		at := index("spec.rules", i)
		r := &s.Rules[i]
		if c.required(at+".name", r.Name) && names[r.Name] {
			c.fail(at+".name", "duplicate-value", fmt.Sprintf("another rule is named %q", r.Name), "decisions are told by the name of the rule")
		}
		names[r.Name] = true
		c.rule(at, r, s.Authentication.accepts())
	}
	c.upstream(s.Upstream)
	c.responses(s)
}

func (c *checker) target(at string, t *PolicyTarget) {
	groups := map[string]string{
		KindMesh: Group, KindWorkload: Group, "Gateway": GatewayGroup, "HTTPRoute": GatewayGroup, "GRPCRoute": GatewayGroup,
	}
	group, ok := groups[t.Kind]
	switch {
	case !ok:
		c.fail(at+".kind", "unsupported-value", fmt.Sprintf("a policy can't attach to kind %q", t.Kind), "one of: Mesh, Gateway, HTTPRoute, GRPCRoute, Workload")
	case t.Group != group:
		c.fail(at+".group", "unsupported-value", fmt.Sprintf("%s is not of group %q", t.Kind, t.Group), "write group: "+group)
	}
	c.name(at+".name", t.Name)
	if t.SectionName == "" {
		return
	}
	if t.Kind == KindMesh {
		c.fail(at+".sectionName", "unsupported-value", "a Mesh has no sections", "remove it")
	} else if len(t.SectionName) > 253 || !objectName.MatchString(t.SectionName) {
		c.fail(at+".sectionName", "invalid-name", fmt.Sprintf("%q is not the name of a section", t.SectionName), "")
	}
}

func (c *checker) rule(at string, r *PolicyRule, accepts []string) {
	c.oneOf(at+".action", r.Action, ActionAllow, ActionDeny)
	c.oneOf(at+".mode", r.Mode, ModeEnforce, ModeAudit)
	c.ruleAuthentication(at, r, accepts)
	if r.Action == ActionAllow && len(accepts)+len(r.From)+len(r.Authentication) == 0 {
		c.fail(at, "allows-everybody", fmt.Sprintf("rule %q asks for no user and no peer: it would allow everybody", r.Name),
			"add from, or spec.authentication.issuers, or say authentication: [anonymous] if that is meant")
	}
	for i := range r.From {
		c.peer(index(at+".from", i), &r.From[i])
	}
	for i := range r.To {
		c.operation(index(at+".to", i), &r.To[i])
	}
	if r.Require == nil {
		return
	}
	if len(accepts) == 0 && !r.Require.onlyCondition() {
		c.fail(at+".require", "require-without-issuers", "no user token is read by this policy, so nothing can be required of it",
			"add spec.authentication.issuers")
	}
	for _, a := range []string{AuthenticationAnonymous, AuthenticationPeer} {
		if slices.Contains(r.Authentication, a) && !r.Require.onlyCondition() {
			c.warn(at+".require", "require-of-anonymous", "a rule with requirements never matches without a user", "remove "+a+" from authentication")
		}
	}
	c.require(at+".require", r.Require)
	c.furtherRequire(at+".require", r.Action, r.Require)
}

func (c *checker) peer(at string, p *RulePeer) {
	n := 0
	for _, v := range []string{p.SPIFFEID, p.SPIFFEIDPrefix, p.Workload, p.Gateway} {
		if v != "" {
			n++
		}
	}
	switch {
	case n != 1:
		c.fail(at, "one-of", "a peer is told by exactly one field", "set one of spiffeID, spiffeIDPrefix, workload, gateway")
	case p.SPIFFEID != "":
		c.spiffeID(at+".spiffeID", p.SPIFFEID)
	case p.SPIFFEIDPrefix != "":
		if strings.HasSuffix(p.SPIFFEIDPrefix, "*") {
			c.fail(at+".spiffeIDPrefix", "invalid-spiffe-id", "a prefix has no wildcard", "leave the * out: whole segments are compared")
			return
		}
		c.spiffeID(at+".spiffeIDPrefix", p.SPIFFEIDPrefix)
	case p.Workload != "":
		c.name(at+".workload", p.Workload)
	case p.Gateway != "":
		c.name(at+".gateway", p.Gateway)
	}
}

// methodToken is a token of RFC 9110 §5.6.2.
var methodToken = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// variable is the name of a path variable, as a condition writes it.
var variable = regexp.MustCompile("^[A-Za-z_][A-Za-z0-9_]*$")

func (c *checker) operation(at string, o *RuleOperation) {
	c.headers(at+".headers", o.Headers)
	if len(o.Methods)+len(o.Paths)+len(o.Hosts)+len(o.GRPC)+len(o.Headers) == 0 {
		c.fail(at, "empty-value", "an operation without methods, paths, hosts, headers and grpc is any operation", "remove it, or say what is called")
	}
	c.grpcOperations(at, o)
	for i, m := range o.Methods {
		p := index(at+".methods", i)
		switch {
		case !methodToken.MatchString(m) || m == "*":
			c.fail(p, "invalid-value", fmt.Sprintf("%q is not a method", m), "leave methods out for any method")
		case strings.ToUpper(m) != m:
			c.warn(p, "lower-case-method", fmt.Sprintf("methods are case-sensitive: %q is not %q", m, strings.ToUpper(m)), "write "+strings.ToUpper(m))
		}
	}
	for i, pattern := range o.Paths {
		if problem, hint := pathProblem(pattern); problem != "" {
			c.fail(index(at+".paths", i), "invalid-path", fmt.Sprintf("%q %s", pattern, problem), hint)
		}
	}
	for i, h := range o.Hosts {
		c.host(index(at+".hosts", i), h)
	}
}

// pathProblem says what is wrong with a path pattern, and what to do.
func pathProblem(p string) (problem, hint string) {
	body := strings.TrimSuffix(p, "/*")
	switch {
	case !strings.HasPrefix(p, "/"):
		return `does not begin with "/"`, `write "/` + strings.TrimPrefix(p, "*") + `"`
	case strings.Contains(body, "*"):
		return `has "*" elsewhere than as the last segment`, `"/a/*" is every path below /a`
	case strings.ContainsAny(p, ";?#\\"):
		return `has one of ; ? # \`, "no canonical path holds them"
	case strings.Contains(p, "%"):
		return "is percent-encoded", "write the characters themselves: paths are compared decoded"
	case strings.Contains(p, "//"):
		return `has an empty segment`, `canonical paths have none`
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "has a control character", ""
	}
	for s := range strings.SplitSeq(body, "/") {
		if s == "." || s == ".." {
			return `has a segment "` + s + `"`, "canonical paths have none"
		}
	}
	return variableProblem(body)
}

func (c *checker) host(at, h string) {
	if _, err := netip.ParseAddr(h); err == nil || isHost(h) {
		return
	}
	hint := `an exact name, or "*.example.com"`
	switch {
	case strings.Contains(h, ":"):
		hint = "hosts are compared without port"
	case strings.ToLower(h) != h:
		hint = "write it in lower case"
	case h == "*":
		hint = "leave hosts out for any host"
	}
	c.fail(at, "invalid-host", fmt.Sprintf("%q is not a host pattern", h), hint)
}

func (c *checker) require(at string, r *RuleRequirement) {
	if r.empty() {
		c.fail(at, "empty-value", "nothing is required", "remove it, or require scopes, claims, roles or a condition")
	}
	if s := r.Scopes; s != nil {
		if len(s.AllOf)+len(s.AnyOf) == 0 {
			c.fail(at+".scopes", "empty-value", "no scope is required", "add allOf or anyOf")
		}
		c.scopes(at+".scopes.allOf", s.AllOf)
		c.scopes(at+".scopes.anyOf", s.AnyOf)
	}
	for i := range r.Claims {
		c.claim(index(at+".claims", i), &r.Claims[i])
	}
	if r.Principal != "" {
		c.oneOf(at+".principal", r.Principal, PrincipalUser, PrincipalService)
	}
}

// scopeToken is that of RFC 6749 §3.3.
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

func (c *checker) scopes(at string, scopes []string) {
	for i, s := range scopes {
		if !scopeToken.MatchString(s) {
			c.fail(index(at, i), "invalid-scope", fmt.Sprintf("%q is not one scope (RFC 6749 3.3)", s), "write each scope as an item of the list")
		}
	}
}
