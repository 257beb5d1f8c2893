package app

import (
	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// recentOf finds the last decisions of s.
func recentOf(s *extauthz.Server) func(id string) (*admin.Decision, bool) {
	return func(id string) (*admin.Decision, bool) {
		e, ok := s.Recent(id)
		if !ok {
			return nil, false
		}
		return decisionOf(&e), true
	}
}

// explained fills d with what e says.
func explained(d *admin.Decision, e *decide.Explanation) {
	if e.Decision.Policy.Name != "" {
		d.Policy = e.Decision.Policy.String()
	}
	d.Rule = e.Decision.Rule
	for _, l := range e.Levels {
		level := admin.DecisionLevel{Level: levelName(l.Kind), Allows: l.Allows, Rules: []admin.DecisionRule{}, More: l.More}
		for _, r := range l.Rules {
			level.Rules = append(level.Rules, explainedRule(r))
		}
		d.Levels = append(d.Levels, level)
	}
	for _, c := range e.Changes {
		d.Changes = append(d.Changes, admin.Change{What: c.What, To: c.To})
	}
	if e.Forbidden != nil {
		d.Forbidden = e.Forbidden.Policy.String() + " " + e.Forbidden.Rule
	}
}

func explainedRule(r decide.ExplainedRule) admin.DecisionRule {
	out := admin.DecisionRule{Policy: r.Policy.String(), Rule: r.Rule, Action: "allow", Audit: r.Audit, Matches: r.Matches, Parts: []admin.DecisionPart{}}
	if r.Action == policy.Deny {
		out.Action = "deny"
	}
	for _, p := range r.Parts {
		out.Parts = append(out.Parts, admin.DecisionPart{Part: p.Name, Holds: p.Holds, Want: p.Want})
	}
	return out
}

func explainedUser(u *decide.User) *admin.User {
	if u == nil {
		return nil
	}
	return &admin.User{
		Credential: u.Credential.String(), Subject: u.Subject, Issuer: u.IssuerURL, Client: u.Client, Scopes: u.Scopes, Roles: u.Roles, Groups: u.Groups,
		Service: u.Service,
	}
}

func levelName(k policy.LevelKind) string {
	switch k {
	case policy.MeshLevel:
		return "Mesh"
	case policy.GatewayLevel:
		return "Gateway"
	case policy.RouteLevel:
		return "Route"
	case policy.WorkloadLevel:
		return "Workload"
	}
	return "unknown"
}
