package dpop

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/token"
)

// Window of iat around now: by how much a client's clock may be ahead, and how old a proof may be.
const (
	Early = 5 * time.Second
	Late  = 60 * time.Second
)

const maxJTI = 256

// Reasons beside those of package token: stable codes for logs and metrics.
const (
	ReasonMissing  = "dpop_missing"  // no proof
	ReasonSeveral  = "dpop_several"  // more than one
	ReasonClaims   = "dpop_claims"   // jti, htm, htu, iat or ath is missing or of another type
	ReasonMethod   = "dpop_method"   // htm
	ReasonURL      = "dpop_url"      // htu
	ReasonTime     = "dpop_time"     // iat
	ReasonToken    = "dpop_token"    // ath
	ReasonKey      = "dpop_key"      // the token is bound to another key
	ReasonNonce    = "dpop_nonce"    // made, maybe, before this process started
	ReasonReplayed = "dpop_replayed" // used before
	ReasonFull     = "dpop_full"     // too many proofs are remembered
)

// Options of a Verifier.
type Options struct {
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Proofs bounds how many used proofs are remembered, about 100 bytes each; one key has a sixteenth of it. 0: a million.
	Proofs int
}

// Verifier checks proofs. Safe for concurrent use; it starts nothing.
type Verifier struct {
	now     func() time.Time
	started time.Time
	nonce   string
	seen    *seen
}

// New makes a Verifier that takes proofs made from now on.
func New(o Options) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Proofs <= 0 {
		o.Proofs = 1 << 20
	}
	return &Verifier{now: o.Now, started: o.Now(), nonce: rand.Text(), seen: newSeen(o.Proofs)}
}

// Nonce is what a client puts into a proof to show that it is newer than this process (RFC 9449 §9).
func (v *Verifier) Nonce() string { return v.nonce }

// Algorithms that may sign proofs, for challenges (RFC 9449 §7.1).
func Algorithms() []string {
	return []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
}

// Request is what a proof must be for.
type Request struct {
	// Proofs are all values of the DPoP header.
	Proofs []string
	// Method, Scheme, Host (with port, where it came with one) and Path (without query) as the client used them.
	Method, Scheme, Host, Path string
	// AnyScheme: Scheme is not the client's (it is lost behind a gateway); http and https are both good.
	AnyScheme bool
	// Token is the access token, Thumbprint the key that it is bound to (cnf.jkt).
	Token, Thumbprint string
	// Audience is who asks: a proof is used once at each.
	Audience string
}

// Verify is nil where r has exactly one proof and every check of RFC 9449 §4.3 holds. The proof is used up then. Errors are of package
// credential.
func (v *Verifier) Verify(r *Request) error {
	raw, err := single(r.Proofs)
	if err != nil {
		return err
	}
	p, err := token.VerifyProof(raw, "dpop+jwt", Algorithms())
	if err != nil {
		return err
	}
	jti, htm, htu, ath := word(p, "jti"), word(p, "htm"), word(p, "htu"), word(p, "ath")
	sum := sha256.Sum256([]byte(r.Token))
	now := v.now()
	switch {
	case jti == "" || len(jti) > maxJTI || htm == "" || htu == "" || ath == "" || p.IssuedAt.IsZero():
		return credential.Invalid(ReasonClaims, "jti, htm, htu, ath or iat is missing, too long or of another type")
	case r.Thumbprint == "" || subtle.ConstantTimeCompare([]byte(p.Thumbprint), []byte(r.Thumbprint)) != 1:
		return credential.Invalid(ReasonKey, "the token is bound to another key")
	case subtle.ConstantTimeCompare([]byte(ath), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) != 1:
		return credential.Invalid(ReasonToken, "ath is not that of the token")
	case htm != r.Method:
		return credential.Invalid(ReasonMethod, "htm is another method")
	case !sameURL(htu, r):
		return credential.Invalid(ReasonURL, "htu is another URL")
	case p.IssuedAt.After(now.Add(Early)):
		return credential.Invalid(ReasonTime, "the client's clock is %s ahead", p.IssuedAt.Sub(now).Round(time.Second))
	case now.Sub(p.IssuedAt) > Late:
		return credential.Invalid(ReasonTime, "made %s ago", now.Sub(p.IssuedAt).Round(time.Second))
	// A proof of the process before this one may say that it was issued up to Early after it was used there.
	case !p.IssuedAt.After(v.started.Add(Early)) && word(p, "nonce") != v.nonce:
		return credential.Invalid(ReasonNonce, "it may be older than this process: the nonce is needed")
	}
	return v.seen.use(r.Audience, p.Thumbprint, jti, p.IssuedAt.Add(Late), now)
}

func single(proofs []string) (string, error) {
	switch {
	case len(proofs) == 0:
		return "", credential.Invalid(ReasonMissing, "the token is bound to a key, and there is no DPoP header")
	// Envoy joins several lines to one; no JWS has a comma.
	case len(proofs) > 1 || strings.IndexByte(proofs[0], ',') >= 0:
		return "", credential.Invalid(ReasonSeveral, "more than one DPoP header")
	}
	return strings.Trim(proofs[0], " \t"), nil
}

// word is a string claim, "" where it is anything else.
func word(p *token.Proof, name string) string {
	s, _ := p.Claims[name].(string)
	return s
}
