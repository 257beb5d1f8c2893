package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenIssuer is one issuer of user tokens.
type TokenIssuer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              TokenIssuerSpec `json:"spec"`
}

// TokenIssuerSpec says which tokens are good.
type TokenIssuerSpec struct {
	// Issuer is the exact iss of the tokens (no normalisation). Absent with keys.discovery.url: what that URL says.
	Issuer string `json:"issuer,omitempty"`
	// Issuers are several exact iss on one key set, instead of Issuer.
	Issuers []string `json:"issuers,omitempty"`
	// IssuerTemplate is an iss with one variable, instead of Issuer.
	IssuerTemplate *IssuerTemplate `json:"issuerTemplate,omitempty"`
	// Audiences of which a token must carry at least one. At least one.
	Audiences []string `json:"audiences"`
	// AudienceFrom is the claim that holds the audience. Default aud.
	AudienceFrom string `json:"audienceFrom,omitempty"`
	// Algorithms accepted. Default RS256, ES256, EdDSA.
	Algorithms []string `json:"algorithms,omitempty"`
	// Keys: exactly one source. Default: discovery from the issuer.
	Keys *TokenKeys `json:"keys,omitempty"`
	// Leeway for nbf and iat. Default 30s, at most 60s.
	Leeway *metav1.Duration `json:"leeway,omitempty"`
	// ExpLeeway for exp. Default 0s, at most 60s.
	ExpLeeway *metav1.Duration `json:"expLeeway,omitempty"`
	// MaxLifetime bounds exp - iat. Default none; 24h with profile at+jwt.
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`
	// Profile: "at+jwt" (RFC 9068, strict), "legacy" (access tokens with typ JWT or none) or "idToken" (ID tokens, for issuers that have
	// nothing else). Default at+jwt.
	Profile string `json:"profile,omitempty"`
	// ClientFrom are the claims that may name the OAuth client; the first that is there counts. Default azp, appid, cid, client_id.
	ClientFrom []string `json:"clientFrom,omitempty"`
	// ServiceMarkers: a token with one of these claims speaks for a service, not for a user. Beside them sub equal to client_id does.
	ServiceMarkers []ClaimRequirement `json:"serviceMarkers,omitempty"`
	// Introspection: its tokens are opaque, and this endpoint says what they are (RFC 7662). Absent: they are JWTs. Issuer may be absent with it.
	Introspection *Introspection `json:"introspection,omitempty"`
	// Roles and Groups say where in the tokens they are. Absent: tokens have none.
	Roles  *Listing `json:"roles,omitempty"`
	Groups *Listing `json:"groups,omitempty"`
}

// Introspection of opaque tokens.
type Introspection struct {
	// URL of the introspection endpoint.
	URL string `json:"url"`
	// ClientID with ClientSecretFile: how we say who asks (client_secret_basic). Or BearerTokenFile.
	ClientID         string `json:"clientID,omitempty"`
	ClientSecretFile string `json:"clientSecretFile,omitempty"`
	BearerTokenFile  string `json:"bearerTokenFile,omitempty"`
	// CAFile is a PEM file of the CAs that the server's certificate may be of. Default: the system's.
	CAFile string `json:"caFile,omitempty"`
	// InsecureTransport permits http.
	InsecureTransport bool `json:"insecureTransport,omitempty"`
	// CacheFor bounds how long an answer counts. Default 30s, 0s to 5m.
	CacheFor *metav1.Duration `json:"cacheFor,omitempty"`
	// Response: json, or jwt: signed answers (RFC 9701), by spec.keys. Default json.
	Response string `json:"response,omitempty"`
}

// Values of Introspection.Response.
const (
	ResponseJSON = "json"
	ResponseJWT  = "jwt"
)

// Listing says where roles or groups are.
type Listing struct {
	// From are claims, as JSON pointers: /realm_access/roles. Those that are there are joined.
	From []string `json:"from"`
	// Separator splits claims that are one string. Absent: a string is one value.
	Separator string `json:"separator,omitempty"`
	// Names maps the tokens' words to ours. Absent: they are taken as they are. Where it is there, other words count for nothing.
	Names map[string]string `json:"names,omitempty"`
}

// IssuerTemplate is an iss with one variable in braces, the claim that must say the same, and the values that are allowed.
type IssuerTemplate struct {
	// Pattern is for example https://login.microsoftonline.com/{tid}/v2.0.
	Pattern string `json:"pattern"`
	// Claim is the list of segments that leads to the claim. Default: the name in the braces.
	Claim []string `json:"claim,omitempty"`
	// Values of the variable, at least one.
	Values []string `json:"values"`
}

// Token profiles.
const (
	ProfileATJWT  = "at+jwt"
	ProfileLegacy = "legacy"

	ProfileIDToken = "idToken"
)

// TokenKeys is where the verification keys come from. Exactly one of inline, file, url, discovery and development is set.
type TokenKeys struct {
	// Inline is a JWK Set as JSON text.
	Inline string `json:"inline,omitempty"`
	// File is the path of a JWK Set; a relative one is relative to the manifest's file. It is watched.
	File string `json:"file,omitempty"`
	// URL of a JWK Set. A private host that is written here permits exactly itself.
	URL string `json:"url,omitempty"`
	// Discovery takes the URL from the issuer's metadata document.
	Discovery *KeyDiscovery `json:"discovery,omitempty"`
	// CAFile is a PEM file of the CAs that the server's certificate may be of; a relative one is relative to the manifest's file. Default: the
	// system's.
	CAFile string `json:"caFile,omitempty"`
	// BearerTokenFile holds a token that the server wants; read at each fetch and sent to the configured host alone.
	BearerTokenFile string `json:"bearerTokenFile,omitempty"`
	// InsecureTransport permits http: whoever is on the way can then choose the keys.
	InsecureTransport bool `json:"insecureTransport,omitempty"`
	// MaxStale is how long the last good keys stay in use while the server can't be reached. Default 24h, 1m to 168h.
	MaxStale *metav1.Duration `json:"maxStale,omitempty"`
	// UnknownKey is what a token with an unknown kid hears while it can't be told whether the issuer has that key: unavailable (503) or
	// unauthorized (401). Default unavailable.
	UnknownKey string `json:"unknownKey,omitempty"`
	// Development takes the keys of the development issuer that `credence up` runs at the address in Issuer (http, loopback).
	// Only in a development mesh.
	Development *DevelopmentKeys `json:"development,omitempty"`
}

// KeyDiscovery is OpenID Connect Discovery §4, or RFC 8414.
type KeyDiscovery struct {
	// URL of the document. Default: the issuer and /.well-known/openid-configuration; the document must name that issuer then. With a URL, an
	// issuer that is written out may differ from the document's.
	URL string `json:"url,omitempty"`
}

// Values of TokenKeys.UnknownKey.
const (
	UnknownKeyUnavailable  = "unavailable"
	UnknownKeyUnauthorized = "unauthorized"
)

// DevelopmentKeys has no fields.
type DevelopmentKeys struct{}
