package v1alpha1_test

import (
	"fmt"
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func TestPolicyAuthentication(t *testing.T) {
	policy := func(kind, authentication, rules string) string {
		group := "credence.mesh"
		if kind == "Gateway" || kind == "HTTPRoute" {
			group = "gateway.networking.k8s.io"
		}
		return fmt.Sprintf("{targetRefs: [{group: %s, kind: %s, name: w}], authentication: {%s}, rules: [%s]}", group, kind, authentication, rules)
	}
	const keys = "authentication.apiKeys[0]"
	check(t, func() any { return new(v1alpha1.AuthPolicy) }, []row{
		{policy("Mesh", "issuers: [a], basic: [b], apiKeys: [{credentials: c, header: X-Key, bearer: true, query: api_key}], clientCertificates: [d], internalToken: true", "{name: r}"), nil},
		{policy("Mesh", "", ""), []string{"authentication required"}},
		{policy("Mesh", "internalToken: false", ""), []string{"authentication required"}},
		{policy("Workload", "internalToken: true", "{name: r}"), nil},
		{policy("Gateway", "internalToken: true", "{name: r}"), []string{"authentication.internalToken unsupported-value"}},
		{policy("HTTPRoute", "internalToken: true, issuers: [a]", "{name: r}"), []string{"authentication.internalToken unsupported-value"}},
		{policy("Workload", "clientCertificates: [a]", "{name: r}"), []string{"authentication.clientCertificates unsupported-value"}},
		{policy("Gateway", "clientCertificates: [a, a, B]", "{name: r}"), []string{"authentication.clientCertificates[1] duplicate-value", "authentication.clientCertificates[2] invalid-name"}},
		{policy("Mesh", "basic: [a, a, '']", "{name: r}"), []string{"authentication.basic[1] duplicate-value", "authentication.basic[2] required"}},
		{policy("Mesh", "apiKeys: [{}]", "{name: r}"), []string{keys + ".credentials required", keys + " required"}},
		{policy("Mesh", "apiKeys: [{credentials: a, query: k}, {credentials: a, query: k}, {credentials: a, query: l}]", "{name: r}"), []string{"authentication.apiKeys[1] duplicate-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: Authorization}]", "{name: r}"), []string{keys + ".header unsupported-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: x-credence-subject}]", "{name: r}"), []string{keys + ".header unsupported-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: Txn-Token}]", "{name: r}"), []string{keys + ".header unsupported-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: X-Forwarded-For}]", "{name: r}"), []string{keys + ".header unsupported-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: cookie}]", "{name: r}"), []string{keys + ".header unsupported-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: ':path'}]", "{name: r}"), []string{keys + ".header invalid-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, header: x_key}]", "{name: r}"), []string{keys + ".header invalid-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, query: access_token}]", "{name: r}"), []string{keys + ".query unsupported-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, query: 'k&l'}]", "{name: r}"), []string{keys + ".query invalid-value"}},
		{policy("Mesh", "apiKeys: [{credentials: a, query: 'k%6b'}]", "{name: r}"), []string{keys + ".query invalid-value"}},
		{policy("Mesh", "issuers: [a]", "{name: r, authentication: [bearer, basic, bearer]}"), []string{
			"rules[0].authentication[1] authentication-not-accepted", "rules[0].authentication[2] duplicate-value",
		}},
		{policy("Mesh", "issuers: [a]", "{name: r, authentication: [anonymous, bearer]}"), nil},
		{policy("Mesh", "issuers: [a]", "{name: r, authentication: [anonymous, peer]}"), []string{"rules[0].authentication one-of"}},
		{policy("Mesh", "issuers: [a]", "{name: r, authentication: [peer], require: {principal: user}}"), []string{"(rules[0].require require-of-anonymous)"}},
		{policy("Mesh", "basic: [a]", "{name: r, require: {scopes: {allOf: [s]}}}"), nil},
		{policy("Mesh", "basic: [a]", "{name: r, action: deny, authentication: [basic]}"), []string{"rules[0].authentication unsupported-value"}},
		{"{targetRefs: [{group: credence.mesh, kind: Workload, name: w}], rules: [{name: r, authentication: [peer]}]}", nil},
		{
			"{targetRefs: [{group: credence.mesh, kind: Workload, name: w}], rules: [{name: r, authentication: [bearer]}]}",
			[]string{"rules[0].authentication[0] authentication-not-accepted"},
		},
	})
}
