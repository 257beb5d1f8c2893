package decide

import (
	"time"

	"github.com/credence-mesh/credence/policy"
)

// User is what a verified credential says. It is immutable: one value is shared by every request that carries the same credential.
type User struct {
	// Issuer is the TokenIssuer that vouched; IssuerURL its exact iss.
	Issuer    policy.Name
	IssuerURL string
	Subject   string
	// Service: it speaks for a service (RFC 9068 §5), and Subject is a client's name, not a user's.
	Service bool
	// Client is the OAuth client, empty when the token names none.
	Client string
	// Scopes are sorted and without repeats (RFC 6749 §3.3).
	Scopes []string
	// Claims are all claims as decoded JSON: nil, bool, string, Number, []any, map[string]any. Never changed.
	Claims map[string]any
	// Expires is when the credential itself ends.
	Expires time.Time
}

// Number is a JSON number by its text, so that no digit is lost.
type Number string

// Facts are all that a decision may depend on.
type Facts struct {
	// Peer is the caller's SPIFFE ID, strictly verified; empty: none.
	Peer string
	// User is nil where no credential was presented (or none is read on this route).
	User   *User
	Method string
	// Host is lower case, without port.
	Host string
	// Segments of the canonical path, percent-decoded once; "/" has none. Slash tells whether the path ends with a slash (false for "/").
	// Where the route's PathRules keep them, segments may be empty or hold "/" and "\"; deny rules then hold for every reading of them.
	Segments []string
	Slash    bool
}
