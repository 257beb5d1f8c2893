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
	// Expires is when the credential itself ends; zero: it does not.
	Expires time.Time
	// Credential is how the user was told. With InternalToken, Origin is how the gateway told; otherwise it is Credential again.
	Credential, Origin policy.CredentialKind
	// Roles and Groups are sorted and without repeats, in our words.
	Roles, Groups []string
	// TokenID is the jti; of an internal token, that of the token which it was made for. Empty: none.
	TokenID string
	// IssuedAt is zero where the credential does not say.
	IssuedAt time.Time
	// ACR and AuthTime say how and when the user signed in (OpenID Connect Core §2); empty and zero where unknown.
	ACR      string
	AuthTime time.Time
	// Confirmation binds the token to a key (RFC 7800 §3.1); nil: it is bound to none.
	Confirmation *Confirmation
	// Requester and Transaction are req_wl and txn of an internal token.
	Requester, Transaction string
}

// Confirmation is the key that a token is bound to. At least one field is set; with both, both proofs are needed.
type Confirmation struct {
	// JKT is the thumbprint of the DPoP key (RFC 9449 §6.1); X5T that of the client's certificate (RFC 8705 §3.1): base64url of SHA-256.
	JKT, X5T string
}

// Header is one line of the request's headers, its name in lower case.
type Header struct{ Name, Value string }

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
	// Now is when the request came; rules with a MaxAge need it.
	Now time.Time
	// Query is the query without "?", as it came; Scheme is http or https; ClientIP the caller's address. Headers are all lines. They are
	// empty unless Route.ReadsHeaders.
	Query, Scheme, ClientIP string
	Headers                 []Header
}
