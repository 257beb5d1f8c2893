package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// parts are the truths of what c asks for; all hold exactly when c matches. They call what matches calls.
func (c *compiled) parts(f *Facts) []Part {
	out := c.operationParts(f)
	if len(c.rule.From) > 0 {
		out = append(out, c.peerPart(f))
	}
	out = append(out, c.identityParts(f)...)
	if c.needsUser {
		out = append(out, c.userParts(f)...)
	}
	if c.rule.Condition != "" {
		// What would make it true is not for us to say, so no change is.
		out = append(out, Part{Name: "condition", Want: c.rule.Condition, Holds: c.holds(f)})
	}
	return out
}

// identityParts say how the caller must have proved who it is; see matchesIdentity.
func (c *compiled) identityParts(f *Facts) []Part {
	var out []Part
	optional := !c.needsUser && f.User != nil && len(c.rule.Credentials) > 0
	if c.rule.NeedsPeer && !optional {
		// Which workload is not for the rule to say, so no change is.
		out = append(out, Part{Name: "peer", Holds: f.Peer != "", Want: "a calling workload"})
	}
	if f.User != nil && c.byItself() && !c.isKind(f.User) {
		nobody := &Change{What: "credential", To: "none: the workload by itself", apply: func(f *Facts) { f.User = nil }}
		return append(out, Part{Name: "credential", Want: "no internal token: the workload calls by itself", needed: nobody})
	}
	if !c.needsUser && !optional {
		return out
	}
	p := Part{Name: "credential", Holds: c.accepts(f.User) && c.isKind(f.User), Want: "a user that " + c.policy.Name.String() + " accepts"}
	if len(c.rule.Credentials) > 0 {
		words := make([]string, len(c.rule.Credentials))
		for i, k := range c.rule.Credentials {
			words[i] = k.String()
		}
		p.Want += ", by " + strings.Join(words, " or ")
	}
	if !p.Holds {
		p.needed = c.credentialChange()
	}
	return append(out, p)
}

// credentialChange makes the user one whom the policy accepts; nil: it accepts nobody.
func (c *compiled) credentialChange() *Change {
	for _, u := range c.acceptable() {
		if !c.isKind(&u) {
			continue
		}
		to := "an internal token"
		if u.Credential != policy.InternalToken {
			to = "a " + strings.ReplaceAll(u.Credential.String(), "_", " ") + " credential of " + u.Issuer.String()
		}
		return &Change{What: "credential", To: to, apply: func(f *Facts) {
			next := User{Subject: "somebody"}
			if f.User != nil {
				next = *f.User
			}
			next.Issuer, next.Credential = u.Issuer, u.Credential
			f.User = &next
		}}
	}
	return nil
}

// acceptable are users whom the policy accepts, one of each kind.
func (c *compiled) acceptable() []User {
	var out []User
	add := func(kind policy.CredentialKind, names []policy.Name) {
		if len(names) > 0 {
			out = append(out, User{Credential: kind, Issuer: names[0]})
		}
	}
	add(policy.BearerToken, c.policy.Issuers)
	add(policy.Basic, c.policy.Basic)
	if keys := c.policy.APIKeys; len(keys) > 0 {
		add(policy.APIKey, []policy.Name{keys[0].Credentials})
	}
	add(policy.ClientCertificate, c.policy.ClientCertificates)
	if c.policy.InternalTokens {
		add(policy.InternalToken, []policy.Name{{}})
	}
	return out
}

// operationParts are those of the operation that the request comes nearest to.
func (c *compiled) operationParts(f *Facts) []Part {
	if len(c.rule.To) == 0 {
		return nil
	}
	var best []Part
	least := -1
	for i := range c.rule.To {
		parts := operationParts(&c.rule.To[i], f, c.denies())
		n := 0
		for _, p := range parts {
			if !p.Holds {
				n++
			}
		}
		if least < 0 || n < least {
			best, least = parts, n
		}
	}
	return best
}

func operationParts(op *policy.Operation, f *Facts, deny bool) []Part {
	var out []Part
	if len(op.Methods) > 0 {
		method := op.Methods[0]
		out = append(out, part("method", strings.Join(op.Methods, ", "), slices.Contains(op.Methods, f.Method), method,
			func(f *Facts) { f.Method = method }))
	}
	if len(op.Hosts) > 0 {
		host := strings.TrimPrefix(op.Hosts[0], "*.")
		if host != op.Hosts[0] {
			host = "any." + host
		}
		out = append(out, part("host", strings.Join(op.Hosts, ", "), matchesHosts(op.Hosts, f.Host), host, func(f *Facts) { f.Host = host }))
	}
	if len(op.Paths) > 0 {
		texts := make([]string, len(op.Paths))
		for i := range op.Paths {
			texts[i] = op.Paths[i].String()
		}
		p := op.Paths[0]
		out = append(out, part("path", strings.Join(texts, ", "), matchesPaths(op.Paths, f), texts[0], func(f *Facts) {
			f.Segments, f.Slash = slices.Clone(p.Segments), p.Slash
			for i := range f.Segments {
				if isVariable(&p, i) {
					f.Segments[i] = p.Variables[i]
				}
			}
		}))
	}
	for i := range op.Headers {
		out = append(out, headerPart(&op.Headers[i], f, deny))
	}
	return out
}

