package policy

import (
	"strings"
	"time"
)

// Policy is one compiled AuthPolicy. It decides nothing by itself: an Access lists it at a Level.
type Policy struct {
	Name Name `json:"name"`
	// Issuers whose tokens it accepts; sorted. Empty: it reads no token.
	Issuers []Name `json:"issuers,omitempty"`
	// MissingIssuers are references that lead nowhere: every route that the policy is in force on answers "cannot tell".
	MissingIssuers []Name `json:"missingIssuers,omitempty"`
	// Basic, APIKeys and ClientCertificates are Credentials whose users it accepts; sorted.
	Basic              []Name      `json:"basic,omitempty"`
	APIKeys            []APIKeyUse `json:"apiKeys,omitempty"`
	ClientCertificates []Name      `json:"clientCertificates,omitempty"`
	// InternalTokens: it accepts Txn-Tokens of this mesh, whoever the user is.
	InternalTokens bool `json:"internalTokens,omitempty"`
	// MissingCredentials are references that lead nowhere, or to what has no such users: as MissingIssuers.
	MissingCredentials []Name `json:"missingCredentials,omitempty"`
	// Rules in the order of the manifest.
	Rules []Rule `json:"rules"`
}

// ReadsUser tells whether the policy accepts any credential of a user.
func (p *Policy) ReadsUser() bool {
	return len(p.Issuers)+len(p.Basic)+len(p.APIKeys)+len(p.ClientCertificates) > 0 || p.InternalTokens
}

// Action of a rule. The zero value is not valid.
type Action int

// Actions.
const (
	_ Action = iota
	Allow
	Deny
)

// Rule matches when From, To, Require and the need for a user all hold.
type Rule struct {
	Name   string `json:"name"`
	Action Action `json:"action"`
	// Audit: reported, never decides.
	Audit bool `json:"audit,omitempty"`
	// NeedsUser: matches only with a user whom the policy accepts. Set on every allow rule of a policy that accepts any and does not say
	// anonymous or peer, and on every rule with Scopes or Claims.
	NeedsUser bool `json:"needsUser,omitempty"`
	// From: any of them; empty: any peer.
	From []Peer `json:"from,omitempty"`
	// To: any of them; empty: any operation.
	To []Operation `json:"to,omitempty"`
	// AllScopes and AnyScopes as in the manifest; sorted. AnyScopes empty: none needed.
	AllScopes []string `json:"allScopes,omitempty"`
	AnyScopes []string `json:"anyScopes,omitempty"`
	// Claims: all of them.
	Claims []Claim `json:"claims,omitempty"`
	// Principal: whom the token must speak for.
	Principal Principal `json:"principal,omitempty"`
	// Credentials: the user must have come with one of these kinds; sorted. Empty: any that the policy accepts. Without NeedsUser a user who
	// is there must all the same, and nobody needs to be there.
	Credentials []CredentialKind `json:"credentials,omitempty"`
	// NeedsPeer: matches only with a calling workload, whoever it is; without NeedsUser a user of one of Credentials will do instead. With neither,
	// the workload calls by itself, and must not come with an internal token.
	NeedsPeer bool `json:"needsPeer,omitempty"`
	// Roles and groups of the user; sorted. AnyRoles and AnyGroups empty: none needed.
	AllRoles  []string `json:"allRoles,omitempty"`
	AnyRoles  []string `json:"anyRoles,omitempty"`
	AllGroups []string `json:"allGroups,omitempty"`
	AnyGroups []string `json:"anyGroups,omitempty"`
	// ACR: acr must be one of them, in the order of preference (RFC 9470). MaxAge: auth_time must be no longer ago; 0: any.
	ACR    []string      `json:"acr,omitempty"`
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// Condition is a checked CEL expression that must be true; empty: none. One that cannot be evaluated does not hold for an allow rule,
	// and holds for a deny rule.
	Condition string `json:"condition,omitempty"`
}

// Peer is a calling workload by exact ID, or by whole path segments.
type Peer struct {
	ID string `json:"id"`
	// Prefix: ID and every ID below it.
	Prefix bool `json:"prefix,omitempty"`
}

// Operation holds when every non-empty field has an element that holds.
type Operation struct {
	Methods []string      `json:"methods,omitempty"`
	Paths   []PathPattern `json:"paths,omitempty"`
	// Hosts are lower case; "*.example.com" stands for one or more labels.
	Hosts []string `json:"hosts,omitempty"`
	// Headers: every one of them.
	Headers []HeaderMatch `json:"headers,omitempty"`
}

// PathPattern compares decoded segments: "/a/b" has [a b]; "/" has none.
type PathPattern struct {
	Segments []string `json:"segments"`
	// Variables are as many as Segments: where one has a name, the segment may be any that is not empty, and conditions see it under that
	// name. Empty: every segment is literal.
	Variables []string `json:"variables,omitempty"`
	// Prefix: that path and everything below it.
	Prefix bool `json:"prefix,omitempty"`
	// Slash: the path ends with a slash, an exact pattern compares that too.
	Slash bool `json:"slash,omitempty"`
}

// Claim holds when the value at Path, or an element of it, equals one of AnyOf.
type Claim struct {
	Path  []string `json:"path"`
	AnyOf []string `json:"anyOf"`
}

// Principal is whom a token speaks for: a client id never passes for a user of the same name.
type Principal int

// Principals. The zero value asks for none.
const (
	AnyPrincipal Principal = iota
	UserPrincipal
	ServicePrincipal
)

// String is the pattern as a manifest writes it.
func (p PathPattern) String() string {
	var b strings.Builder
	for i, s := range p.Segments {
		if i < len(p.Variables) && p.Variables[i] != "" {
			s = "{" + p.Variables[i] + "}"
		}
		b.WriteString("/" + s)
	}
	switch {
	case p.Prefix:
		return b.String() + "/*"
	case p.Slash || len(p.Segments) == 0:
		return b.String() + "/"
	}
	return b.String()
}
