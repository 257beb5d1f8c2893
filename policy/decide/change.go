package decide

import (
	"cmp"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// change looks for the smallest set of changes after which Decide allows: of every level that does not allow, the rule with the fewest
// parts that fail. It is tried before it is told, for another rule may deny what it leads to.
func (r *Route) change(f *Facts) ([]Change, *ExplainedRule) {
	if r.denied != "" || len(r.levels) == 0 {
		return nil, nil
	}
	next, forbidden := *f, r.denyingRule(f)
	var changes []Change
	for _, l := range r.levels {
		if _, broken := l.broken(); broken {
			return nil, nil
		}
		if l.find(l.allow, &next) != nil {
			continue
		}
		step := l.step(&next)
		if step == nil {
			return nil, forbidden
		}
		for i := range step {
			step[i].apply(&next)
		}
		changes = append(changes, step...)
	}
	if d := r.decide(&next); !d.Allowed() {
		return nil, cmp.Or(forbidden, r.denyingRule(&next))
	}
	if len(changes) == 0 {
		return nil, forbidden
	}
	return changes, nil
}

// step is what the rule of l lacks that lacks least and then matches.
func (l *level) step(f *Facts) []Change {
	type option struct {
		changes []Change
		id      int
	}
	var options []option
	for i := range l.rules {
		c := &l.rules[i]
		if c.rule.Audit || c.rule.Action != policy.Allow {
			continue
		}
		if changes, ok := c.lacks(f); ok {
			options = append(options, option{changes, i})
		}
	}
	slices.SortStableFunc(options, func(a, b option) int { return cmp.Compare(weight(a.changes), weight(b.changes)) })
	for i, o := range options {
		if i >= maxTried {
			break
		}
		next := *f
		for j := range o.changes {
			o.changes[j].apply(&next)
		}
		if l.rules[o.id].matches(&next) && l.find(l.deny, &next) == nil {
			return o.changes
		}
	}
	return nil
}

// weight of changes: another user, or one that may more, is less of a change than another request.
func weight(changes []Change) int {
	n := 0
	for _, c := range changes {
		switch c.What {
		case "path", "host", "method":
			n += 100
		case "peer":
			n += 10
		default:
			n++
		}
	}
	return n
}

// lacks are the changes that c needs; false where one can't be named.
func (c *compiled) lacks(f *Facts) ([]Change, bool) {
	var out []Change
	for _, p := range c.parts(f) {
		switch {
		case p.Holds:
		case p.needed == nil:
			return nil, false
		default:
			out = append(out, *p.needed)
		}
	}
	return out, true
}

// denyingRule is the deny rule that matches f, nil where none does.
func (r *Route) denyingRule(f *Facts) *ExplainedRule {
	d, denied := r.denies(f)
	if !denied {
		for other := range readings(f) {
			g := other.as(f)
			if d, denied = r.denies(&g); denied {
				break
			}
		}
	}
	if !denied {
		return nil
	}
	return &ExplainedRule{Policy: d.Policy, Rule: d.Rule, Action: policy.Deny, Matches: true}
}

// Changed is f with the Changes made.
func (e *Explanation) Changed(f *Facts) *Facts {
	next := *f
	for i := range e.Changes {
		e.Changes[i].apply(&next)
	}
	return &next
}
