package token

import (
	"slices"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// kind checks that the header says "access token" (RFC 8725 §3.11). Only names known to be right are accepted: every other registered
// +jwt type (DPoP proofs, logout tokens, …) is signed by the same issuers for another purpose.
func (i *issuer) kind(p *parsed) error {
	switch {
	case p.typ == "at+jwt":
	case i.conf.Profile != policy.StrictAccessToken && (!p.hasTyp || p.typ == "jwt"):
	default:
		return invalid(ReasonTyp, "typ %.32q is not accepted of issuer %s", p.typ, i.conf.Name)
	}
	if i.conf.Profile == policy.StrictAccessToken && p.keyInHeader {
		return invalid(ReasonHeader, "a key in the header")
	}
	return nil
}

// profile checks what the library does not: required claims, lifetime, and that it is an access token and one that may be presented
// as bearer.
func (i *issuer) profile(p *parsed) error {
	c := p.claims
	if err := i.required(c); err != nil {
		return err
	}
	if limit := i.conf.MaxLifetime; limit > 0 {
		if c.iat == nil {
			return invalid(ReasonClaimMissing, "iat is missing, and the issuer's maxLifetime needs it")
		}
		if life := c.exp.time().Sub(c.iat.time()); life > limit {
			return invalid(ReasonLifetime, "lives for %s, at most %s is accepted", life.Round(time.Second), limit)
		}
	}
	if _, ok := c.all["events"]; ok {
		return invalid(ReasonEvents, "events: a security event token (RFC 8417)")
	}
	if _, ok := c.all["cnf"]; ok {
		// RFC 9449 §7.1, RFC 8705 §3: a bound token without its proof may be stolen.
		return invalid(ReasonConfirmation, "bound to a key, and presented without proof of it")
	}
	if i.conf.Profile != policy.StrictAccessToken {
		return idToken(p)
	}
	return nil
}

// required by RFC 9068 §2.2; without the profile only a subject, because a decision is about somebody.
func (i *issuer) required(c *claims) error {
	names := []string{"sub"}
	if i.conf.Profile == policy.StrictAccessToken {
		names = []string{"sub", "client_id", "jti"}
		if c.iat == nil {
			return invalid(ReasonClaimMissing, "iat is missing (RFC 9068 §2.2)")
		}
	}
	for _, name := range names {
		if v, err := text(c.all, name); err != nil || v == "" {
			return invalid(ReasonClaimMissing, "%s is missing", name)
		}
	}
	return nil
}

// idToken refuses ID tokens and Keycloak's other tokens where the header tells nothing. A positive sign (typ at+jwt, or Keycloak's claim
// typ Bearer) outweighs the signs of an ID token.
func idToken(p *parsed) error {
	c := p.claims
	if v, ok := c.all["typ"]; ok && v != "Bearer" {
		return invalid(ReasonIDToken, "the claim typ is not Bearer")
	}
	if p.typ == "at+jwt" || c.all["typ"] == "Bearer" {
		return nil
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash"} {
		if _, ok := c.all[name]; ok {
			return invalid(ReasonIDToken, "%s is a claim of ID tokens", name)
		}
	}
	if c.client != "" && len(c.aud) > 0 && !slices.ContainsFunc(c.aud, func(a string) bool { return a != c.client }) {
		return invalid(ReasonIDToken, "aud is only the client that asked for it")
	}
	return nil
}
