package decide

import (
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/condition"
)

// compiled is one rule with the policy that it stands in.
type compiled struct {
	policy *policy.Policy
	rule   *policy.Rule
	// needsUser is Rule.NeedsUser; scopes, claims and everything else that is about a user need one whatever the Set says.
	needsUser bool
	// condition of the rule; nil: it has none, or one that can't be told.
	condition *condition.Program
}

func compileRule(p *policy.Policy, r *policy.Rule, programs conditions) compiled {
	c := compiled{
		policy: p, rule: r, condition: programs[r.Condition],
		needsUser: r.NeedsUser || len(r.AllScopes)+len(r.AnyScopes)+len(r.Claims)+len(r.AllRoles)+len(r.AnyRoles)+len(r.AllGroups)+
			len(r.AnyGroups)+len(r.ACR) > 0 || r.MaxAge > 0 || r.Principal != policy.AnyPrincipal,
	}
	c.needsUser = c.needsUser || c.condition != nil && c.condition.Uses().NeedsUser()
	return c
}

// possible is false for a rule that needs a user in a policy that accepts none.
func (c *compiled) possible() bool { return !c.needsUser || c.policy.ReadsUser() }

func (c *compiled) matches(f *Facts) bool {
	return c.matchesPeer(f.Peer) && c.matchesOperation(f) && c.matchesIdentity(f) && c.holds(f)
}

func (c *compiled) matchesUser(f *Facts) bool {
	u := f.User
	return c.accepts(u) && c.isKind(u) && c.isPrincipal(u) && c.hasScopes(u) && c.hasClaims(u) && c.hasRoles(u) && c.hasGroups(u) &&
		c.signedIn(f)
}

// isPrincipal tells whether the token speaks for whom the rule asks. A kind that this version does not know is nobody's.
func (c *compiled) isPrincipal(u *User) bool {
	switch c.rule.Principal {
	case policy.AnyPrincipal:
		return true
	case policy.UserPrincipal:
		return !u.Service
	case policy.ServicePrincipal:
		return u.Service
	}
	return false
}

func (c *compiled) matchesPeer(peer string) bool {
	if len(c.rule.From) == 0 {
		return true
	}
	if peer == "" {
		return false
	}
	for i := range c.rule.From {
		p := &c.rule.From[i]
		if peer == p.ID {
			return true
		}
		if p.Prefix && len(peer) > len(p.ID) && peer[len(p.ID)] == '/' && strings.HasPrefix(peer, p.ID) {
			return true
		}
	}
	return false
}

func (c *compiled) matchesOperation(f *Facts) bool {
	if len(c.rule.To) == 0 {
		return true
	}
	for i := range c.rule.To {
		if op := &c.rule.To[i]; c.matchesMessage(op, f) && matchesPaths(op.Paths, f) {
			return true
		}
	}
	return false
}

// matchesMessage is all of an operation but its paths.
func (c *compiled) matchesMessage(op *policy.Operation, f *Facts) bool {
	return matchesMethods(op.Methods, f.Method) && matchesHosts(op.Hosts, f.Host) && matchesHeaders(op.Headers, f, c.denies())
}

// matchesButHeaders tells whether an operation would match if its headers did.
func (c *compiled) matchesButHeaders(f *Facts) bool {
	for i := range c.rule.To {
		if op := &c.rule.To[i]; matchesMethods(op.Methods, f.Method) && matchesHosts(op.Hosts, f.Host) && matchesPaths(op.Paths, f) {
			return true
		}
	}
	return false
}

func matchesMethods(methods []string, method string) bool {
	return len(methods) == 0 || slices.Contains(methods, method)
}

func matchesHosts(hosts []string, host string) bool {
	if len(hosts) == 0 {
		return true
	}
	for _, h := range hosts {
		if suffix, ok := strings.CutPrefix(h, "*"); ok {
			// "*.example.com" stands for one label or more, so the bare suffix does not match.
			if len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
				return true
			}
		} else if h == host {
			return true
		}
	}
	return false
}

func matchesPaths(paths []policy.PathPattern, f *Facts) bool {
	if len(paths) == 0 {
		return true
	}
	for i := range paths {
		if matchesPath(&paths[i], f) {
			return true
		}
	}
	return false
}

