package v1alpha1

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

const (
	minMaxStale = time.Minute
	maxMaxStale = 7 * 24 * time.Hour
)

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
		c.fail("spec.keys", "one-of", "exactly one source of keys is needed", "set one of discovery, url, file, inline, development; what is meant without keys is discovery: {}")
		return
	}
	switch {
	case k.Inline != "":
		c.inline(k.Inline)
	case k.URL != "":
		c.fetched("spec.keys.url", k.URL, k.InsecureTransport)
	case k.Discovery != nil:
		c.discovery(s)
	case k.Development != nil:
		if u, err := url.Parse(s.Issuer); err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) || u.Port() == "" { //nolint:forbidigo // an operator's URL, no request target
			c.fail("spec.issuer", "invalid-value", "the development issuer needs an http address with a port on loopback",
				"for example http://127.0.0.1:18090")
		}
	}
	c.fetching(k)
}

func (c *checker) inline(text string) {
	const at, hint = "spec.keys.inline", `{"keys": [...]} (RFC 7517)`
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		c.fail(at, "invalid-jwks", fmt.Sprintf("not a JWK Set: %v", err), hint)
	} else if len(set.Keys) == 0 {
		c.fail(at, "invalid-jwks", "the JWK Set has no keys", hint)
	}
}

// fetching checks the settings of keys that come over the network: elsewhere they would be ignored.
func (c *checker) fetching(k *TokenKeys) {
	if k.URL == "" && k.Discovery == nil {
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"caFile", k.CAFile != ""},
			{"bearerTokenFile", k.BearerTokenFile != ""},
			{"insecureTransport", k.InsecureTransport},
			{"maxStale", k.MaxStale != nil},
			{"unknownKey", k.UnknownKey != ""},
		} {
			if f.set {
				c.fail("spec.keys."+f.name, "conflict", "it is for keys that are fetched, and these are not", "remove it, or set url or discovery")
			}
		}
		return
	}
	c.duration("spec.keys.maxStale", k.MaxStale, minMaxStale, maxMaxStale)
	c.oneOf("spec.keys.unknownKey", k.UnknownKey, UnknownKeyUnavailable, UnknownKeyUnauthorized)
	if k.InsecureTransport {
		c.warn("spec.keys.insecureTransport", "insecure-transport",
			"keys may come by http: whoever is on the way can choose them, sign tokens, and read a bearer token", "use https with caFile")
	}
}

// discovery: the document is named, or found by the one issuer; the issuer is written out, or read off the document's URL.
func (c *checker) discovery(s *TokenIssuerSpec) {
	at, insecure := "spec.keys.discovery", s.Keys.InsecureTransport
	written := s.Issuer != "" || len(s.Issuers) > 0 || s.IssuerTemplate != nil
	switch raw := s.Keys.Discovery.URL; {
	case raw != "":
		good := c.fetched(at+".url", raw, insecure)
		if _, ok := IssuerOf(raw); good && !written && !ok {
			c.fail("spec.issuer", "required", "the issuer can't be read off keys.discovery.url, which has no /.well-known/ part of OpenID Connect or RFC 8414",
				"write the exact iss of the tokens")
		}
	case s.Issuer != "":
		if !c.fetched("spec.issuer", s.Issuer, insecure) {
			return
		}
		if u, err := url.Parse(s.Issuer); err != nil || u.RawQuery != "" || u.ForceQuery { //nolint:forbidigo // an operator's URL, no request target
			c.fail("spec.issuer", "invalid-value", "an issuer with a query has no discovery document", "set keys.discovery.url or keys.url")
		}
	case written:
		c.fail(at, "required", "there is more than one issuer, so it is open whose document has the keys", "set keys.discovery.url or keys.url")
	}
}

// fetched checks a URL from which something is fetched that decides who may sign.
func (c *checker) fetched(at, raw string, insecure bool) bool {
	u, err := url.Parse(raw) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		c.fail(at, "invalid-value", "not an absolute URL, which keys can be fetched from", "for example https://issuer.example/jwks.json")
	case u.User != nil || u.Fragment != "":
		c.fail(at, "invalid-value", "the URL carries credentials or a fragment", "remove them")
	case u.Scheme == "http" && (insecure || isLoopback(u.Hostname())), u.Scheme == "https":
		return true
	case u.Scheme == "http":
		c.fail(at, "invalid-value", "keys must come by https: whoever can change them can sign tokens", "use an https URL, or set keys.insecureTransport: true")
	default:
		c.fail(at, "invalid-value", "keys must come by https: whoever can change them can sign tokens", "use an https URL")
	}
	return false
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
