package decide

import "strings"

// Decide answers for one request. Deny rules of all levels come first, then every level, from the outermost, must have an allow rule that
// matches. Audit rules are reported and decide nothing. f is only read. An allow does not allocate unless audit rules match.
func (r *Route) Decide(f *Facts) Decision {
	if r == nil || f == nil {
		return Decision{}
	}
	d := r.decide(f)
	if r.audited {
		d.Audit = r.audit(f)
	}
	return d
}

func (r *Route) decide(f *Facts) Decision {
	if r.denied != "" {
		d := deny(TargetDenied, 0, nil)
		d.Detail = r.denied
		return d
	}
	if len(r.levels) == 0 {
		return deny(NoPolicy, 0, nil)
	}
	for _, l := range r.levels {
		if d, bad := l.broken(); bad {
			return d
		}
	}
	if d, denied := r.denies(f); denied {
		return d
	}
	for other := range readings(f) {
		g := other.as(f)
		if d, denied := r.denies(&g); denied {
			return d
		}
	}
	var last *compiled
	for _, l := range r.levels {
		if last = l.find(l.allow, f); last == nil {
			return l.explain(f)
		}
	}
	return allow(r.levels[len(r.levels)-1].kind, last)
}

// denies looks for a deny rule that matches f.
func (r *Route) denies(f *Facts) (Decision, bool) {
	for _, levels := range [2][]*level{r.levels, r.today} {
		for _, l := range levels {
			if c := l.find(l.deny, f); c != nil {
				return deny(DeniedByRule, l.kind, c), true
			}
		}
	}
	return Decision{}, false
}

// broken answers for a level that cannot be evaluated.
func (l *level) broken() (Decision, bool) {
	switch {
	case l.unknown != nil:
		d := Decision{Reason: TargetDenied, Level: l.kind, Policy: *l.unknown}
		d.Detail = "policy " + l.unknown.String() + " is not in the set"
		return d, true
	case l.missing != nil:
		d := Decision{Reason: CredentialsMissing, Level: l.kind, Policy: l.missing.Name}
		if len(l.missing.MissingIssuers) > 0 {
			d.Reason = IssuerMissing
			d.Detail = "issuer " + l.missing.MissingIssuers[0].String() + " does not exist"
		} else {
			d.Detail = "there are no such users in Credentials " + l.missing.MissingCredentials[0].String()
		}
		return d, true
	}
	return Decision{}, false
}

func (l *level) find(b *bucket, f *Facts) *compiled {
	if b == nil {
		return nil
	}
	s := search{f: f, rules: l.rules, limit: undivided, see: seeMatch}
	s.visit(b)
	return s.best.rule
}

// explain says why no allow rule of the level matches. First it looks at rules for this operation and this peer: they lack only the
// user. Where there is none, the peer is wrong; where no rule is for the operation, nothing matches.
func (l *level) explain(f *Facts) Decision {
	s := search{f: f, rules: l.rules, limit: byPeer, see: seeUser, left: explained}
	s.visit(l.allow)
	if s.best.rule == nil {
		s = search{f: f, rules: l.rules, limit: byMethod, see: seePeer, left: explained}
		s.visit(l.allow)
	}
	if s.best.rule == nil && l.readsHeaders {
		s = search{f: f, rules: l.rules, limit: byMethod, see: seeHeaders, left: explained}
		s.visit(l.allow)
	}
	if s.best.rule == nil {
		return deny(NoRuleMatches, l.kind, nil)
	}
	d := deny(s.best.reason, l.kind, s.best.rule)
	d.lack(&s.best, f)
	return d
}

// lack says what the user lacks for the nearest rule.
func (d *Decision) lack(near *candidate, f *Facts) {
	r := near.rule.rule
	switch near.reason { //nolint:exhaustive // the others lack nothing that can be listed
	case InsufficientScope:
		d.MissingScopes = near.rule.missingScopes(f.User)
	case RolesMissing:
		d.Detail = "roles: " + strings.Join(missingNames(f.User.Roles, r.AllRoles, r.AnyRoles), " ")
	case GroupsMissing:
		d.Detail = "groups: " + strings.Join(missingNames(f.User.Groups, r.AllGroups, r.AnyGroups), " ")
	case InsufficientAuthentication:
		d.ACR, d.MaxAge = r.ACR, r.MaxAge
	}
}

func (r *Route) audit(f *Facts) []AuditHit {
	hits := r.auditAs(f, seeAudit, nil)
	for other := range readings(f) {
		g := other.as(f)
		hits = r.auditAs(&g, seeAuditDeny, hits)
	}
	return hits
}

func (r *Route) auditAs(f *Facts, see seeing, hits []AuditHit) []AuditHit {
	for _, l := range r.levels {
		if len(hits) >= MaxAudit {
			break
		}
		s := search{f: f, rules: l.rules, limit: undivided, see: see, hits: hits}
		s.visit(l.audit)
		hits = s.hits
	}
	return hits
}