func matchesPath(p *policy.PathPattern, f *Facts) bool {
	if len(f.Segments) < len(p.Segments) || !p.Prefix && (p.Slash != f.Slash || len(f.Segments) != len(p.Segments)) {
		return false
	}
	for i, s := range p.Segments {
		if isVariable(p, i) {
			if f.Segments[i] == "" {
				return false
			}
		} else if f.Segments[i] != s {
			return false
		}
	}
	return true
}

// isVariable tells whether segment i of the pattern may be any.
func isVariable(p *policy.PathPattern, i int) bool {
	return i < len(p.Variables) && p.Variables[i] != ""
}

func holdsScope(u *User, scope string) bool {
	_, ok := slices.BinarySearch(u.Scopes, scope)
	return ok
}

func (c *compiled) hasScopes(u *User) bool {
	for _, s := range c.rule.AllScopes {
		if !holdsScope(u, s) {
			return false
		}
	}
	return c.hasAnyScope(u)
}

func (c *compiled) hasAnyScope(u *User) bool {
	if len(c.rule.AnyScopes) == 0 {
		return true
	}
	for _, s := range c.rule.AnyScopes {
		if holdsScope(u, s) {
			return true
		}
	}
	return false
}

// countMissing is how many scopes the user would have to gain.
func (c *compiled) countMissing(u *User) int {
	n := 0
	for _, s := range c.rule.AllScopes {
		if !holdsScope(u, s) {
			n++
		}
	}
	if !c.hasAnyScope(u) {
		n++
	}
	return n
}

// missingScopes of allOf; where no alternative of anyOf is held, the first of them stands for all.
func (c *compiled) missingScopes(u *User) []string {
	var out []string
	for _, s := range c.rule.AllScopes {
		if !holdsScope(u, s) {
			out = append(out, s)
		}
	}
	if !c.hasAnyScope(u) && !slices.Contains(out, c.rule.AnyScopes[0]) {
		out = append(out, c.rule.AnyScopes[0])
	}
	slices.Sort(out)
	return out
}

func (c *compiled) hasClaims(u *User) bool {
	for i := range c.rule.Claims {
		if !HoldsClaim(u.Claims, &c.rule.Claims[i]) {
			return false
		}
	}
	return true
}

// HoldsClaim tells whether the value at the claim's path, or an element of it, equals one of its values. claims are those of a User.
func HoldsClaim(claims map[string]any, c *policy.Claim) bool {
	v, ok := claimAt(claims, c.Path)
	if !ok {
		return false
	}
	if list, ok := v.([]any); ok {
		for _, e := range list {
			if isOneOf(e, c.AnyOf) {
				return true
			}
		}
		return false
	}
	return isOneOf(v, c.AnyOf)
}

// isOneOf compares strings and booleans by their text, numbers by their value.
func isOneOf(v any, values []string) bool {
	if n, ok := v.(Number); ok {
		return slices.ContainsFunc(values, n.equals)
	}
	text, ok := claimText(v)
	return ok && slices.Contains(values, text)
}

// ClaimText is the one string, number or boolean at path, by its text. False: there is none, or it is of another type.
func ClaimText(claims map[string]any, path []string) (string, bool) {
	v, ok := claimAt(claims, path)
	if !ok {
		return "", false
	}
	return claimText(v)
}

// ClaimAt is the value at path, as decoded JSON: see User.Claims.
func ClaimAt(claims map[string]any, path []string) (any, bool) { return claimAt(claims, path) }

// ScalarText is a string as it is, a number or a boolean by its JSON text. False: v is of another type.
func ScalarText(v any) (string, bool) { return claimText(v) }

func claimAt(claims map[string]any, path []string) (any, bool) {
	if len(path) == 0 {
		return nil, false
	}
	for _, name := range path[:len(path)-1] {
		next, ok := claims[name].(map[string]any)
		if !ok {
			return nil, false
		}
		claims = next
	}
	v, ok := claims[path[len(path)-1]]
	return v, ok
}

// claimText is strings as they are, numbers and booleans by their JSON text. Null, objects and lists have none.
func claimText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Number:
		return string(v), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}
