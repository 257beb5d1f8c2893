package decide

import (
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// explained bounds how many rules an explanation looks at, so that a refusal costs no more than an answer.
const explained = 64

// search is one walk over a level's rules.
type search struct {
	f     *Facts
	rules []compiled
	// limit is the last dimension that narrows; rules told apart by later ones are all candidates.
	limit dimension
	// see is called with every candidate until it returns false.
	see seeing
	// left candidates of an explanation.
	left int
	best candidate
	hits []AuditHit
}

// seeing selects what a search does with a candidate (a func value would escape to the heap).
type seeing int

const (
	seeMatch seeing = iota
	seeUser
	seePeer
	// seeHeaders looks at rules that would be for the operation but for its headers.
	seeHeaders
	seeAudit
	// seeAuditDeny leaves out rules that allow.
	seeAuditDeny
)

// candidate is the rule that comes nearest; rank 0 is the nearest.
type candidate struct {
	rule    *compiled
	id      int32
	rank    int
	missing int
	reason  Reason
}

func (c *candidate) nearer(than *candidate) bool {
	switch {
	case than.rule == nil:
		return true
	case c.rank != than.rank:
		return c.rank < than.rank
	case c.missing != than.missing:
		return c.missing < than.missing
	}
	return c.id < than.id
}

// visit returns false when the search is over.
func (s *search) visit(b *bucket) bool {
	if b == nil {
		return true
	}
	if b.dim > s.limit || b.dim == undivided {
		for _, id := range b.all {
			if !s.candidate(id) {
				return false
			}
		}
		return true
	}
	return s.visitKeys(b) && s.visit(b.rest)
}

func (s *search) visitKeys(b *bucket) bool {
	switch b.dim {
	case byPath:
		return s.visitPath(b.path, s.f.Segments)
	case byHost:
		return s.visit(b.exact[s.f.Host]) && s.visitSuffixes(b.under)
	case byMethod:
		return s.visit(b.exact[s.f.Method])
	case byPeer:
		return s.visit(b.exact[s.f.Peer]) && s.visitPrefixes(b.under)
	case byScope:
		if s.f.User == nil {
			return true
		}
		for _, scope := range s.f.User.Scopes {
			if !s.visit(b.exact[scope]) {
				return false
			}
		}
		return true
	case byClaim:
		return s.visitClaims(b.claims)
	case undivided:
		return true
	}
	return true
}

func (s *search) visitPath(t *trie, segments []string) bool {
	for i, segment := range segments {
		if !s.visit(t.tree) {
			return false
		}
		if t.any != nil && segment != "" && !s.visitPath(t.any, segments[i+1:]) {
			return false
		}
		if t = t.children[segment]; t == nil {
			return true
		}
	}
	return s.visit(t.exact) && s.visit(t.tree)
}

func (s *search) visitSuffixes(under map[string]*bucket) bool {
	if len(under) == 0 {
		return true
	}
	for host := s.f.Host; ; {
		_, rest, ok := strings.Cut(host, ".")
		if !ok {
			return true
		}
		if !s.visit(under[rest]) {
			return false
		}
		host = rest
	}
}

func (s *search) visitPrefixes(under map[string]*bucket) bool {
	if len(under) == 0 {
		return true
	}
	for i := len(s.f.Peer) - 1; i > 0; i-- {
		if s.f.Peer[i] == '/' && !s.visit(under[s.f.Peer[:i]]) {
			return false
		}
	}
	return true
}

func (s *search) visitClaims(claims []claimValues) bool {
	if s.f.User == nil {
		return true
	}
	for i := range claims {
		v, ok := claimAt(s.f.User.Claims, claims[i].path)
		if !ok {
			continue
		}
		list, isList := v.([]any)
		if !isList {
			if key, ok := claimKey(v); ok && !s.visit(claims[i].values[key]) {
				return false
			}
			continue
		}
		for _, e := range list {
			if key, ok := claimKey(e); ok && !s.visit(claims[i].values[key]) {
				return false
			}
		}
	}
	return true
}

// candidate looks at one rule; false ends the search.
func (s *search) candidate(id int32) bool {
	c := &s.rules[id]
	switch s.see {
	case seeMatch:
		if c.matches(s.f) {
			s.best = candidate{rule: c, id: id}
			return false
		}
		return true
	case seeAudit, seeAuditDeny:
		if (s.see == seeAudit || c.rule.Action == policy.Deny) && c.matches(s.f) {
			s.addHit(c)
		}
		return len(s.hits) < MaxAudit
	case seeUser:
		s.left--
		if c.matchesOperation(s.f) && c.matchesPeer(s.f.Peer) {
			s.keep(nearIdentity(c, s.f), c, id)
		}
	case seePeer:
		s.left--
		if c.matchesOperation(s.f) {
			near := candidate{reason: PeerNotAllowed}
			if !c.matchesIdentity(s.f) {
				near.rank = 1
			}
			s.keep(near, c, id)
		}
	case seeHeaders:
		s.left--
		if c.matchesButHeaders(s.f) {
			near := candidate{reason: HeadersMismatch}
			if !c.matchesPeer(s.f.Peer) || !c.matchesIdentity(s.f) {
				near.rank = 1
			}
			s.keep(near, c, id)
		}
	}
	return s.left > 0
}

func (s *search) keep(near candidate, c *compiled, id int32) {
	near.rule, near.id = c, id
	if near.nearer(&s.best) {
		s.best = near
	}
}

func (s *search) addHit(c *compiled) {
	hit := AuditHit{Policy: c.policy.Name, Rule: c.rule.Name, Action: c.rule.Action}
	for _, h := range s.hits {
		if h == hit {
			return
		}
	}
	s.hits = append(s.hits, hit)
}

// nearIdentity says what the caller lacks for a rule whose operation and peer hold.
func nearIdentity(c *compiled, f *Facts) candidate {
	if c.matchesIdentity(f) { // nothing else is left
		return candidate{rank: 1, reason: ConditionFalse}
	}
	if c.rule.NeedsPeer && f.Peer == "" && (f.User == nil || c.needsUser || len(c.rule.Credentials) == 0) {
		return candidate{rank: 5, reason: PeerNotAllowed}
	}
	return nearUser(c, f)
}

// notAccepted is the reason for a credential that is of the wrong kind, or of whom the policy does not accept.
func notAccepted(u *User) Reason {
	if u.Credential == policy.BearerToken {
		return IssuerNotAccepted
	}
	return CredentialNotAccepted
}

// nearUser says what the user lacks for a rule whose operation and peer hold. A missing scope comes first: asking for it helps.
func nearUser(c *compiled, f *Facts) candidate {
	u := f.User
	switch {
	case u == nil:
		return candidate{reason: TokenMissing}
	case !c.accepts(u):
		return candidate{rank: 4, reason: notAccepted(u)}
	case !c.isKind(u):
		return candidate{rank: 4, reason: CredentialNotAccepted}
	case !c.isPrincipal(u): // whatever else it lacks, no scope would help
		return candidate{rank: 3, reason: PrincipalNotAllowed}
	}
	missing, wrong := c.countMissing(u), c.wrongUser(u)
	switch {
	case wrong == Undecided && missing > 0:
		return candidate{rank: 0, missing: missing, reason: InsufficientScope}
	case wrong == Undecided: // to sign in again helps as well
		return candidate{rank: 0, missing: 1, reason: InsufficientAuthentication}
	case missing == 0:
		return candidate{rank: 1, reason: wrong}
	}
	return candidate{rank: 2, missing: missing, reason: InsufficientScope}
}

// wrongUser says what the user is not, and no new token makes him; Undecided: nothing.
func (c *compiled) wrongUser(u *User) Reason {
	switch {
	case !c.hasClaims(u):
		return ClaimsMismatch
	case !c.hasRoles(u):
		return RolesMissing
	case !c.hasGroups(u):
		return GroupsMissing
	}
	return Undecided
}
