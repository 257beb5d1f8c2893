package policy

// Policy is one compiled AuthPolicy. It decides nothing by itself: an Access lists it at a Level.
type Policy struct {
	Name Name `json:"name"`
	// Issuers whose tokens it accepts; sorted. Empty: it reads no token.
	Issuers []Name `json:"issuers,omitempty"`
	// MissingIssuers are references that lead nowhere: every route that the policy is in force on answers "cannot tell".
	MissingIssuers []Name `json:"missingIssuers,omitempty"`
	// Rules in the order of the manifest.
	Rules []Rule `json:"rules"`
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
	// NeedsUser: matches only with a verified token of one of the policy's issuers. Set on every allow rule of a policy with issuers
	// that does not say [anonymous], and on every rule with Scopes or Claims.
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
}

// PathPattern compares decoded segments: "/a/b" has [a b]; "/" has none.
type PathPattern struct {
	Segments []string `json:"segments"`
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
