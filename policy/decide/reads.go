package decide

import (
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// ReadsHeaders tells whether a rule of the route may look at the headers, the query, the scheme or the caller's address.
func (r *Route) ReadsHeaders() bool {
	reads := func(l *level) bool { return l.readsHeaders }
	return slices.ContainsFunc(r.levels, reads) || slices.ContainsFunc(r.today, reads)
}

// AuditRules are all audit rules that decide about some route, in the order of the Set.
func (ix *Index) AuditRules() []AuditHit {
	var out []AuditHit
	seen := map[AuditHit]bool{}
	for _, r := range ix.order {
		for _, l := range r.levels {
			for i := range l.rules {
				c := &l.rules[i]
				hit := AuditHit{Policy: c.policy.Name, Rule: c.rule.Name, Action: c.rule.Action}
				if c.rule.Audit && !seen[hit] {
					seen[hit] = true
					out = append(out, hit)
				}
			}
		}
	}
	return out
}

func readsHeaders(r *policy.Rule) bool {
	return r.Condition != "" || slices.ContainsFunc(r.To, func(op policy.Operation) bool { return len(op.Headers) > 0 })
}
