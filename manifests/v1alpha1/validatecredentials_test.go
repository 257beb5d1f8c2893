package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

const (
	bcryptOf = "$2y$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6."
	argonOf  = "$argon2id$v=19$m=47104,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
)

func TestCredentials(t *testing.T) {
	user := func(hash string) string { return "{basic: {users: [{name: alice, hash: '" + hash + "'}]}}" }
	argon := func(params string) string { return user(strings.Replace(argonOf, "m=47104,t=1,p=1", params, 1)) }
	key := func(more string) string {
		return "{apiKeys: {keys: [{sha256: " + strings.Repeat("0a", 32) + ", subject: job" + more + "}]}}"
	}
	const hash, damaged, costs = "basic.users[0].hash weak-hash", "basic.users[0].hash invalid-value", "basic.users[0].hash out-of-range"
	check(t, func() any { return new(v1alpha1.Credentials) }, []row{
		{"{}", []string{"spec required"}},
		{user(bcryptOf), nil},
		{user(strings.Replace(bcryptOf, "$2y$10", "$2a$04", 1)), nil},
		{user(strings.Replace(bcryptOf, "$2y$10", "$2b$13", 1)), nil},
		{user(strings.Replace(bcryptOf, "$2y$10", "$2b$14", 1)), []string{costs}},
		{user(strings.Replace(bcryptOf, "$2y$10", "$2b$03", 1)), []string{costs}},
		{user(strings.Replace(bcryptOf, "$2y", "$2x", 1)), []string{hash}},
		{user(bcryptOf + "a"), []string{hash}},
		{user("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), []string{hash}},
		{user("secret"), []string{hash}},
		{user(""), []string{"basic.users[0].hash required"}},
		{user(argonOf), nil},
		{argon("m=131072,t=4,p=4"), nil},
		{argon("m=131073,t=1,p=1"), []string{costs}},
		{argon("m=131072,t=5,p=1"), []string{costs}},
		{argon("m=9999999999,t=1,p=1"), []string{costs}},
		{argon("m=4096,t=1,p=5"), []string{costs}},
		{argon("m=15,t=1,p=2"), []string{costs}},
		{argon("m=0,t=1,p=1"), []string{hash}},
		{user(strings.Replace(argonOf, "argon2id", "argon2i", 1)), []string{hash}},
		{user(strings.Replace(argonOf, "v=19", "v=16", 1)), []string{hash}},
		{user(argonOf + "="), []string{hash}},
		{user(strings.Replace(argonOf, "c29tZXNhbHRzb21lc2FsdA", "c2FsdA", 1)), []string{damaged}},
		{user(argonOf[:len(argonOf)-30]), []string{damaged}},
		{"{basic: {realm: staff, users: [], htpasswd: {file: users, scopes: [a]}}}", nil},
		{"{basic: {}}", []string{"basic required"}},
		{"{basic: {realm: 'a\"b', htpasswd: {file: ''}}}", []string{"basic.realm invalid-value", "basic.htpasswd.file required"}},
		{
			"{basic: {users: [{name: a, hash: '" + argonOf + "', roles: [x, x, '']}, {name: a, hash: '" + argonOf + "'}, {name: 'a:b', hash: '" + argonOf + "'}, {name: \"a\\n\", hash: '" + argonOf + "', scopes: ['a b']}]}}",
			[]string{
				"basic.users[0].roles[1] duplicate-value", "basic.users[0].roles[2] required", "basic.users[1].name duplicate-value",
				"basic.users[2].name invalid-value", "basic.users[3].name invalid-value", "basic.users[3].scopes[0] invalid-scope",
			},
		},
		{key(""), nil},
		{key(", id: k1"), []string{"apiKeys.keys[0].id conflict"}},
		// The zero time is no key that never ends, and the year 10000 in UTC no end of the process.
		{key(", expires: 0001-01-01T00:00:00Z"), []string{"apiKeys.keys[0].expires out-of-range"}},
		{key(", expires: '9999-12-31T23:59:59-05:00'"), []string{"apiKeys.keys[0].expires out-of-range"}},
		{key(", expires: 9999-12-31T23:59:59Z"), nil},
		{"{apiKeys: {prefix: a_b, keys: []}}", []string{"apiKeys.prefix invalid-value", "apiKeys.keys required"}},
		{"{apiKeys: {prefix: cr, keys: [{id: a_b, sha256: AB, subject: ''}, {id: x, sha256: '', subject: \"a\\t\"}, {id: x, sha256: " + strings.Repeat("AA", 32) + ", subject: s}]}}", []string{
			"apiKeys.keys[0].id invalid-value", "apiKeys.keys[0].sha256 invalid-value", "apiKeys.keys[0].subject required",
			"apiKeys.keys[1].sha256 required", "apiKeys.keys[1].subject invalid-value", "apiKeys.keys[2].id duplicate-value", "apiKeys.keys[2].sha256 invalid-value",
		}},
		{"{apiKeys: {keys: [{sha256: " + strings.Repeat("0a", 32) + ", subject: a}, {sha256: " + strings.Repeat("0a", 32) + ", subject: b}]}}", []string{
			"apiKeys.keys[1].sha256 duplicate-value",
		}},
		{"{clientCertificates: {caFile: ca.pem}}", nil},
		{"{clientCertificates: {caFile: '', subject: serial, allowed: [a, a]}}", []string{
			"clientCertificates.caFile required", "clientCertificates.subject unsupported-value", "clientCertificates.allowed[1] duplicate-value",
		}},
	})
}

// TestCredentialsTellNoSecrets: what stands where a hash belongs may be a password or a key.
func TestCredentialsTellNoSecrets(t *testing.T) {
	const secret = "hunter2hunter2"
	c := &v1alpha1.Credentials{Spec: v1alpha1.CredentialsSpec{
		Basic:   &v1alpha1.BasicCredentials{Users: []v1alpha1.BasicUser{{Name: "alice", Hash: secret}}},
		APIKeys: &v1alpha1.APIKeyCredentials{Prefix: secret + "_" + secret, Keys: []v1alpha1.APIKey{{ID: "_" + secret, SHA256: secret, Subject: "job"}}},
	}}
	found := v1alpha1.Validate(c)
	if len(found) != 4 {
		t.Errorf("%+v", found)
	}
	for _, f := range found {
		if strings.Contains(f.Message+f.Hint, secret) {
			t.Errorf("%s tells the secret: %s", f.Path, f.Message)
		}
	}
}
