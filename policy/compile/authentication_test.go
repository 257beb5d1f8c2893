package compile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy"
)

// kindsHead is a mesh with Credentials of every part, and with one part each.
const kindsHead = `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: example.org, development: true}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: orders}
spec: {selectors: {unix: {uid: 1000}}, boundary: user, ports: [{name: http, port: 8080}]}
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: idp}
spec: {issuer: "https://idp.example", audiences: [a], keys: {file: /keys.json}}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: all}
spec:
  basic: {users: [{name: alice, hash: "$2b$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6m"}]}
  apiKeys: {prefix: cr, keys: [{id: k1, sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", subject: job}]}
  clientCertificates: {caFile: /ca.pem}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: keys}
spec:
  apiKeys: {keys: [{sha256: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752", subject: cron}]}
---
`

func authPolicyOf(authentication string, rules ...string) string {
	return kindsHead + `apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: credence.mesh, kind: Mesh, name: mesh}]
  authentication: ` + authentication + `
  rules: [` + strings.Join(rules, ", ") + "]\n"
}

func all(n string) policy.Name { return policy.Name{Namespace: "default", Name: n} }

func TestAuthenticationOfPolicies(t *testing.T) {
	set, lines := compiled(t, authPolicyOf(`{issuers: [idp], basic: [all], clientCertificates: [all, all],
    apiKeys: [{credentials: keys, header: X-Key, query: key}, {credentials: all, bearer: true}, {credentials: all, bearer: true}]}`, "{name: user}"))
	for _, l := range lines {
		if strings.Contains(l, "error") {
			t.Error(l)
		}
	}
	want := policy.Policy{
		Name: all("p"), Issuers: []policy.Name{all("idp")}, Basic: []policy.Name{all("all")}, ClientCertificates: []policy.Name{all("all")},
		APIKeys: []policy.APIKeyUse{{Credentials: all("all"), Bearer: true}, {Credentials: all("keys"), Header: "x-key", Query: "key"}},
		Rules:   []policy.Rule{{Name: "user", Action: policy.Allow, NeedsUser: true}},
	}
	if diff := cmp.Diff(want, set.Policies[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A reference that leads nowhere, or to Credentials without such users, denies and says so at its line.
func TestMissingCredentials(t *testing.T) {
	for authentication, want := range map[string]string{
		"{basic: [gone]}":      "error: there is no Credentials default/gone: the routes of this policy are denied [credentials-missing]",
		"{basic: [all, keys]}": "error: Credentials default/keys has no basic: the routes of this policy are denied [credentials-missing]",
		"{apiKeys: [{credentials: gone, header: x-key}]}": "error: there is no Credentials default/gone",
		"{clientCertificates: [keys]}":                    "error: Credentials default/keys has no clientCertificates",
		"{basic: [broken]}":                               "error: Credentials default/broken is invalid and has no last good version",
	} {
		set, lines := compiled(t, authPolicyOf(authentication, "{name: user}", "{name: open, authentication: [anonymous]}"),
			manifests.Key{Group: "credence.mesh", Kind: "Credentials", Namespace: "default", Name: "broken"})
		found := false
		for _, l := range lines {
			found = found || strings.Contains(l, want) && strings.HasPrefix(l, "in.yaml:36:")
		}
		if !found {
			t.Errorf("%s: no %q at line 36 in %v", authentication, want, lines)
		}
		p := &set.Policies[0]
		if len(p.MissingCredentials) != 1 || !p.Rules[0].NeedsUser {
			t.Errorf("%s: missing %v, rules %+v", authentication, p.MissingCredentials, p.Rules)
		}
	}
}

// In a mesh that makes no internal tokens nobody can come with one: that is said, and nobody passes.
func TestInternalTokensOff(t *testing.T) {
	set, lines := compiled(t, authPolicyOf("{internalToken: true}", "{name: user}"))
	if p := &set.Policies[0]; p.ReadsUser() || !p.Rules[0].NeedsUser {
		t.Errorf("%+v", p)
	}
	if text := strings.Join(lines, "\n"); !strings.Contains(text, "[internal-tokens-off]") {
		t.Error(text)
	}
}

func TestAuthenticationOfRules(t *testing.T) {
	for words, want := range map[string]policy.Rule{
		"":                  {NeedsUser: true},
		"anonymous":         {},
		"peer":              {NeedsPeer: true},
		"basic, bearer":     {NeedsUser: true, Credentials: []policy.CredentialKind{policy.BearerToken, policy.Basic}},
		"anonymous, apiKey": {Credentials: []policy.CredentialKind{policy.APIKey}},
		"peer, clientCertificate, internalToken": {
			NeedsPeer: true, Credentials: []policy.CredentialKind{policy.ClientCertificate, policy.InternalToken},
		},
		"basic, basic": {NeedsUser: true, Credentials: []policy.CredentialKind{policy.Basic}},
	} {
		rule := "{name: r, authentication: [" + words + "]}"
		if words == "" {
			rule = "{name: r}"
		}
		set, _ := compiled(t, authPolicyOf("{issuers: [idp], basic: [all]}", rule))
		want.Name, want.Action = "r", policy.Allow
		if diff := cmp.Diff([]policy.Rule{want}, set.Policies[0].Rules); diff != "" {
			t.Errorf("[%s] (-want +got):\n%s", words, diff)
		}
	}
	// What is no kind lets nobody in, whatever stands beside it.
	set, lines := compiled(t, authPolicyOf("{issuers: [idp]}", "{name: r, authentication: [anonymous, magic]}"))
	if len(set.Policies[0].Rules) != 0 || !strings.Contains(strings.Join(lines, "\n"), "[authentication]") {
		t.Errorf("rules %+v, %v", set.Policies[0].Rules, lines)
	}
}

// A user or a key of two Credentials that are accepted at one place is said to be nobody's there.
func TestSameUserTwice(t *testing.T) {
	text := authPolicyOf("{basic: [all], apiKeys: [{credentials: keys, header: x-key}]}", "{name: user}") + `---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: more}
spec:
  basic: {users: [{name: alice, hash: "$2b$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6m"}, {name: bob, hash: "$2b$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6m"}]}
  apiKeys: {keys: [{sha256: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752", subject: cron}]}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: q}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: orders}]
  authentication: {basic: [more], apiKeys: [{credentials: more, bearer: true}]}
  rules: [{name: user}]
`
	_, lines := compiled(t, text)
	var got []string
	for _, l := range lines {
		if strings.Contains(l, "user-ambiguous") {
			got = append(got, l)
		}
	}
	if len(got) != 2 || !strings.Contains(got[0]+got[1], `a user "alice"`) || !strings.Contains(got[0]+got[1], "the key whose sha256 begins with 60303ae2") {
		t.Errorf("said %v", got)
	}
}
