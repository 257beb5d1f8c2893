package introspect

import (
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// judge compares what an answer says of an active token with the issuer's configuration: a server also knows tokens that are for others.
func (i *issuer) judge(s *token.Statement) error {
	ours := func(a string) bool { return slices.Contains(i.conf.Audiences, a) }
	_, addressed := s.All["aud"]
	switch {
	case len(i.conf.Issuers) > 0 && s.Issuer == "":
		return credential.Invalid(token.ReasonClaimMissing, "iss is missing, and issuer %s has one", i.conf.Name)
	case len(i.conf.Issuers) > 0 && !slices.Contains(i.conf.Issuers, s.Issuer):
		return credential.Invalid(token.ReasonIssuerUnknown, "iss is not that of issuer %s", i.conf.Name)
	case len(s.Audience) == 0:
		return credential.Invalid(token.ReasonClaimMissing, "%s is missing, and issuer %s has audiences", i.audienceFrom(), i.conf.Name)
	case !slices.ContainsFunc(s.Audience, ours):
		return credential.Invalid(token.ReasonAudience, "%s has none of the audiences of issuer %s", i.audienceFrom(), i.conf.Name)
	case addressed && !slices.ContainsFunc(s.Addressed, ours):
		// RFC 7519 §4.1.3, whatever else stands for the audience here.
		return credential.Invalid(token.ReasonAudience, "aud is there and has none of the audiences of issuer %s", i.conf.Name)
	}
	if err := kind(s.All, s.Confirmation); err != nil {
		return err
	}
	return i.lifetime(s)
}

func (i *issuer) audienceFrom() string {
	if i.conf.AudienceFrom == "" {
		return "aud"
	}
	return i.conf.AudienceFrom
}

// lifetime is bounded where the issuer's configuration says so.
func (i *issuer) lifetime(s *token.Statement) error {
	limit := i.conf.MaxLifetime
	switch {
	case limit <= 0:
		return nil
	case s.Expires.IsZero() || s.IssuedAt.IsZero():
		return credential.Invalid(token.ReasonClaimMissing, "exp or iat is missing, and the issuer's maxLifetime needs both")
	}
	if life := s.Expires.Sub(s.IssuedAt); life > limit {
		return credential.Invalid(token.ReasonLifetime, "lives for %s, at most %s is accepted", life.Round(time.Second), limit)
	}
	return nil
}

// kind refuses what a server knows beside access tokens: a refresh token is active as well. token_type is RFC 6749 §5.1's, token_use
// Hydra's and Cognito's, typ Keycloak's name for the kind of a token.
func kind(all map[string]any, bound *decide.Confirmation) error {
	for name, good := range map[string][]string{
		"token_type": {"bearer", "dpop", "access_token"},
		"token_use":  {"access", "access_token"},
		"typ":        {"bearer", "dpop", "at+jwt", "jwt"},
	} {
		v, there := all[name]
		if !there {
			continue
		}
		if s, ok := v.(string); !ok || !slices.Contains(good, strings.ToLower(s)) {
			return credential.Invalid(token.ReasonTyp, "%s says that it is no access token", name)
		}
	}
	if s, ok := all["token_type"].(string); ok && strings.EqualFold(s, "DPoP") && (bound == nil || bound.JKT == "") {
		return credential.Invalid(token.ReasonConfirmation, "token_type is DPoP, and cnf names no key")
	}
	if _, ok := all["events"]; ok {
		return credential.Invalid(token.ReasonEvents, "events: a security event token (RFC 8417)")
	}
	return nil
}

// user makes the facts that decisions are about. Without sub it speaks for the client (RFC 7662 §2.2), unless it names a person.
func (i *issuer) user(s *token.Statement) (*decide.User, error) {
	u := &decide.User{
		Issuer: i.conf.Name, IssuerURL: s.Issuer, Subject: s.Subject, Service: s.Service, Client: s.Client, Scopes: s.Scopes, Claims: s.All,
		Expires: s.Expires, Credential: policy.BearerToken, Origin: policy.BearerToken, TokenID: s.ID, IssuedAt: s.IssuedAt,
		ACR: s.ACR, AuthTime: s.AuthTime, Confirmation: s.Confirmation,
		Roles: decide.Listed(s.All, i.conf.Roles), Groups: decide.Listed(s.All, i.conf.Groups),
	}
	if len(i.conf.Issuers) == 0 {
		// Nothing vouches for what the server calls itself: it must not pass for another issuer.
		u.IssuerURL = "introspection/" + i.conf.Name.String()
	}
	if u.Subject == "" {
		if _, person := s.All["username"]; person || s.Client == "" {
			return nil, credential.Invalid(token.ReasonClaimMissing, "sub is missing")
		}
		u.Subject, u.Service = s.Client, true
	}
	return u, nil
}
