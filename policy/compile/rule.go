package compile

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// policyRules compiles the rules. A rule that nothing can match any more (all its peers or operations are unusable) is left out:
// an empty list would mean "any".
func (c *compiler) policyRules(p *authPolicy) {
	unreadable := !readsUser(p.value.Spec.Authentication)
	for i := range p.value.Spec.Rules {
		if r, ok := c.rule(p, i); ok {
			p.rules = append(p.rules, rule{r, i, unreadable})
		}
	}
}

func (c *compiler) rule(p *authPolicy, i int) (policy.Rule, bool) {
	in := &p.value.Spec.Rules[i]
	at := place{p.obj, fmt.Sprintf("spec.rules[%d]", i)}
	out := policy.Rule{Name: in.Name, Audit: in.Mode == v1alpha1.ModeAudit}
	proved := true
	switch in.Action {
	case v1alpha1.ActionAllow, "":
		out.Action = policy.Allow
		proved = c.ruleAuthentication(&out, in, readsUser(p.value.Spec.Authentication), at)
	case v1alpha1.ActionDeny:
		out.Action = policy.Deny
	default:
		c.errorAt(at.at("action"), "action", fmt.Sprintf("%q is no action: the rule denies", in.Action), "allow or deny")
		out.Action = policy.Deny
	}
	for j := range in.From {
		if peer, ok := c.peer(p, &in.From[j], at.at("from[%d]", j), out.Action); ok {
			out.From = append(out.From, peer)
		}
	}
	for j := range in.To {
		op, ok := c.operation(&in.To[j], out.Action, at.at("to[%d]", j))
		if !ok && out.Action == policy.Deny {
			op.Paths, ok = nil, true // what it was to deny cannot be read: deny every path, whatever the headers that can't be
		}
		if ok {
			out.To = append(out.To, op)
		}
	}
	required := c.require(&out, in.Require, at.at("require"))
	if !required || !proved || (len(in.From) > 0 && len(out.From) == 0) || (len(in.To) > 0 && len(out.To) == 0) {
		c.warnAt(at, "rule-never-matches", fmt.Sprintf("rule %s of %s can never match: nothing that it names is there", in.Name, p.obj.Key), "")
		return out, false
	}
	return out, true
}

// peer resolves who calls. One that leads nowhere is no peer, never any peer.
func (c *compiler) peer(p *authPolicy, in *v1alpha1.RulePeer, at place, action policy.Action) (policy.Peer, bool) {
	n := policy.Name{Namespace: p.name.Namespace}
	switch {
	case in.Workload != "":
		n.Name = in.Workload
		if w, ok := c.workloadByName[n]; ok {
			return policy.Peer{ID: w.out.SPIFFEID}, true
		}
		return c.absentPeer(at.at("workload"), ourKey(v1alpha1.KindWorkload, n), c.defaultWorkloadID(n), action)
	case in.Gateway != "":
		n.Name = in.Gateway
		if g, ok := c.gatewayByName[n]; ok {
			return policy.Peer{ID: c.set.Gateways[g.index].SPIFFEID}, true
		}
		return c.absentPeer(at.at("gateway"), gatewayKey(kindGateway, n), c.gatewayID(n), action)
	case in.SPIFFEID != "":
		return c.peerID(in.SPIFFEID, false, at.at("spiffeID"))
	case in.SPIFFEIDPrefix != "":
		return c.peerID(strings.TrimSuffix(in.SPIFFEIDPrefix, "/"), true, at.at("spiffeIDPrefix"))
	}
	c.errorAt(at, "peer-missing", "a peer names nobody: it matches no caller", "set workload, gateway, spiffeID or spiffeIDPrefix")
	return policy.Peer{}, false
}

// absentPeer is a caller that is not in the manifests. To an allow rule it is nobody; a deny rule goes on to deny the ID that it had by
// default: an SVID outlives its Workload.
func (c *compiler) absentPeer(at place, key manifests.Key, id string, action policy.Action) (policy.Peer, bool) {
	if action == policy.Deny {
		c.errorAt(at, "peer-missing", c.absent(key)+": the rule denies "+id, "")
		return policy.Peer{ID: id}, true
	}
	c.errorAt(at, "peer-missing", c.absent(key)+": it matches no caller", "")
	return policy.Peer{}, false
}

// defaultWorkloadID is the SPIFFE ID of a Workload that names none; gatewayID that of a Gateway.
func (c *compiler) defaultWorkloadID(n policy.Name) string {
	return fmt.Sprintf("spiffe://%s/ns/%s/wl/%s", c.td.Name(), n.Namespace, n.Name)
}

