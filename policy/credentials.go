package policy

import "time"

// CredentialKind is one way to prove who the user is. The zero value is none.
type CredentialKind int

// Kinds of credentials.
const (
	NoCredential CredentialKind = iota
	// BearerToken is a JWT or an opaque token (RFC 6750 §2.1, RFC 9449 §7.1).
	BearerToken
	// Basic is a user and a password (RFC 7617).
	Basic
	// APIKey is a key that one of Credentials.APIKeys knows by its hash.
	APIKey
	// ClientCertificate is the certificate of the TLS connection to a gateway.
	ClientCertificate
	// InternalToken is a Txn-Token that this mesh has made (draft-ietf-oauth-transaction-tokens).
	InternalToken
	// PeerIdentity is the calling workload's own SVID, and no user.
	PeerIdentity
)

// String is the word for logs, metrics and conditions.
func (k CredentialKind) String() string {
	switch k {
	case NoCredential:
		return "none"
	case BearerToken:
		return "bearer"
	case Basic:
		return "basic"
	case APIKey:
		return "api_key"
	case ClientCertificate:
		return "client_certificate"
	case InternalToken:
		return "internal_token"
	case PeerIdentity:
		return "peer"
	}
	return "none"
}

// Credentials are users that prove who they are without a token. It holds hashes only. Sorted: Users by Name, APIKeys by ID and SHA256.
type Credentials struct {
	Name Name `json:"name"`
	// Realm of the Basic challenge (RFC 7617 §2).
	Realm string      `json:"realm,omitempty"`
	Users []BasicUser `json:"users,omitempty"`
	// Htpasswd is a file of further users.
	Htpasswd *Htpasswd `json:"htpasswd,omitempty"`
	// KeyPrefix begins structured keys: prefix_id_secret_crc. Empty: there are none.
	KeyPrefix string        `json:"keyPrefix,omitempty"`
	APIKeys   []APIKeyEntry `json:"apiKeys,omitempty"`
	// Certificates: clients with a certificate of these CAs; nil: none.
	Certificates *CertificateUsers `json:"certificates,omitempty"`
}

