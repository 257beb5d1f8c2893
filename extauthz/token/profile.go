package token

import (
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// kind checks that the header says the kind of token that the profile takes (RFC 8725 §3.11). Only names known to be right are accepted:
// every other registered +jwt type (DPoP proofs, logout tokens, …) is signed by the same issuers for another purpose.
func (i *issuer) kind(p *parsed) error {
	plain := !p.hasTyp || p.typ == "jwt"
	good := false
	switch i.conf.Profile {
	case policy.StrictAccessToken:
		good = p.typ == accessTyp
	case policy.LegacyAccessToken:
		good = plain || p.typ == accessTyp
	case policy.IDToken:
		good = plain
	}
	if !good {
		return invalid(ReasonTyp, "typ %.32q is not accepted of issuer %s", p.typ, i.conf.Name)
	}
	if i.conf.Profile == policy.StrictAccessToken && p.keyInHeader {
		return invalid(ReasonHeader, "a key in the header")
	}
	return nil
}

const accessTyp = "at+jwt"

// profile checks what the library does not: required claims, lifetime, and that it is a token of the profile's kind and one that may be
// presented as bearer.
func (i *issuer) profile(p *parsed, c view) error {
	if err := i.required(c.claims); err != nil {
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
	if says(c.claims, "typ", "refresh", "offline", "logout") || says(c.claims, "token_use", "refresh") {
		return invalid(ReasonTyp, "a claim says that it is a refresh or logout token")
	}
	switch i.conf.Profile {
	case policy.StrictAccessToken:
		if says(c.claims, "typ", "id") || says(c.claims, "token_use", "id") {
			return invalid(ReasonIDToken, "a claim says that it is an ID token")
		}
		return nil
	case policy.LegacyAccessToken:
		return legacyAccessToken(p, c)
	case policy.IDToken:
		return i.idToken(c.claims)
	}
	return invalid(ReasonTyp, "the profile is not known")
}

// required by RFC 9068 §2.2 or OpenID Connect Core §2; without either only a subject, because a decision is about somebody.
func (i *issuer) required(c *claims) error {
	names := []string{"sub"}
	if i.conf.Profile == policy.StrictAccessToken {
		names = []string{"sub", "client_id", "jti"}
	}
	if i.conf.Profile != policy.LegacyAccessToken && c.iat == nil {
		return invalid(ReasonClaimMissing, "iat is missing (RFC 9068 §2.2, OpenID Connect Core §2)")
	}
	for _, name := range names {
		if v, err := text(c.all, name); err != nil || v == "" {
			return invalid(ReasonClaimMissing, "%s is missing", name)
		}
	}
	return nil
}

// says tells whether a claim is one of words, in any case.
func says(c *claims, name string, words ...string) bool {
	s, ok := c.all[name].(string)
	return ok && slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(s, w) })
}

// other tells whether a claim is there and is not exactly value: typ is Keycloak's, token_use Cognito's name for the kind of a token.
func other(c *claims, name, value string) bool {
	v, ok := c.all[name]
	return ok && v != value
}

// legacyAccessToken refuses ID tokens and other tokens where the header tells nothing. A positive sign (typ at+jwt, or Keycloak's claim
// typ Bearer) outweighs the signs of an ID token.
func legacyAccessToken(p *parsed, c view) error {
	if other(c.claims, "typ", "Bearer") {
		return invalid(ReasonIDToken, "the claim typ is not Bearer")
	}
	if other(c.claims, "token_use", "access") {
		return invalid(ReasonIDToken, "the claim token_use is not access")
	}
	if p.typ == accessTyp || c.all["typ"] == "Bearer" {
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

// idToken takes what OpenID Connect Core §2 calls one: aud is a client id, at_hash and nonce are normal.
func (i *issuer) idToken(c *claims) error {
	if other(c, "typ", "ID") || other(c, "token_use", "id") {
		return invalid(ReasonAccessToken, "a claim says that it is no ID token")
	}
	azp, err := text(c.all, "azp")
	if err != nil {
		return err
	}
	if _, there := c.all["azp"]; there && !slices.Contains(i.conf.Audiences, azp) {
		// Core §3.1.3.7: issued to another client, which may have handed it on.
		return invalid(ReasonAudience, "azp is none of the audiences of issuer %s", i.conf.Name)
	}
	return nil
}
