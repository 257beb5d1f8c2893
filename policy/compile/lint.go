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

// lintShadowed tells of allow rules on a target where a deny rule matches every request.
func (c *compiler) lintShadowed(p *authPolicy) {
	for _, t := range p.targets {
		for _, q := range c.attached.byTarget[t] {
			i := slices.IndexFunc(q.rules, deniesAll)
			if i < 0 {
				continue
			}
			for _, r := range p.rules {
				if r.Action == policy.Allow && !r.Audit {
					c.warnAt(place{p.obj, fmt.Sprintf("spec.rules[%d]", r.index)}, "rule-shadowed",
						fmt.Sprintf("rule %s of %s never decides at %s: rule %s of %s denies every request",
							r.Name, p.obj.Key, t, q.rules[i].Name, q.obj.Key), "")
				}
			}
		}
	}
}

func deniesAll(r rule) bool {
	return r.Action == policy.Deny && !r.Audit && !r.NeedsUser && len(r.From) == 0 && len(r.To) == 0 && r.Condition == ""
}

// neverMatches says why no request at t can match r; empty: one may.
func (c *compiler) neverMatches(t target, r *rule) string {
	if r.NeedsUser && r.unreadable {
		return "it needs a user, and the policy accepts no credential"
	}
	if t.kind != policy.GatewayLevel && t.kind != policy.RouteLevel {
		return ""
	}
	if (len(r.From) > 0 || r.NeedsPeer && len(r.Credentials) == 0) && !c.gatewayPeers {
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
	method := s.out.Match.Method
	if len(op.Methods) > 0 && method != "" && !slices.Contains(op.Methods, method) {
		return false
	}
	if len(op.Hosts) > 0 && !slices.ContainsFunc(op.Hosts, func(h string) bool { return covers(h, s.host) || covers(s.host, h) }) {
		return false
	}
	return len(op.Paths) == 0 || slices.ContainsFunc(op.Paths, func(p policy.PathPattern) bool { return pathsOverlap(&p, s.candidate) })
}

// pathsOverlap tells whether a path can match both; in doubt it can.
func pathsOverlap(p *policy.PathPattern, x *candidate) bool {
	prefix := x.out.Match.PathKind == policy.PathPrefix
	switch {
	case x.undecodable:
		return true
	case prefix && p.Prefix:
		return agree(p, x.segments)
	case prefix:
		return len(p.Segments) >= len(x.segments) && agree(p, x.segments)
	case p.Prefix:
		return len(x.segments) >= len(p.Segments) && agree(p, x.segments)
	}
	slash := len(x.segments) > 0 && strings.HasSuffix(x.out.Match.Path, "/")
	return len(x.segments) == len(p.Segments) && agree(p, x.segments) && slash == p.Slash
}

// agree tells whether the segments that both have can be the same.
func agree(p *policy.PathPattern, segments []string) bool {
	for i := range min(len(p.Segments), len(segments)) {
		variable := i < len(p.Variables) && p.Variables[i] != ""
		if !variable && p.Segments[i] != segments[i] {
			return false
		}
	}
	return true
}

// pathSegments splits the path of a match; true: a segment cannot be decoded.
func pathSegments(path string) ([]string, bool) {
	trimmed := strings.Trim(path, "/")
	if trimmed == "" {
		return nil, false
	}
	segments := strings.Split(trimmed, "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return nil, true
		}
		segments[i] = plain
	}
	return segments, false
}
