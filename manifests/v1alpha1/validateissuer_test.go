package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func TestTokenIssuerIssuers(t *testing.T) {
	const k = ", audiences: [a], keys: {file: f}}"
	const d = ", audiences: [a], keys: {discovery: {url: 'https://idp.example/.well-known/openid-configuration'}}}"
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprint("i", i)
	}
	check(t, func() any { return new(v1alpha1.TokenIssuer) }, []row{
		{"{issuers: [a, b]" + k, nil},
		{"{issuer: a, issuers: [b]" + k, []string{"issuer one-of"}},
		{"{issuer: a, issuerTemplate: {pattern: 'x{t}', values: [v]}" + k, []string{"issuer one-of"}},
		{"{issuers: [a, '', a]" + k, []string{"issuers[1] required", "issuers[2] duplicate-value"}},
		{"{issuers: [" + strings.Join(many, ", ") + "]" + k, []string{"issuers out-of-range"}},
		{"{issuerTemplate: {pattern: 'https://a/{tid}/v2.0', values: [v-1_x.y~]}" + k, nil},
		{"{issuerTemplate: {pattern: 'https://a/{tid}/v2.0', claim: [org, tid], values: [v]}" + d, nil},
		{"{issuerTemplate: {}" + k, []string{"issuerTemplate.pattern required", "issuerTemplate.values required"}},
		{"{issuerTemplate: {pattern: 'https://a/v2.0', values: [v]}" + k, []string{"issuerTemplate.pattern invalid-value"}},
		{"{issuerTemplate: {pattern: 'https://a/{}', values: [v]}" + k, []string{"issuerTemplate.pattern invalid-value"}},
		{"{issuerTemplate: {pattern: 'https://a/{a}/{b}', values: [v]}" + k, []string{"issuerTemplate.pattern invalid-value"}},
		{"{issuerTemplate: {pattern: 'https://a/{a b}', values: [v]}" + k, []string{"issuerTemplate.pattern invalid-value"}},
		{"{issuerTemplate: {pattern: 'https://a/{a', values: [v]}" + k, []string{"issuerTemplate.pattern invalid-value"}},
		{"{issuerTemplate: {pattern: 'https://a/{t}', claim: [''], values: ['', a/b, 'a{', .., v, v]}" + k, []string{
			"issuerTemplate.claim[0] required", "issuerTemplate.values[0] invalid-value", "issuerTemplate.values[1] invalid-value",
			"issuerTemplate.values[2] invalid-value", "issuerTemplate.values[3] invalid-value", "issuerTemplate.values[5] duplicate-value",
		}},
	})
}

func TestTokenIssuerSettings(t *testing.T) {
	with := func(more string) string { return "{issuer: i, audiences: [a], keys: {file: f}" + more + "}" }
	check(t, func() any { return new(v1alpha1.TokenIssuer) }, []row{
		{with(", profile: legacy, audienceFrom: client_id"), nil},
		{with(", audienceFrom: client_id"), []string{"audienceFrom conflict"}},
		{with(", profile: idToken, audienceFrom: azp"), []string{"audienceFrom conflict"}},
		{with(", profile: legacy, audienceFrom: sub"), []string{"audienceFrom unsupported-value"}},
		{with(", profile: idToken"), nil},
		{with(", profile: idtoken"), []string{"profile unsupported-value"}},
		{with(", clientFrom: [client_id]"), nil},
		{with(", clientFrom: [a, '', a]"), []string{"clientFrom[1] required", "clientFrom[2] duplicate-value"}},
		{with(", serviceMarkers: [{path: [gty], anyOf: [x]}, {pointer: /a~1b/c, anyOf: [x]}]"), nil},
		{with(", serviceMarkers: [{}, {path: [a], pointer: /a, anyOf: [x]}, {pointer: gty, anyOf: [x]}]"), []string{
			"serviceMarkers[0].path required", "serviceMarkers[0].anyOf required", "serviceMarkers[1].pointer one-of", "serviceMarkers[2].pointer invalid-pointer",
		}},
		{with(", clientFrom: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]"), []string{"clientFrom out-of-range"}},
	})
}

