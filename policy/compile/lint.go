package compile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// lintPolicies tells of policies that attach to nothing and of rules that can never match or never matter.
func (c *compiler) lintPolicies() {
	for _, p := range c.attached.all {
		reached := 0
		for _, t := range p.targets {
			reached += c.attached.reached[t]
		}
		if reached == 0 {
			c.warnAt(place{p.obj, "spec.targetRefs"}, "policy-attaches-to-nothing",
				p.obj.Key.String()+" is in force on no route and no port", "check its targetRefs, and that its targets are served")
			continue
		}
		c.lintShadowed(p)
		for _, r := range p.rules {
			for _, t := range p.targets {
				if why := c.neverMatches(t, &r); why != "" {
					c.warnAt(place{p.obj, fmt.Sprintf("spec.rules[%d]", r.index)}, "rule-never-matches",
						fmt.Sprintf("rule %s of %s can never match at %s: %s", r.Name, p.obj.Key, t, why), "")
				}
			}
		}
	}
}

// lintShadowed tells of allow rules beside a deny rule that matches every request.
func (c *compiler) lintShadowed(p *authPolicy) {
	all := slices.IndexFunc(p.rules, func(r rule) bool {
		return r.Action == policy.Deny && !r.Audit && !r.NeedsUser && len(r.From) == 0 && len(r.To) == 0
	})
	if all < 0 {
		return
	}
	for _, r := range p.rules {
		if r.Action == policy.Allow && !r.Audit {
			c.warnAt(place{p.obj, fmt.Sprintf("spec.rules[%d]", r.index)}, "rule-shadowed",
				fmt.Sprintf("rule %s of %s never decides: rule %s denies every request", r.Name, p.obj.Key, p.rules[all].Name), "")
		}
	}
}

// neverMatches says why no request at t can match r; empty: one may.
func (c *compiler) neverMatches(t target, r *rule) string {
	if r.NeedsUser && r.unreadable {
		return "it needs a user, and the policy accepts no issuer"
	}
	if t.kind != policy.GatewayLevel && t.kind != policy.RouteLevel {
		return ""
	}
	if len(r.From) > 0 {
		return "callers of a gateway have no SPIFFE identity"
	}
	all := c.attached.served[t]
	if len(r.To) == 0 || len(all) == 0 {
		return ""
	}
	for _, s := range all {
		for i := range r.To {
			if overlaps(&r.To[i], s) {
				return ""
			}
		}
	}
	return "no method, path and host of it is served there"
}

func overlaps(op *policy.Operation, s served) bool {
	if len(op.Methods) > 0 && s.match.Method != "" && !slices.Contains(op.Methods, s.match.Method) {
		return false
	}
	if len(op.Hosts) > 0 && !slices.ContainsFunc(op.Hosts, func(h string) bool { return covers(h, s.host) || covers(s.host, h) }) {
		return false
	}
	return len(op.Paths) == 0 || slices.ContainsFunc(op.Paths, func(p policy.PathPattern) bool { return pathsOverlap(&p, s.match) })
}

// pathsOverlap tells whether a path can match both; in doubt it can.
func pathsOverlap(p *policy.PathPattern, m *policy.RouteMatch) bool {
	var segments []string
	trimmed := strings.Trim(m.Path, "/")
	if trimmed != "" {
		for _, s := range strings.Split(trimmed, "/") {
			plain, err := url.PathUnescape(s)
			if err != nil {
				return true
			}
			segments = append(segments, plain)
		}
	}
	switch {
	case m.PathKind == policy.PathPrefix && p.Prefix:
		return hasPrefix(segments, p.Segments) || hasPrefix(p.Segments, segments)
	case m.PathKind == policy.PathPrefix:
		return hasPrefix(p.Segments, segments)
	case p.Prefix:
		return hasPrefix(segments, p.Segments)
	}
	slash := len(segments) > 0 && strings.HasSuffix(m.Path, "/")
	return slices.Equal(segments, p.Segments) && slash == p.Slash
}

func hasPrefix(s, prefix []string) bool {
	return len(s) >= len(prefix) && slices.Equal(s[:len(prefix)], prefix)
}
