package extauthz

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// maxAuditSeries bounds how many audit rules are counted by name; all others count as one, without a name.
const maxAuditSeries = 1000

// audits count what audit rules would have done. Rules of the newest Set are there from the beginning, at zero: a rule that matches nothing
// is told from one that is not in force. Safe for concurrent use.
type audits struct {
	total *prometheus.CounterVec
	mu    sync.RWMutex
	known map[decide.AuditHit]prometheus.Counter
	rest  map[policy.Action]prometheus.Counter
}

func newAudits() *audits {
	a := &audits{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "credence_rule_audit_total",
			Help: "Requests that matched a rule with mode: audit, by the action that it would have taken.",
		}, []string{"policy", "rule", "action"}),
		known: map[decide.AuditHit]prometheus.Counter{},
	}
	a.rest = map[policy.Action]prometheus.Counter{
		policy.Allow: a.total.WithLabelValues("", "", actionWord(policy.Allow)), policy.Deny: a.total.WithLabelValues("", "", actionWord(policy.Deny)),
	}
	return a
}

// publish makes rules the ones that are counted by name. What is gone is counted no more.
func (a *audits) publish(rules []decide.AuditHit) {
	if len(rules) > maxAuditSeries {
		rules = rules[:maxAuditSeries]
	}
	next := make(map[decide.AuditHit]prometheus.Counter, len(rules))
	for _, r := range rules {
		next[r] = a.total.WithLabelValues(r.Policy.String(), r.Rule, actionWord(r.Action))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for r := range a.known {
		if next[r] == nil {
			a.total.DeleteLabelValues(r.Policy.String(), r.Rule, actionWord(r.Action))
		}
	}
	a.known = next
}

func (a *audits) count(hits []decide.AuditHit) {
	if len(hits) == 0 {
		return
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, h := range hits {
		c := a.known[h]
		if c == nil {
			c = a.rest[policy.Deny]
			if h.Action == policy.Allow {
				c = a.rest[policy.Allow]
			}
		}
		c.Inc()
	}
}

func actionWord(a policy.Action) string {
	if a == policy.Allow {
		return "allow"
	}
	return "deny"
}
