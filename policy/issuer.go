package policy

import "time"

// Issuer of user tokens.
type Issuer struct {
	Name Name `json:"name"`
	// Issuers are the exact values of iss, at least one, sorted. A template is written out, once per value that it allows.
	Issuers []string `json:"issuers"`
	// Tenant, with a template, is the claim that must say the same as iss does; nil: none.
	Tenant    *Tenant  `json:"tenant,omitempty"`
	Audiences []string `json:"audiences"`
	// AudienceFrom is the claim that holds the audience: "aud", or "client_id" for issuers that have no aud. Required in every token.
	AudienceFrom string        `json:"audienceFrom"`
	Algorithms   []string      `json:"algorithms"`
	Keys         KeySource     `json:"keys"`
	Leeway       time.Duration `json:"leeway"`
	ExpLeeway    time.Duration `json:"expLeeway"`
	// MaxLifetime 0: none.
	MaxLifetime time.Duration `json:"maxLifetime"`
	Profile     Profile       `json:"profile"`
	// ClientFrom are the claims that may name the OAuth client; the first that is there counts.
	ClientFrom []string `json:"clientFrom"`
	// ServiceMarkers: a token that has one of them speaks for a service, not for a user. Beside them sub == client_id does.
	ServiceMarkers []Claim `json:"serviceMarkers,omitempty"`
	// Introspection: its tokens are opaque; nil: they are JWTs. Issuers may be empty then: the answer's iss, where there is one, must be in it
	// otherwise.
	Introspection *Introspection `json:"introspection,omitempty"`
	// Roles and Groups say where they are; nil: tokens have none.
	Roles  *Listing `json:"roles,omitempty"`
	Groups *Listing `json:"groups,omitempty"`
}

// URL is the issuer's first iss, for people.
func (i *Issuer) URL() string {
	if len(i.Issuers) == 0 {
		return ""
	}
	return i.Issuers[0]
}

// Tenant binds the variable part of iss to a claim: Values[i] is what the claim at Path must be in a token of Issuers[i].
type Tenant struct {
	Path   []string `json:"path"`
	Values []string `json:"values"`
}

// Profile is the kind of token that an issuer's tokens must be. The zero value is for issuers with Introspection alone.
type Profile int

// Profiles.
const (
	_ Profile = iota
	// StrictAccessToken is RFC 9068: typ at+jwt and its required claims.
	StrictAccessToken
	// LegacyAccessToken takes typ JWT or none, and refuses what looks like an ID token.
	LegacyAccessToken
	// IDToken takes ID tokens (OpenID Connect Core §2), for issuers that have nothing else.
	IDToken
)

// KeySource of an Issuer: exactly one of Inline, File, URL, Discovery and Development is set. Comparable.
type KeySource struct {
	Inline string `json:"inline,omitempty"`
	File   string `json:"file,omitempty"`
	URL    string `json:"url,omitempty"`
	// Discovery is the URL of the metadata document that names the JWK Set (OpenID Connect Discovery §4, RFC 8414).
	Discovery string `json:"discovery,omitempty"`
	// DiscoveryIssuer is what the document must name as its issuer; empty: the manifest writes the issuer out apart, and it may be any.
	DiscoveryIssuer string `json:"discoveryIssuer,omitempty"`
	Development     bool   `json:"development,omitempty"`
	// CAFile is a PEM file of the CAs that the server's certificate may be of; empty: the system's.
	CAFile string `json:"caFile,omitempty"`
	// BearerTokenFile holds a token, read at each fetch and sent to the configured host alone.
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	// Insecure permits http.
	Insecure bool `json:"insecure,omitempty"`
	// MaxStale is how long keys stay in use after the last good fetch.
	MaxStale time.Duration `json:"maxStale,omitempty"`
	// UnknownKey is what a token with an unknown kid hears whose refresh has not ended in time.
	UnknownKey UnknownKey `json:"unknownKey,omitempty"`
}

// UnknownKey is the answer where it can't be told in time whether the issuer has a key.
type UnknownKey int

// Answers. The zero value is the default.
const (
	// UnknownKeyUnavailable: 503.
	UnknownKeyUnavailable UnknownKey = iota
	// UnknownKeyUnauthorized: 401.
	UnknownKeyUnauthorized
)
