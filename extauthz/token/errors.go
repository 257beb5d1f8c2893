package token

import "github.com/credence-mesh/credence/extauthz/credential"

// Classes of failure. Every error of Verify is exactly one of them (errors.Is).
var (
	// ErrInvalid: the token is not good, and no later try with the same token and configuration can succeed before time or keys
	// change. The client's fault: 401 invalid_token (RFC 6750 §3.1).
	ErrInvalid = credential.ErrInvalid
	// ErrUnavailable: it can't be told whether the token is good (no keys yet, an accepted issuer that can't be used, the context
	// ended). The client is not at fault: 503.
	ErrUnavailable = credential.ErrUnavailable
)

// Reasons, as Reason returns them: stable codes for logs and metrics, never for the client.
const (
	ReasonMalformed         = "malformed"           // not three base64url segments, or not JSON objects
	ReasonTooLarge          = "too_large"           // a limit of size, depth or count
	ReasonUTF8              = "utf8"                // not UTF-8
	ReasonDuplicateMember   = "duplicate_member"    // one name twice in an object
	ReasonEncrypted         = "encrypted"           // JWE
	ReasonAlg               = "alg"                 // algorithm not accepted of this issuer
	ReasonNone              = "none"                // alg none, in any spelling
	ReasonTyp               = "typ"                 // another kind of token
	ReasonCrit              = "crit"                // crit: no extension is understood
	ReasonHeader            = "header"              // b64, cty, or a key in the header
	ReasonKid               = "kid"                 // kid is not a short printable string
	ReasonKidUnknown        = "kid_unknown"         // the issuer has no such key for this algorithm
	ReasonKeyIssuer         = "key_issuer"          // the key names another issuer as the one that it is for
	ReasonSignature         = "signature"           // does not verify
	ReasonExpired           = "expired"             // exp
	ReasonNotYetValid       = "not_yet_valid"       // nbf
	ReasonIssuedInFuture    = "issued_in_future"    // iat
	ReasonLifetime          = "lifetime"            // exp - iat over the issuer's maximum
	ReasonIssuerUnknown     = "issuer_unknown"      // no TokenIssuer has this iss
	ReasonIssuerNotAccepted = "issuer_not_accepted" // a TokenIssuer has it, the route accepts others
	ReasonAudience          = "audience"            // aud has none of ours
	ReasonTenant            = "tenant"              // iss names one tenant, and the claim another or none
	ReasonClaimMissing      = "claim_missing"       // a required claim
	ReasonClaimType         = "claim_type"          // a claim of another JSON type than its RFC says
	ReasonClaimValue        = "claim_value"         // a time out of range
	ReasonScope             = "scope"               // scope syntax, or scope and scp that differ
	ReasonIDToken           = "id_token"            // an ID token is not an access token
	ReasonAccessToken       = "access_token"        // an access token is not an ID token
	ReasonEvents            = "events"              // a security event or logout token
	ReasonConfirmation      = "cnf"                 // bound to what cannot be proven
	ReasonNoKeys            = "no_keys"             // unavailable: the issuer's keys are not known
	ReasonIssuerConfig      = "issuer_config"       // unavailable: an accepted issuer is missing or unusable
	ReasonCanceled          = "canceled"            // unavailable: the context ended
)

// Reason is credential.Reason. What it and Detail say holds nothing of a token but alg, kid and typ names of bounded length, quoted.
func Reason(err error) string { return credential.Reason(err) }

// Detail is credential.Detail: by how much a clock is ahead, both numbers of a limit, the issuer.
func Detail(err error) string { return credential.Detail(err) }

func invalid(reason, format string, args ...any) error {
	return credential.Invalid(reason, format, args...)
}

func unavailable(reason, format string, args ...any) error {
	return credential.Unavailable(reason, format, args...)
}
