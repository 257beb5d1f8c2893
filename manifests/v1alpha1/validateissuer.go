package v1alpha1

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxLeeway   = 60 * time.Second
	maxLifetime = 10 * 365 * 24 * time.Hour
)

func (c *checker) tokenIssuer(s *TokenIssuerSpec) {
	if s.Issuer == "" && len(s.Issuers) == 0 && s.IssuerTemplate == nil {
		c.required("spec.issuer", s.Issuer)
	}
	if len(s.Audiences) == 0 {
		c.fail("spec.audiences", "required", "at least one audience is needed",
			"name what tokens for this mesh carry in aud: a token for somebody else must not be accepted")
	}
	for i, a := range s.Audiences {
		c.required(index("spec.audiences", i), a)
	}
	c.algorithms(s.Algorithms)
	c.keys(s)
	c.duration("spec.leeway", s.Leeway, 0, maxLeeway)
	c.duration("spec.expLeeway", s.ExpLeeway, 0, maxLeeway)
	c.duration("spec.maxLifetime", s.MaxLifetime, time.Second, maxLifetime)
	c.oneOf("spec.profile", s.Profile, ProfileATJWT, ProfileLegacy, ProfileIDToken)
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

func (c *checker) keys(s *TokenIssuerSpec) {
	k := s.Keys
	if k == nil {
		return
	}
	n := 0
	for _, set := range []bool{k.Inline != "", k.File != "", k.URL != "", k.Development != nil, k.Discovery != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		c.fail("spec.keys", "one-of", "exactly one source of keys is needed", "set one of discovery, url, file, inline, development")
		return
	}
	switch {
	case k.Inline != "":
		var set struct {
			Keys []map[string]json.RawMessage `json:"keys"`
		}
		if err := json.Unmarshal([]byte(k.Inline), &set); err != nil {
			c.fail("spec.keys.inline", "invalid-jwks", fmt.Sprintf("not a JWK Set: %v", err), `{"keys": [...]} (RFC 7517)`)
		} else if len(set.Keys) == 0 {
			c.fail("spec.keys.inline", "invalid-jwks", "the JWK Set has no keys", `{"keys": [...]} (RFC 7517)`)
		}
	case k.URL != "":
		c.keysURL(k.URL)
	case k.Development != nil:
		if u, err := url.Parse(s.Issuer); err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) || u.Port() == "" { //nolint:forbidigo // an operator's URL, no request target
			c.fail("spec.issuer", "invalid-value", "the development issuer needs an http address with a port on loopback",
				"for example http://127.0.0.1:18090")
		}
	}
}

func (c *checker) keysURL(raw string) {
	const at = "spec.keys.url"
	u, err := url.Parse(raw) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case err != nil || u.Host == "":
		c.fail(at, "invalid-value", "not an absolute URL", "for example https://issuer.example/jwks.json")
	case u.User != nil || u.Fragment != "":
		c.fail(at, "invalid-value", "the URL carries credentials or a fragment", "remove them")
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	case u.Scheme != "https":
		c.fail(at, "invalid-value", "keys must come by https: whoever can change them can sign tokens", "use an https URL")
	}
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