func TestTokenIssuerKeys(t *testing.T) {
	with := func(keys string) string { return "{issuer: 'https://i/', audiences: [a], keys: {" + keys + "}}" }
	check(t, func() any { return new(v1alpha1.TokenIssuer) }, []row{
		{"{issuer: 'https://i', audiences: [a]}", nil},
		{"{issuer: i, audiences: [a]}", []string{"issuer invalid-value"}},
		{"{issuer: 'http://i', audiences: [a]}", []string{"issuer invalid-value"}},
		{"{issuer: 'https://i?a=b', audiences: [a]}", []string{"issuer invalid-value"}},
		{"{issuer: 'https://i#a', audiences: [a]}", []string{"issuer invalid-value"}},
		{"{audiences: [a]}", []string{"issuer required"}},
		{"{issuers: ['https://i', 'https://j'], audiences: [a]}", []string{"keys.discovery required"}},
		{"{issuerTemplate: {pattern: 'https://i/{t}', values: [a]}, audiences: [a]}", []string{"keys.discovery required"}},
		{"{audiences: [a], keys: {discovery: {url: 'https://i/.well-known/openid-configuration'}}}", nil},
		{"{audiences: [a], keys: {discovery: {url: 'https://i/.well-known/oauth-authorization-server/realm'}}}", nil},
		{"{audiences: [a], keys: {discovery: {url: 'https://i/metadata'}}}", []string{"issuer required"}},
		{"{audiences: [a], keys: {discovery: {url: 'http://i/.well-known/openid-configuration'}}}", []string{"keys.discovery.url invalid-value"}},
		{with("discovery: {url: 'https://i/metadata?app=1'}"), nil},
		{with("discovery: {url: '/metadata'}"), []string{"keys.discovery.url invalid-value"}},
		{with("discovery: {}, url: 'https://i/jwks'"), []string{"keys one-of"}},
		{with("url: 'https://10.0.0.7/jwks', caFile: ca.pem, bearerTokenFile: token, maxStale: 1h, unknownKey: unauthorized"), nil},
		{with("url: 'http://10.0.0.7/jwks'"), []string{"keys.url invalid-value"}},
		{with("url: 'http://10.0.0.7/jwks', insecureTransport: true"), []string{"(keys.insecureTransport insecure-transport)"}},
		{with("url: 'ftp://10.0.0.7/jwks', insecureTransport: true"), []string{"keys.url invalid-value", "(keys.insecureTransport insecure-transport)"}},
		{with("url: 'https://i/jwks', maxStale: 59s, unknownKey: ok"), []string{"keys.maxStale out-of-range", "keys.unknownKey unsupported-value"}},
		{with("url: 'https://i/jwks', maxStale: 169h"), []string{"keys.maxStale out-of-range"}},
		{with("file: f, caFile: c, bearerTokenFile: b, insecureTransport: true, maxStale: 1h, unknownKey: unavailable"), []string{
			"keys.caFile conflict", "keys.bearerTokenFile conflict", "keys.insecureTransport conflict", "keys.maxStale conflict", "keys.unknownKey conflict",
		}},
	})
}

func TestIssuerOf(t *testing.T) {
	for raw, want := range map[string]string{
		"https://i/.well-known/openid-configuration":             "https://i",
		"https://i:8443/a/b/.well-known/openid-configuration":    "https://i:8443/a/b",
		"https://i/.well-known/openid-configuration/a/b":         "https://i/a/b",
		"https://i/.well-known/oauth-authorization-server":       "https://i",
		"https://i/.well-known/oauth-authorization-server/a%20b": "https://i/a%20b",
		"https://i/a/.well-known/oauth-authorization-server":     "https://i/a",
		"https://i/.well-known/openid-configuration/":            "https://i",
		"https://i/.well-known/openid-configurations":            "",
		"https://i/.well-known/openid-configuration?app=1":       "",
		"https://i/a/.well-known/openid-configuration/b":         "",
		"https://i": "", "": "", "/.well-known/openid-configuration": "",
	} {
		if got, ok := v1alpha1.IssuerOf(raw); got != want || ok != (want != "") {
			t.Errorf("IssuerOf(%q) is %q, %v, want %q", raw, got, ok, want)
		}
	}
	for issuer, want := range map[string]string{
		"https://i": "https://i/.well-known/openid-configuration", "https://i/": "https://i/.well-known/openid-configuration",
		"https://i/a/": "https://i/a/.well-known/openid-configuration",
	} {
		if got := v1alpha1.DiscoveryURL(issuer); got != want {
			t.Errorf("DiscoveryURL(%q) is %q, want %q", issuer, got, want)
		}
	}
}

