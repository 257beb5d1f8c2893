package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Credentials are users that prove who they are without a token: HTTP Basic, API keys, client certificates. It holds hashes only.
type Credentials struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              CredentialsSpec `json:"spec"`
}

// CredentialsSpec has at least one of its fields.
type CredentialsSpec struct {
	Basic              *BasicCredentials       `json:"basic,omitempty"`
	APIKeys            *APIKeyCredentials      `json:"apiKeys,omitempty"`
	ClientCertificates *CertificateCredentials `json:"clientCertificates,omitempty"`
}

// Grants are what such a user may do.
type Grants struct {
	Scopes []string `json:"scopes,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// BasicCredentials are users and passwords (RFC 7617).
type BasicCredentials struct {
	// Realm of the challenge. Default: the name of the object.
	Realm string `json:"realm,omitempty"`
	// Users, each with a hash that `credence credentials hash` has made.
	Users []BasicUser `json:"users,omitempty"`
	// Htpasswd is a file of further users; it is watched.
	Htpasswd *Htpasswd `json:"htpasswd,omitempty"`
}

// BasicUser is one user.
type BasicUser struct {
	// Name has no colon.
	Name string `json:"name"`
	// Hash: $2a$, $2b$, $2y$ (bcrypt) or $argon2id$.
	Hash   string `json:"hash"`
	Grants `json:",inline"`
}

// Htpasswd is a file of "name:hash" lines, comments with #.
type Htpasswd struct {
	// File is relative to the manifest's file where it is not absolute.
	File string `json:"file"`
	// Grants of every user of the file.
	Grants `json:",inline"`
}

// APIKeyCredentials are keys that `credence credentials api-key` has made, or that exist.
type APIKeyCredentials struct {
	// Prefix of keys of the form prefix_id_secret_crc: 2 to 16 letters and digits. Absent: there are none of that form.
	Prefix string   `json:"prefix,omitempty"`
	Keys   []APIKey `json:"keys"`
}

// APIKey is one key by its hash.
type APIKey struct {
	// ID of a key of the form prefix_id_secret_crc. Absent: an existing key of any form and at least 128 bits.
	ID string `json:"id,omitempty"`
	// SHA256 of the whole key, in lower-case hex.
	SHA256 string `json:"sha256"`
	// Subject whom it speaks for.
	Subject string `json:"subject"`
	// Expires: RFC 3339. Absent: never.
	Expires *metav1.Time `json:"expires,omitempty"`
	Grants  `json:",inline"`
}

// CertificateCredentials are clients of gateways by TLS client certificates; the Gateway's GatewaySettings must ask for them.
type CertificateCredentials struct {
	// CAFile is a PEM file: roots and intermediates; relative to the manifest's file where it is not absolute.
	CAFile string `json:"caFile"`
	// Subject is taken from: uri, dns, email or commonName. The certificate must have exactly one. Default uri.
	Subject string `json:"subject,omitempty"`
	// Allowed subjects. Absent: any that the CAs have signed.
	Allowed []string `json:"allowed,omitempty"`
	Grants  `json:",inline"`
}

// Values of CertificateCredentials.Subject.
const (
	SubjectURI        = "uri"
	SubjectDNS        = "dns"
	SubjectEmail      = "email"
	SubjectCommonName = "commonName"
)

// RevocationList ends credentials before their time.
type RevocationList struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              RevocationListSpec `json:"spec"`
}

// RevocationListSpec of one list.
type RevocationListSpec struct {
	Revocations []Revocation `json:"revocations"`
}

// Revocation covers what all of its fields say; at least one of tokenID, subject, client and issuer is set.
type Revocation struct {
	// TokenID is a jti.
	TokenID string `json:"tokenID,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Client is an OAuth client.
	Client string `json:"client,omitempty"`
	// Issuer is the exact iss; or credentials/NAMESPACE/NAME for users of Credentials.
	Issuer string `json:"issuer,omitempty"`
	// IssuedBefore spares what was issued at that time or later (RFC 3339). Absent: nothing is spared.
	IssuedBefore *metav1.Time `json:"issuedBefore,omitempty"`
	// Reason for people.
	Reason string `json:"reason,omitempty"`
}
