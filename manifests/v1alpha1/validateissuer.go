package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxLeeway        = 60 * time.Second
	maxLifetime      = 10 * 365 * 24 * time.Hour
	maxIssuers       = 64
	maxTenants       = 1024
	maxClaimSettings = 16 // of clientFrom and serviceMarkers
)

func (c *checker) tokenIssuer(s *TokenIssuerSpec) {
	c.issuers(s)
	if len(s.Audiences) == 0 {
		c.fail("spec.audiences", "required", "at least one audience is needed",
			"name what tokens for this mesh carry in aud: a token for somebody else must not be accepted")
	}
	for i, a := range s.Audiences {
		c.required(index("spec.audiences", i), a)
	}
	c.audienceFrom(s)
	c.algorithms(s.Algorithms)
	c.keys(s)
	if s.Introspection != nil {
		c.introspection(s)
	}
	c.duration("spec.leeway", s.Leeway, 0, maxLeeway)
	c.duration("spec.expLeeway", s.ExpLeeway, 0, maxLeeway)
	c.duration("spec.maxLifetime", s.MaxLifetime, time.Second, maxLifetime)
	if s.Introspection == nil {
		c.oneOf("spec.profile", s.Profile, ProfileATJWT, ProfileLegacy, ProfileIDToken)
	}
	c.claimNames("spec.clientFrom", s.ClientFrom)
	c.listing("spec.roles", s.Roles)
	c.listing("spec.groups", s.Groups)
	if len(s.ServiceMarkers) > maxClaimSettings {
		c.fail("spec.serviceMarkers", "out-of-range", fmt.Sprintf("%d marks, at most %d are taken", len(s.ServiceMarkers), maxClaimSettings), "")
	}
	for i := range s.ServiceMarkers {
		c.claim(index("spec.serviceMarkers", i), &s.ServiceMarkers[i])
	}
}

// issuers checks which iss are meant: by exactly one field, or by none where the discovery document's URL says it.
func (c *checker) issuers(s *TokenIssuerSpec) {
	n := 0
	for _, set := range []bool{s.Issuer != "", len(s.Issuers) > 0, s.IssuerTemplate != nil} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		c.fail("spec.issuer", "one-of", "issuer, issuers and issuerTemplate exclude each other", "keep one of them")
	case n == 0 && s.Introspection != nil: // what its answers call themselves is not looked at
	case n == 0 && (s.Keys == nil || s.Keys.Discovery == nil || s.Keys.Discovery.URL == ""):
		c.required("spec.issuer", s.Issuer)
	}
	if len(s.Issuers) > maxIssuers {
		c.fail("spec.issuers", "out-of-range", fmt.Sprintf("%d issuers, at most %d are taken", len(s.Issuers), maxIssuers), "")
	}
	for i, iss := range s.Issuers {
		if c.required(index("spec.issuers", i), iss) && slices.Contains(s.Issuers[:i], iss) {
			c.fail(index("spec.issuers", i), "duplicate-value", fmt.Sprintf("%q is given twice", iss), "")
		}
	}
	if s.IssuerTemplate != nil {
		c.template(s.IssuerTemplate)
	}
}

var (
	templateVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	// templateValue holds nothing that ends a part of a URL: a value can't make the issuer another one.
	templateValue = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$`)
)

func (c *checker) template(t *IssuerTemplate) {
	const at = "spec.issuerTemplate"
	if c.required(at+".pattern", t.Pattern) {
		if _, variable, _, ok := t.Split(); !ok || !templateVariable.MatchString(variable) {
			c.fail(at+".pattern", "invalid-value", fmt.Sprintf("%q has not exactly one variable in braces", t.Pattern),
				"for example https://login.microsoftonline.com/{tid}/v2.0")
		}
	}
	for i, segment := range t.Claim {
		c.required(index(at+".claim", i), segment)
	}
	if len(t.Values) == 0 {
		c.fail(at+".values", "required", "at least one value is needed", "list the tenants whose tokens are accepted: any tenant would be anybody")
	}
	if len(t.Values) > maxTenants {
		c.fail(at+".values", "out-of-range", fmt.Sprintf("%d values, at most %d are taken", len(t.Values), maxTenants), "")
	}
	seen := make(map[string]bool, len(t.Values))
	for i, v := range t.Values {
		switch {
		case !templateValue.MatchString(v):
			c.fail(index(at+".values", i), "invalid-value", fmt.Sprintf("%q can't stand in the issuer", v), `letters, digits, "-", ".", "_" and "~"`)
		case seen[v]:
			c.fail(index(at+".values", i), "duplicate-value", fmt.Sprintf("%q is given twice", v), "")
		}
		seen[v] = true
	}
}

// Split cuts the pattern at its variable. It is not ok unless there is exactly one.
func (t *IssuerTemplate) Split() (before, variable, after string, ok bool) {
	before, rest, opened := strings.Cut(t.Pattern, "{")
	variable, after, closed := strings.Cut(rest, "}")
	return before, variable, after, opened && closed && variable != "" && !strings.ContainsAny(before+variable+after, "{}")
}

// audienceFrom: a claim that says something else about every token would make the audience mean nothing.
func (c *checker) audienceFrom(s *TokenIssuerSpec) {
	const at = "spec.audienceFrom"
	switch from := s.AudienceFrom; {
	case from == "aud", !c.required(at, from):
	case slices.Contains([]string{"iss", "sub", "exp", "nbf", "iat", "jti", "scope", "scp"}, from):
		c.fail(at, "unsupported-value", fmt.Sprintf("%s does not say whom a token is for", from), "aud, or client_id where the issuer leaves aud out")
	case s.Introspection != nil:
	case s.Profile != ProfileLegacy:
		c.fail(at, "conflict", fmt.Sprintf("tokens of profile %s have aud: it is required there", s.Profile), "remove it, or set profile: legacy")
	}
}

func (c *checker) claimNames(at string, names []string) {
	if len(names) > maxClaimSettings {
		c.fail(at, "out-of-range", fmt.Sprintf("%d claims, at most %d are taken", len(names), maxClaimSettings), "")
	}
	for i, n := range names {
		if c.required(index(at, i), n) && slices.Contains(names[:i], n) {
			c.fail(index(at, i), "duplicate-value", n+" is given twice", "")
		}
	}
}

func (c *checker) algorithms(algorithms []string) {
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	seen := map[string]bool{}
	for i, a := range algorithms {
		at := index("spec.algorithms", i)
		switch {
		case strings.EqualFold(a, "none"):
			c.fail(at, "unsafe-algorithm", "none accepts unsigned tokens", "remove it")
		case strings.HasPrefix(strings.ToUpper(a), "HS"):
			c.fail(at, "unsafe-algorithm", a+" verifies with a shared secret: whoever can verify could also sign",
				"use an asymmetric algorithm: "+strings.Join(known, ", "))
		case !slices.Contains(known, a):
			c.fail(at, "unsupported-value", fmt.Sprintf("%q is not an algorithm that is supported", a), "one of: "+strings.Join(known, ", "))
		case seen[a]:
			c.fail(at, "duplicate-value", a+" is given twice", "")
		case a == "ES512":
			c.warn(at, "slow-algorithm", "ES512 costs many times what ES256 does at each first sight of a token", "prefer ES256 or EdDSA")
		}
		seen[a] = true
	}
}
