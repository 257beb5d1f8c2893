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

func readsHeaders(r *policy.Rule) bool {
	return r.Condition != "" || slices.ContainsFunc(r.To, func(op policy.Operation) bool { return len(op.Headers) > 0 })
}