// Row 34: a claim is addressed by segments or a JSON pointer (RFC 6901 §5), never by a text that somebody splits on dots.
func TestRow34Pointers(t *testing.T) {
	for pointer, want := range map[string][]string{
		"/realm_access/roles": {"realm_access", "roles"}, "/a~1b": {"a/b"}, "/m~0n": {"m~n"}, "/~01": {"~1"}, "/c%d": {"c%d"}, "/ ": {" "},
		"/https:~1~1shop.example~1roles": {"https://shop.example/roles"}, "/kubernetes.io/namespace": {"kubernetes.io", "namespace"},
		"realm_access.roles": nil, "a": nil, "/": nil, "/a//b": nil, "/a/": nil, "/a~": nil, "/a~2": nil, "#/a": nil,
	} {
		r := v1alpha1.ClaimRequirement{Pointer: pointer}
		got, err := r.Segments()
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%q: %v (-want +got):\n%s", pointer, err, diff)
		}
	}
}

func TestRow34Hints(t *testing.T) {
	for claim, hint := range map[string]string{
		"{pointer: realm_access.roles, anyOf: [x]}":        "write /realm_access/roles",
		"{path: [realm_access.roles], anyOf: [x]}":         "write pointer: /realm_access/roles",
		"{path: [kubernetes.io.namespace], anyOf: [x]}":    "write pointer: /kubernetes.io/namespace",
		"{pointer: 'realm_access/roles', anyOf: [x]}":      "for example /realm_access/roles (RFC 6901)",
		"{path: ['https://shop.example/r'], anyOf: [x]}":   "",
		"{path: [kubernetes.io, namespace], anyOf: [x]}":   "",
		"{path: ['cognito:groups'], anyOf: [x]}":           "",
		"{pointer: '/https:~1~1shop.example', anyOf: [x]}": "",
	} {
		p := new(v1alpha1.AuthPolicy)
		got := findings(t, p, policy(true, "{name: a, require: {claims: ["+claim+"]}}"))
		if hint == "" {
			if len(got) > 0 {
				t.Errorf("%s: %v", claim, got)
			}
			continue
		}
		found := v1alpha1.Validate(p)
		if len(found) != 1 || found[0].Code != "invalid-pointer" || found[0].Hint != hint {
			t.Errorf("%s: %+v, want the hint %q", claim, found, hint)
		}
	}
}

func TestRow34ListHint(t *testing.T) {
	const want = "write the segments as a list, or pointer: /realm_access/roles"
	for _, field := range []string{"spec.rules.require.claims.path", "spec.serviceMarkers.path"} {
		if got := v1alpha1.ListHint(field, "realm_access.roles"); got != want {
			t.Errorf("%s: %q", field, got)
		}
	}
	if got := v1alpha1.ListHint("spec.issuers", "https://idp.example"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestPrincipal(t *testing.T) {
	check(t, func() any { return new(v1alpha1.AuthPolicy) }, []row{
		{policy(true, "{name: a, require: {principal: user}}, {name: b, require: {principal: service, scopes: {anyOf: [s]}}}"), nil},
		{policy(true, "{name: a, require: {principal: client}}"), []string{"rules[0].require.principal unsupported-value"}},
		{policy(false, "{name: a, from: [{workload: w}], require: {principal: user}}"), []string{"rules[0].require require-without-issuers"}},
	})
}