func headerPart(want *policy.HeaderMatch, f *Facts, deny bool) Part {
	value, text := first(want.AnyOf), want.Name+" is "+strings.Join(want.AnyOf, " or ")
	if want.Present {
		value, text = "yes", want.Name+" is there"
	}
	return part("headers", text, matchesHeader(want, f, deny), want.Name+": "+value, func(f *Facts) {
		others := slices.DeleteFunc(slices.Clone(f.Headers), func(h Header) bool { return h.Name == want.Name })
		f.Headers = append(others, Header{want.Name, value})
	})
}

func (c *compiled) peerPart(f *Facts) Part {
	texts := make([]string, len(c.rule.From))
	for i, p := range c.rule.From {
		texts[i] = p.ID
		if p.Prefix {
			texts[i] += "/*"
		}
	}
	id := c.rule.From[0].ID
	return part("peer", strings.Join(texts, ", "), c.matchesPeer(f.Peer), id, func(f *Facts) { f.Peer = id })
}

// userParts are what c asks of the user; without one nothing holds.
func (c *compiled) userParts(f *Facts) []Part {
	u := f.User
	var out []Part
	add := func(name, want string, holds bool, to string, apply func(*User)) {
		out = append(out, part(name, want, u != nil && holds, to, func(f *Facts) {
			next := User{}
			if f.User != nil {
				next = *f.User
			}
			apply(&next)
			f.User = &next
		}))
	}
	if c.rule.Principal != policy.AnyPrincipal {
		service := c.rule.Principal == policy.ServicePrincipal
		word := "a user"
		if service {
			word = "a service"
		}
		add("principal", word, u != nil && c.isPrincipal(u), word, func(u *User) { u.Service = service })
	}
	if len(c.rule.AllScopes)+len(c.rule.AnyScopes) > 0 {
		nobody := User{}
		if u != nil {
			nobody = *u
		}
		missing := c.missingScopes(&nobody)
		add("scopes", wanted(c.rule.AllScopes, c.rule.AnyScopes), u != nil && c.hasScopes(u), strings.Join(missing, " "), func(u *User) {
			u.Scopes = union(u.Scopes, missing)
		})
	}
	for i := range c.rule.Claims {
		claim := &c.rule.Claims[i]
		name := "/" + strings.Join(claim.Path, "/")
		add("claims", name+" is "+strings.Join(claim.AnyOf, " or "), u != nil && HoldsClaim(u.Claims, claim), name+" = "+first(claim.AnyOf), func(u *User) {
			u.Claims = withClaim(u.Claims, claim.Path, first(claim.AnyOf))
		})
	}
	return append(out, c.furtherParts(f)...)
}

// furtherParts are roles, groups and the sign-in.
func (c *compiled) furtherParts(f *Facts) []Part {
	var out []Part
	u := f.User
	if u == nil {
		u = &User{}
	}
	add := func(name, want string, holds bool, to string, apply func(*User, time.Time)) {
		out = append(out, part(name, want, f.User != nil && holds, to, func(f *Facts) {
			next := User{}
			if f.User != nil {
				next = *f.User
			}
			apply(&next, f.Now)
			f.User = &next
		}))
	}
	if r := c.rule; len(r.AllRoles)+len(r.AnyRoles) > 0 {
		missing := missingNames(u.Roles, r.AllRoles, r.AnyRoles)
		add("roles", wanted(r.AllRoles, r.AnyRoles), c.hasRoles(u), strings.Join(missing, " "), func(u *User, _ time.Time) { u.Roles = union(u.Roles, missing) })
	}
	if r := c.rule; len(r.AllGroups)+len(r.AnyGroups) > 0 {
		missing := missingNames(u.Groups, r.AllGroups, r.AnyGroups)
		add("groups", wanted(r.AllGroups, r.AnyGroups), c.hasGroups(u), strings.Join(missing, " "), func(u *User, _ time.Time) { u.Groups = union(u.Groups, missing) })
	}
	if acr := c.rule.ACR; len(acr) > 0 {
		add("acr", strings.Join(acr, " or "), c.hasACR(u), acr[0], func(u *User, _ time.Time) { u.ACR = acr[0] })
	}
	if age := c.rule.MaxAge; age > 0 {
		add("max_age", "signed in no longer ago than "+age.String(), c.isFresh(u, f.Now), "a new sign-in", func(u *User, now time.Time) { u.AuthTime = now })
	}
	return out
}

func part(name, want string, holds bool, to string, apply func(*Facts)) Part {
	p := Part{Name: name, Want: want, Holds: holds}
	if !holds {
		p.needed = &Change{What: name, To: to, apply: apply}
	}
	return p
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// wanted says "a and b and one of c, d".
func wanted(all, anyOf []string) string {
	text := strings.Join(all, " and ")
	if len(anyOf) == 0 {
		return text
	}
	if text != "" {
		text += " and "
	}
	if len(anyOf) == 1 {
		return text + anyOf[0]
	}
	return text + "one of " + strings.Join(anyOf, ", ")
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// withClaim is claims with a text at path; what is shared is copied.
func withClaim(claims map[string]any, path []string, value string) map[string]any {
	out := make(map[string]any, len(claims)+1)
	for k, v := range claims {
		out[k] = v
	}
	switch len(path) {
	case 0:
	case 1:
		out[path[0]] = value
	default:
		inner, _ := claims[path[0]].(map[string]any)
		out[path[0]] = withClaim(inner, path[1:], value)
	}
	return out
}

// String is the rule's expression for a change, "scopes: orders:read".
func (c Change) String() string { return fmt.Sprintf("%s: %s", c.What, c.To) }
