package extauthz

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/dpop"
)

// Why a token that is good does not count: its proof of possession. Codes of the decision log.
const (
	reasonProof            = "proof_invalid"
	reasonProofUnavailable = "proof_unavailable"
	reasonProofLimited     = "proof_limited"
)

// Error codes of RFC 9449 §7.1 and §9.
const (
	oauthProof = "invalid_dpop_proof"
	oauthNonce = "use_dpop_nonce"
)

const dpopHeader = "dpop"

// prove asks for the proof of possession that the token of c.user is bound to (RFC 9449 §7.1, RFC 8705 §3), after the token was found
// good, cached or not. A bound token without its proof may be stolen, and a proof beside a token that is bound to nothing says nothing.
// With false the outcome says why not.
func (s *Server) prove(_ context.Context, a *authv3.AttributeContext, o *offered, c *check) bool {
	demonstrated := o.scheme == schemeDPoP
	cnf := c.user.Confirmation
	switch {
	case cnf == nil && !demonstrated:
		return true
	case cnf == nil:
		return c.unproven("dpop_unbound", "the scheme is DPoP, and the token is bound to no key", true)
	case cnf.JKT == "" && cnf.X5T == "":
		return c.unproven("cnf", "the token is bound to what cannot be proven", false)
	case cnf.JKT == "" && demonstrated:
		return c.unproven("dpop_unbound", "the scheme is DPoP, and the token is bound to a certificate", false)
	case cnf.JKT != "" && !demonstrated:
		return c.unproven("dpop_scheme", "the token is bound to a key, and its scheme is not DPoP", true)
	}
	if cnf.X5T != "" && subtle.ConstantTimeCompare([]byte(certificateThumbprint(a.GetSource().GetCertificate())), []byte(cnf.X5T)) != 1 {
		return c.unproven("x5t", "the token is bound to another certificate than the connection's", demonstrated)
	}
	if cnf.JKT == "" {
		return true
	}
	http := a.GetRequest().GetHttp()
	err := s.proofs.Verify(&dpop.Request{
		Proofs: headerValues(http, dpopHeader), Method: c.method, Scheme: http.GetScheme(), Host: http.GetHost(), Path: http.GetPath(),
		// Between proxies the scheme is the hop's.
		AnyScheme: strings.HasPrefix(string(c.proxy), "sidecar/"), Token: o.raw, Thumbprint: cnf.JKT, Audience: string(c.proxy),
	})
	return err == nil || s.refuseProof(err, c)
}

// refuseProof makes the outcome of a proof that was not taken.
func (s *Server) refuseProof(err error, c *check) bool {
	switch {
	case errors.Is(err, credential.ErrLimited):
		c.outcome = outcome{kind: limited, reason: reasonProofLimited, err: err}
	case !errors.Is(err, credential.ErrInvalid):
		c.outcome = outcome{kind: unavailable, reason: reasonProofUnavailable, err: err}
	case credential.Reason(err) == dpop.ReasonNonce:
		c.outcome = outcome{kind: unauthorized, reason: reasonProof, oauth: oauthNonce, dpop: true, nonce: s.proofs.Nonce(), err: err}
	default:
		c.outcome = outcome{kind: unauthorized, reason: reasonProof, oauth: oauthProof, dpop: true, err: err}
	}
	c.user = nil
	return false
}

// unproven is a token that may not be presented like this: invalid_token. The code and detail are for the decision log.
func (c *check) unproven(code, detail string, dpop bool) bool {
	c.user = nil
	c.outcome = outcome{kind: unauthorized, reason: reasonProof, oauth: "invalid_token", dpop: dpop, err: credential.Invalid(code, "%s", detail)}
	return false
}

// dpopAlgorithms is the parameter algs of the challenge (RFC 9449 §7.1).
func dpopAlgorithms() string { return `, algs="` + strings.Join(dpop.Algorithms(), " ") + `"` }

// certificateThumbprint is x5t#S256 (RFC 8705 §3.1) of the URL-encoded PEM that Envoy has of the connection's certificate; "" where there
// is none.
func certificateThumbprint(encoded string) string {
	if encoded == "" {
		return ""
	}
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return ""
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
