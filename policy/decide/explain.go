package decide

import (
	"cmp"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// Limits of an Explanation: it is for people, and a route may have a hundred thousand rules.
const (
	// MaxExplained is how many rules of one level are shown, the nearest first.
	MaxExplained = 20
	// maxTried bounds how many rules of one level are tried for the smallest change.
	maxTried = 64
)

// Explanation is a Decision with all that led to it. It is made by the same comparisons as the Decision, so they cannot disagree.
type Explanation struct {
	Decision Decision
	// Levels from the outermost.
	Levels []ExplainedLevel
	// Changes are the smallest ones that, taken together, would have allowed the request; empty where it was allowed, or where no change of the request or its
	// user would help: then Forbidden names the deny rule that stands in the way, if one does.
	Changes   []Change
	Forbidden *ExplainedRule
}

// ExplainedLevel is one level of the route.
type ExplainedLevel struct {
	Kind policy.LevelKind
	// Allows: one of its allow rules matches, and it can be evaluated.
	Allows bool
	// Rules, the nearest to a match first, at most MaxExplained; More were left out.
	Rules []ExplainedRule
	More  int
}

// ExplainedRule is one rule and the truth of its parts.
type ExplainedRule struct {
	Policy policy.Name
	Rule   string
	Action policy.Action
	Audit  bool
	// Matches is true exactly when every part holds, or, for a deny rule, when another reading of the path makes it match.
	Matches bool
	Parts   []Part
}

// Part is one thing that a rule asks for.
type Part struct {
	// Name is method, path, host, headers, peer, credential, principal, scopes, roles, groups, claims, acr, max_age or condition.
	Name  string
	Holds bool
	// Want says what would hold.
	Want string
	// needed is what would have to change; nil: it holds, or nothing can be named.
	needed *Change
}

// Change of a request or its user.
type Change struct {
	// What is a Part's name.
	What string
	// To is the value: a method, a scope, a SPIFFE ID, an expression that must be true.
	To string

	apply func(*Facts)
}

// Explain decides f as Decide does and says why. It costs time in the number of rules and is for people, not for requests.
func (r *Route) Explain(f *Facts) Explanation {
	e := Explanation{Decision: r.Decide(f)}
	if r == nil || f == nil {
		return e
	}
	for _, l := range r.levels {
		e.Levels = append(e.Levels, l.truth(f))
	}
	if !e.Decision.Allowed() {
		e.Changes, e.Forbidden = r.change(f)
	}
	return e
}

func (l *level) truth(f *Facts) ExplainedLevel {
	out := ExplainedLevel{Kind: l.kind}
	_, broken := l.broken()
	for i := range l.rules {
		x := explainRule(&l.rules[i], f)
		if x.Matches && x.Action == policy.Allow && !x.Audit {
			out.Allows = !broken
		}
		out.Rules = append(out.Rules, x)
	}
	slices.SortStableFunc(out.Rules, func(a, b ExplainedRule) int {
		return cmp.Or(boolOrder(a.Matches, b.Matches), cmp.Compare(a.failing(), b.failing()))
	})
	if n := len(out.Rules); n > MaxExplained {
		out.Rules, out.More = out.Rules[:MaxExplained], n-MaxExplained
	}
	return out
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func (x *ExplainedRule) failing() int {
	n := 0
	for i := range x.Parts {
		if !x.Parts[i].Holds {
			n++
		}
	}
	return n
}

func explainRule(c *compiled, f *Facts) ExplainedRule {
	x := ExplainedRule{Policy: c.policy.Name, Rule: c.rule.Name, Action: c.rule.Action, Audit: c.rule.Audit, Matches: c.matches(f), Parts: c.parts(f)}
	if c.rule.Action == policy.Deny && !x.Matches {
		for other := range readings(f) {
			g := other.as(f)
			if c.matches(&g) {
				x.Matches = true
				x.Parts = append(x.Parts, Part{Name: "path", Holds: true, Want: "another reading of the path"})
				break
			}
		}
	}
	return x
}
