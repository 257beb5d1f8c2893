package admin

import "time"

// Decision is the answer of GET /v1/decisions/{id}, and what `credence check` and `credence explain` print. It holds no credential.
type Decision struct {
	// ID and Time of the Check; Generation of the manifests that decided is not kept: Route says where they came from.
	ID   string    `json:"id,omitempty"`
	Time time.Time `json:"time,omitzero"`
	// Proxy that asked, and the manifest and rule whose route it was; empty: none was found.
	Proxy string `json:"proxy,omitempty"`
	Route string `json:"route,omitempty"`

	Method string `json:"method"`
	Host   string `json:"host"`
	Path   string `json:"path"`
	Peer   string `json:"peer,omitempty"`
	User   *User  `json:"user,omitempty"`

	// Allowed, or the HTTP Status of the refusal; Reason in one stable word, Detail for people.
	Allowed bool   `json:"allowed"`
	Status  int    `json:"status"`
	Reason  string `json:"reason"`
	Detail  string `json:"detail,omitempty"`
	// Revocation that covers the credential.
	Revocation string `json:"revocation,omitempty"`
	// Policy and Rule that decided, or that came nearest to an allow.
	Policy string `json:"policy,omitempty"`
	Rule   string `json:"rule,omitempty"`
	// Levels from the outermost; empty where the request was refused before any rule was asked.
	Levels []DecisionLevel `json:"levels"`
	// Changes that, taken together, would have allowed it; Forbidden is the deny rule that no change of the request gets around.
	Changes   []Change `json:"changes,omitempty"`
	Forbidden string   `json:"forbidden,omitempty"`
}

// User as a verified credential says.
type User struct {
	Credential string   `json:"credential"`
	Subject    string   `json:"subject"`
	Issuer     string   `json:"issuer,omitempty"`
	Client     string   `json:"client,omitempty"`
	Scopes     []string `json:"scopes,omitempty"`
	Roles      []string `json:"roles,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	Service    bool     `json:"service,omitempty"`
}

// DecisionLevel is one level of the route.
type DecisionLevel struct {
	Level  string         `json:"level"`
	Allows bool           `json:"allows"`
	Rules  []DecisionRule `json:"rules"`
	// More rules were left out: those that are further from a match.
	More int `json:"more,omitempty"`
}

// DecisionRule is one rule and the truth of its parts.
type DecisionRule struct {
	Policy  string         `json:"policy"`
	Rule    string         `json:"rule"`
	Action  string         `json:"action"`
	Audit   bool           `json:"audit,omitempty"`
	Matches bool           `json:"matches"`
	Parts   []DecisionPart `json:"parts"`
}

// DecisionPart is one thing that a rule asks for.
type DecisionPart struct {
	Part  string `json:"part"`
	Holds bool   `json:"holds"`
	Want  string `json:"want"`
}

// Change of a request or its user.
type Change struct {
	What string `json:"what"`
	To   string `json:"to"`
}
