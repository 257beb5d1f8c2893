package v1alpha1_test

import (
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func TestTokenIssuerIntrospection(t *testing.T) {
	const who = "url: 'https://as/introspect', clientID: c, clientSecretFile: f"
	with := func(in, more string) string { return "{audiences: [a], introspection: {" + in + "}" + more + "}" }
	check(t, func() any { return new(v1alpha1.TokenIssuer) }, []row{
		{with(who, ""), nil},
		{with(who, ", issuer: 'https://as'"), nil},
		{with(who, ", issuers: [a, b], audienceFrom: client_id, maxLifetime: 1h, clientFrom: [x]"), nil},
		{with("url: 'https://as/introspect', bearerTokenFile: f", ""), nil},
		{with("url: 'http://127.0.0.1:1/x', bearerTokenFile: f", ""), nil},
		{"{introspection: {" + who + "}}", []string{"audiences required"}},
		{with("", ""), []string{"introspection.url required", "introspection one-of"}},
		{with(who+", bearerTokenFile: f", ""), []string{"introspection one-of"}},
		{with("url: 'https://as', clientID: c", ""), []string{"introspection.clientSecretFile required"}},
		{with("url: 'https://as', clientSecretFile: c", ""), []string{"introspection.clientID required"}},
		{with("url: /x, bearerTokenFile: f", ""), []string{"introspection.url invalid-value"}},
		{with("url: 'https://a:b@as/', bearerTokenFile: f", ""), []string{"introspection.url invalid-value"}},
		{with("url: 'ftp://as/', bearerTokenFile: f, insecureTransport: true", ""), []string{"introspection.url invalid-value"}},
		{with("url: 'http://as/', bearerTokenFile: f", ""), []string{"introspection.url invalid-value"}},
		{with("url: 'http://as/', bearerTokenFile: f, insecureTransport: true", ""), []string{"(introspection.insecureTransport insecure-transport)"}},
		{with(who+", cacheFor: 6m", ""), []string{"introspection.cacheFor out-of-range"}},
		{with(who+", cacheFor: 0s", ""), nil},
		{with(who+", response: xml", ""), []string{"introspection.response unsupported-value"}},
		{with(who, ", profile: legacy"), []string{"profile conflict"}},
		{with(who, ", keys: {file: f}, algorithms: [ES256]"), []string{"keys conflict", "algorithms conflict"}},
		{with(who, ", issuerTemplate: {pattern: 'https://a/{t}', values: [v]}"), []string{"issuerTemplate conflict"}},
		{with(who, ", audienceFrom: sub"), []string{"audienceFrom unsupported-value"}},
		{with(who+", response: jwt", ", issuer: 'https://as', algorithms: [ES256]"), nil},
		{with(who+", response: jwt", ", issuer: as, keys: {file: f}"), nil},
		{with(who+", response: jwt", ""), []string{"issuer required"}},
		{with("url: 'https://as', bearerTokenFile: f, response: jwt", ", issuer: 'https://as'"), []string{"introspection.clientID required"}},
		{with(who+", response: jwt", ", issuer: 'http://127.0.0.1:1', keys: {development: {}}"), []string{"keys.development conflict"}},
	})
}

func TestTokenIssuerIntrospectionDefaults(t *testing.T) {
	plain := &v1alpha1.TokenIssuer{Spec: v1alpha1.TokenIssuerSpec{Introspection: &v1alpha1.Introspection{}}}
	v1alpha1.SetDefaults(plain)
	s := &plain.Spec
	if s.Profile != "" || s.Keys != nil || s.Algorithms != nil || s.MaxLifetime != nil || s.Introspection.Response != "json" || s.Introspection.CacheFor.Duration != v1alpha1.DefaultCacheFor {
		t.Errorf("%+v", s)
	}
	signed := &v1alpha1.TokenIssuer{Spec: v1alpha1.TokenIssuerSpec{Introspection: &v1alpha1.Introspection{Response: "jwt"}}}
	v1alpha1.SetDefaults(signed)
	if s := &signed.Spec; s.Profile != "" || s.Keys == nil || s.Keys.Discovery == nil || len(s.Algorithms) == 0 {
		t.Errorf("%+v", s)
	}
}
