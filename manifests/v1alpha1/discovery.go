package v1alpha1

import (
	"net/url"
	"strings"
)

const (
	wellKnownOIDC  = "/.well-known/openid-configuration"
	wellKnownOAuth = "/.well-known/oauth-authorization-server"
)

// DiscoveryURL is where the metadata document of issuer is by OpenID Connect Discovery §4: a slash at the issuer's end is not doubled.
func DiscoveryURL(issuer string) string { return strings.TrimSuffix(issuer, "/") + wellKnownOIDC }

// IssuerOf is the issuer that the metadata document at raw must name: the well-known part stands after the issuer's path (OpenID Connect
// Discovery §4) or between its host and its path (RFC 8414 §3). False: raw has no well-known part, so it tells of no issuer. An issuer
// that ends with a slash can't be told from one that does not: the answer has none.
func IssuerOf(raw string) (issuer string, ok bool) {
	u, err := url.Parse(raw) //nolint:forbidigo // an operator's URL, no request target
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	path := u.EscapedPath()
	origin, found := strings.CutSuffix(raw, path)
	if !found {
		return "", false
	}
	for _, known := range []string{wellKnownOIDC, wellKnownOAuth} {
		if rest, inserted := strings.CutPrefix(path, known); inserted && (rest == "" || strings.HasPrefix(rest, "/")) {
			return origin + strings.TrimSuffix(rest, "/"), true
		}
		if before, appended := strings.CutSuffix(path, known); appended {
			return origin + before, true
		}
	}
	return "", false
}