func (c *compiler) gatewayID(n policy.Name) string {
	return fmt.Sprintf("spiffe://%s/ns/%s/gw/%s", c.td.Name(), n.Namespace, n.Name)
}

func (c *compiler) peerID(text string, prefix bool, at place) (policy.Peer, bool) {
	id, err := spiffeid.FromString(text)
	if err != nil || (id.Path() == "" && !prefix) {
		c.errorAt(at, "spiffe-id", fmt.Sprintf("%q is not a SPIFFE ID of a workload: it matches no caller", text), "")
		return policy.Peer{}, false
	}
	if !id.MemberOf(c.td) {
		c.warnAt(at, "peer-foreign", fmt.Sprintf("%s is not of trust domain %s: it matches no caller", text, c.td.Name()), "")
	}
	return policy.Peer{ID: text, Prefix: prefix}, true
}

// operation compiles what is called; false: one of its paths cannot be read.
func (c *compiler) operation(in *v1alpha1.RuleOperation, action policy.Action, at place) (policy.Operation, bool) {
	out := policy.Operation{Methods: append([]string(nil), in.Methods...)}
	good := c.grpcOperation(in, &out, action, at)
	headers, readable := c.ruleHeaders(in.Headers, at)
	out.Headers, good = headers, good && readable
	for i, p := range in.Paths {
		pattern, err := pathPattern(p)
		if err != nil {
			c.errorAt(at.at("paths[%d]", i), "path-pattern", err.Error()+": it is not used", `write "/a/b" or "/a/*"`)
			good = false
			continue
		}
		out.Paths = append(out.Paths, pattern)
	}
	for _, h := range in.Hosts {
		out.Hosts = append(out.Hosts, ruleHost(h))
	}
	return out, good
}

// ruleHost is a host as Check sees it: in lower case, IPv6 addresses in brackets and in one spelling.
func ruleHost(h string) string {
	if addr, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil && addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return strings.ToLower(h)
}

// pathPattern parses "/a/b" and "/a/*". Segments are literal: a pattern holds no percent-encoding.
func pathPattern(text string) (policy.PathPattern, error) {
	out := policy.PathPattern{Segments: []string{}}
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return out, fmt.Errorf("path %q does not begin with a slash", text)
	}
	if rest == "*" {
		out.Prefix = true
		return out, nil
	}
	if rest, out.Prefix = strings.CutSuffix(rest, "/*"); !out.Prefix {
		rest, out.Slash = strings.CutSuffix(rest, "/")
	}
	if rest == "" && !out.Prefix && !out.Slash {
		return out, nil
	}
	for _, s := range strings.Split(rest, "/") {
		if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "*%;") {
			return out, fmt.Errorf("path %q has a segment %q", text, s)
		}
		if err := addSegment(&out, text, s); err != nil {
			return out, err
		}
	}
	return out, nil
}

// require compiles what the token must hold. What can't be read makes a deny rule hold for more, and an allow rule for nobody (false).
func (c *compiler) require(out *policy.Rule, in *v1alpha1.RuleRequirement, at place) bool {
	if in == nil {
		return true
	}
	if in.Scopes != nil {
		if len(in.Scopes.AllOf) > 0 {
			out.AllScopes = sortedSet(in.Scopes.AllOf)
		}
		if len(in.Scopes.AnyOf) > 0 {
			out.AnyScopes = sortedSet(in.Scopes.AnyOf)
		}
	}
	good := true
	for i := range in.Claims {
		claim, ok := claimOf(&in.Claims[i])
		if !ok {
			c.errorAt(at.at("claims[%d]", i), "claim", "the claim has no path that can be read: an allow rule holds for nobody, a deny rule looks past it",
				"for example path: [realm_access, roles]")
			good = false
			continue
		}
		out.Claims = append(out.Claims, claim)
	}
	switch in.Principal {
	case "":
	case v1alpha1.PrincipalUser:
		out.Principal = policy.UserPrincipal
	case v1alpha1.PrincipalService:
		out.Principal = policy.ServicePrincipal
	default:
		c.errorAt(at.at("principal"), "principal", fmt.Sprintf("%q is neither: an allow rule holds for nobody, a deny rule for both", in.Principal), "user or service")
		good = false
	}
	good = c.requireFurther(out, in, at) && good
	if len(out.AllScopes)+len(out.AnyScopes)+len(in.Claims) > 0 || in.Principal != "" {
		out.NeedsUser = true
	}
	return good || out.Action == policy.Deny
}

func claimOf(in *v1alpha1.ClaimRequirement) (policy.Claim, bool) {
	path, err := in.Segments()
	return policy.Claim{Path: path, AnyOf: append([]string{}, in.AnyOf...)}, err == nil && len(path) > 0
}