// Grants are what a user without a token may do; sorted.
type Grants struct {
	Scopes []string `json:"scopes,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// BasicUser is one user of HTTP Basic.
type BasicUser struct {
	Name string `json:"name"`
	// Hash is "$2a$…", "$2b$…", "$2y$…" (bcrypt) or "$argon2id$…" (PHC string format).
	Hash string `json:"hash"`
	Grants
}

// Htpasswd is a file of "name:hash" lines. It is watched.
type Htpasswd struct {
	// File is absolute.
	File string `json:"file"`
	// Grants of every user of the file.
	Grants
}

// APIKeyEntry is one API key by the SHA-256 of the whole key. Expires is zero where it does not end.
type APIKeyEntry struct {
	// ID of a structured key; empty: a key of any form.
	ID string `json:"id,omitempty"`
	// SHA256 in lower-case hex.
	SHA256 string `json:"sha256"`
	// Subject whom the key speaks for.
	Subject string    `json:"subject"`
	Expires time.Time `json:"expires,omitzero"`
	Grants
}

// CertificateUsers are clients by certificates of their own CAs.
type CertificateUsers struct {
	// CAFile is an absolute path of a PEM file: roots, and the intermediates that clients' certificates are of.
	CAFile string `json:"caFile"`
	// Subject says what in the certificate is the subject.
	Subject CertificateSubject `json:"subject"`
	// Allowed subjects, exact; sorted. Empty: any that the CAs have signed.
	Allowed []string `json:"allowed,omitempty"`
	// Grants of every one of them.
	Grants
}

// CertificateSubject is the part of a certificate that names its owner. The zero value is not valid.
type CertificateSubject int

// Parts of a certificate. Exactly one of the kind must be in it.
const (
	_ CertificateSubject = iota
	SubjectURI
	SubjectDNS
	SubjectEmail
	SubjectCommonName
)

// APIKeyUse is where API keys of Credentials are looked for. At least one place is set.
type APIKeyUse struct {
	Credentials Name `json:"credentials"`
	// Header in lower case that holds the key and nothing else; empty: none.
	Header string `json:"header,omitempty"`
	// Bearer: Authorization: Bearer KEY.
	Bearer bool `json:"bearer,omitempty"`
	// Query parameter that holds the key; it is removed before the upstream and in every log. Empty: none.
	Query string `json:"query,omitempty"`
}

// Introspection asks an authorization server about opaque tokens (RFC 7662).
type Introspection struct {
	URL string `json:"url"`
	// ClientID and SecretFile authenticate by client_secret_basic; empty: see BearerTokenFile.
	ClientID   string `json:"clientID,omitempty"`
	SecretFile string `json:"secretFile,omitempty"`
	// BearerTokenFile holds a token that the endpoint takes instead.
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	// CAFile is a PEM file of the CAs that the server's certificate may be of; empty: the system's.
	CAFile string `json:"caFile,omitempty"`
	// Insecure permits http.
	Insecure bool `json:"insecure,omitempty"`
	// CacheFor bounds how long an answer counts; 0: every request asks.
	CacheFor time.Duration `json:"cacheFor"`
	// JWT: answers are signed (RFC 9701), by the issuer's Keys. Otherwise JSON.
	JWT bool `json:"jwt,omitempty"`
}

// Listing says where in a token roles or groups are, and what ours are called.
type Listing struct {
	// From are claims, by path; those that are there are joined.
	From [][]string `json:"from"`
	// Separator splits claims that are one string; empty: a string is one value.
	Separator string `json:"separator,omitempty"`
	// Names maps the token's words to ours; sorted by Name. Empty: they are taken as they are. Words that are not listed count for nothing
	// where it is not empty.
	Names []NameValue `json:"names,omitempty"`
}

// Revocation ends what was good. Every field that is set must match, at least one is set.
type Revocation struct {
	// ID is for people, unique.
	ID string `json:"id"`
	// TokenID is a jti; Issuer the exact iss, or "credentials/<namespace>/<name>".
	TokenID string `json:"tokenID,omitempty"`
	Subject string `json:"subject,omitempty"`
	Client  string `json:"client,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	// IssuedBefore spares credentials that were issued at that time or later; zero: all. Credentials without a time are not spared.
	IssuedBefore time.Time `json:"issuedBefore,omitzero"`
	// Until is when it may be forgotten: nothing that it covers can live then. Zero: never.
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// InternalTokens of the mesh. Nil: none are made.
type InternalTokens struct {
	// Issuer is the iss.
	Issuer string `json:"issuer"`
	// TTL of one token, 10 s to 300 s.
	TTL time.Duration `json:"ttl"`
	// Cached: one token serves several requests of one user and route for half its life. It is outside the draft: txn is not unique then.
	Cached bool `json:"cached,omitempty"`
	// RotateEvery is how long a key signs.
	RotateEvery time.Duration `json:"rotateEvery"`
}

// Upstream is what the service behind receives. Merged over all policies that are in force.
type Upstream struct {
	// Forward passes the external credential on. Otherwise it is removed.
	Forward bool `json:"forward,omitempty"`
	// Relay passes bearer tokens on, to a workload whose own proxy reads them: that one removes them before the service.
	Relay bool `json:"relay,omitempty"`
	// Headers, Query and Metadata carry claims; sorted by Name.
	Headers  []ClaimOutput `json:"headers,omitempty"`
	Query    []ClaimOutput `json:"query,omitempty"`
	Metadata []ClaimOutput `json:"metadata,omitempty"`
	// Scopes that the internal token may carry, as far as the user has them; sorted. What rules of the route and of the workloads behind ask
	// for, and what policies add.
	Scopes []string `json:"scopes,omitempty"`
	// Claims that the internal token carries besides, by path; the same.
	Claims [][]string `json:"claims,omitempty"`
}

// ClaimOutput is one value of the user's: a claim by Path, or the field of decide.User that Field names.
type ClaimOutput struct {
	Name string `json:"name"`
	// Path of the claim; empty: see Field.
	Path []string `json:"path,omitempty"`
	// Field is subject, issuer, client, scopes, roles, groups or credential.
	Field string `json:"field,omitempty"`
}

// Responses change what clients are told. Merged over all policies that are in force.
type Responses struct {
	// Realm of challenges; empty: "credence".
	Realm string `json:"realm,omitempty"`
	// Unauthenticated (401), Forbidden (403) and Unavailable (503) replace the answer; nil: ours.
	Unauthenticated *Response `json:"unauthenticated,omitempty"`
	Forbidden       *Response `json:"forbidden,omitempty"`
	Unavailable     *Response `json:"unavailable,omitempty"`
	// Resource is the URL of the protected resource's metadata document (RFC 9728 §5.1); empty: none.
	Resource string `json:"resource,omitempty"`
}

// Response is one answer. Body may hold {decision}, {reason} and {message}.
type Response struct {
	// Status 0: as it is. Never 1xx, 2xx or 3xx.
	Status      int         `json:"status,omitempty"`
	Headers     []NameValue `json:"headers,omitempty"`
	ContentType string      `json:"contentType,omitempty"`
	Body        string      `json:"body,omitempty"`
}

// Document is answered by the proxy itself, without a Check: metadata that everybody may read.
type Document struct {
	// Path is exact.
	Path        string `json:"path"`
	ContentType string `json:"contentType"`
	Body        string `json:"body"`
}

// HeaderMatch holds when a request header has one of the values, or with Present when it is there at all. An allow rule needs exactly one
// line of it; a deny rule holds for any of several, and for each part that a comma divides.
type HeaderMatch struct {
	// Name in lower case.
	Name    string   `json:"name"`
	AnyOf   []string `json:"anyOf,omitempty"`
	Present bool     `json:"present,omitempty"`
}
