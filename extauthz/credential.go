package extauthz

import (
	"slices"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// Why the credential of a request cannot be told. All are answered with 400 invalid_request (RFC 6750 §3.1).
const (
	reasonCredentials = "credentials_ambiguous"
	reasonCredential  = "credential_malformed" //nolint:gosec // a reason, no credential
)

const authorization = "authorization"

// authorizations are all values of the header, wherever the proxy put them. Envoy joins duplicates to one value; a proxy that does not
// must not be a way around.
func authorizations(http *authv3.AttributeContext_HttpRequest) []string {
	var values []string
	for _, h := range http.GetHeaderMap().GetHeaders() {
		if !strings.EqualFold(h.GetKey(), authorization) {
			continue
		}
		raw, value := h.GetRawValue(), h.GetValue()
		if len(raw) > 0 {
			values = append(values, string(raw))
		}
		if value != "" && value != string(raw) || len(raw) == 0 {
			values = append(values, value)
		}
	}
	for name, value := range http.GetHeaders() {
		if strings.EqualFold(name, authorization) && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// bearer takes the one token out of a request; "" where none is presented or, with reads false, none is read. Authorization with a
// comma is two headers that Envoy has joined, or could be taken for them: refused where the route reads it, and elsewhere for the
// schemes that have no comma of their own. Other schemes (AWS SigV4, Digest) pass untouched on routes that read no token.
func bearer(values []string, query string, reads bool) (token, reason string) {
	switch {
	case len(values) == 0:
		// RFC 6750 §2.3: a token in the query is not supported, so it is as if there were none.
		return "", ""
	case len(values) > 1:
		return "", reasonCredentials
	}
	value := values[0]
	scheme, rest, _ := strings.Cut(strings.Trim(value, " \t"), " ")
	if strings.IndexByte(value, ',') >= 0 && (reads || hasNoComma(scheme)) {
		return "", reasonCredentials
	}
	if !reads || !strings.EqualFold(scheme, "Bearer") {
		return "", ""
	}
	token = strings.TrimLeft(rest, " ")
	if token == "" || strings.IndexByte(token, ' ') >= 0 || strings.IndexByte(token, '\t') >= 0 {
		return "", reasonCredential
	}
	if hasParameter(query, "access_token") {
		return "", reasonCredentials
	}
	return token, ""
}

func hasNoComma(scheme string) bool {
	return strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Basic") || strings.EqualFold(scheme, "DPoP")
}

// hasParameter finds a query parameter by name; names compare after decoding.
func hasParameter(query, name string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, _, _ := strings.Cut(pair, "=")
		if key == name {
			return true
		}
		if strings.IndexByte(key, '%') >= 0 {
			if decoded, reason := unescape(key, false); reason == "" && decoded == name {
				return true
			}
		}
	}
	return false
}
