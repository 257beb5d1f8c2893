package v1alpha1

import (
	"fmt"
	"net/url"
	"time"
)

const maxIntrospectionCache = 5 * time.Minute

// introspection checks how an issuer of opaque tokens is asked, and that nothing is set which such tokens can't have.
func (c *checker) introspection(s *TokenIssuerSpec) {
	const at = "spec.introspection"
	in := s.Introspection
	if c.required(at+".url", in.URL) {
		c.asked(at+".url", in)
	}
	switch {
	case (in.ClientID != "" || in.ClientSecretFile != "") == (in.BearerTokenFile != ""):
		c.fail(at, "one-of", "the server wants to know who asks: clientID with clientSecretFile, or bearerTokenFile",
			"register credence as a client there: an endpoint that answers everybody lets everybody try tokens")
	case in.BearerTokenFile == "":
		c.required(at+".clientID", in.ClientID)
		c.required(at+".clientSecretFile", in.ClientSecretFile)
	}
	c.duration(at+".cacheFor", in.CacheFor, 0, maxIntrospectionCache)
	c.oneOf(at+".response", in.Response, ResponseJSON, ResponseJWT)
	if in.Response == ResponseJWT {
		c.signedAnswers(s)
	} else {
		c.unsignedAnswers(s)
	}
	for _, f := range []struct {
		name, why string
		set       bool
	}{
		{"issuerTemplate", "tenants of opaque tokens can't be told apart", s.IssuerTemplate != nil},
		{"profile", "profiles are kinds of JWTs, and its tokens are opaque", s.Profile != ""},
	} {
		if f.set {
			c.fail("spec."+f.name, "conflict", f.why, "remove it, or introspection")
		}
	}
}

// signedAnswers (RFC 9701) name their issuer and us.
func (c *checker) signedAnswers(s *TokenIssuerSpec) {
	if s.Introspection.ClientID == "" {
		c.fail("spec.introspection.clientID", "required", "signed answers name the client that they are for", "set clientID and clientSecretFile")
	}
	if s.Issuer == "" && len(s.Issuers) == 0 {
		c.fail("spec.issuer", "required", "signed answers name their issuer", "write the exact iss of the answers")
	}
	if s.Keys != nil && s.Keys.Development != nil {
		c.fail("spec.keys.development", "conflict", "the development issuer signs no answers", "set keys.url, keys.discovery or keys.file")
	}
}

// unsignedAnswers have nothing that keys or algorithms are for.
func (c *checker) unsignedAnswers(s *TokenIssuerSpec) {
	if s.Keys != nil {
		c.fail("spec.keys", "conflict", "nothing of an issuer of opaque tokens is signed", "remove it, or set introspection.response: jwt")
	}
	if len(s.Algorithms) > 0 {
		c.fail("spec.algorithms", "conflict", "nothing of an issuer of opaque tokens is signed", "remove it, or set introspection.response: jwt")
	}
}

// asked checks the URL that tokens and our secret are sent to.
func (c *checker) asked(at string, in *Introspection) {
	u, err := url.Parse(in.URL) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		c.fail(at, "invalid-value", fmt.Sprintf("%q is not an absolute URL", in.URL), "for example https://issuer.example/oauth2/introspect")
	case u.User != nil || u.Fragment != "":
		c.fail(at, "invalid-value", "the URL carries credentials or a fragment", "set clientID and clientSecretFile")
	case u.Scheme == "https":
	case u.Scheme != "http" || !in.InsecureTransport && !isLoopback(u.Hostname()):
		c.fail(at, "invalid-value", "the server must be asked by https: whoever is on the way could say that any token is good",
			"use an https URL, or set introspection.insecureTransport: true")
	case in.InsecureTransport:
		c.warn("spec.introspection.insecureTransport", "insecure-transport",
			"tokens and the secret go by http: whoever is on the way can read them, and say that any token is good", "use https with caFile")
	}
}
