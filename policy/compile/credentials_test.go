package compile_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

const credentialsMesh = `apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: example.org}
---
`

func TestCredentialsAreCompiled(t *testing.T) {
	const (
		alice = "$2y$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6."
		bob   = "$argon2id$v=19$m=47104,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
		sum   = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
	)
	file := filepath.Join(t.TempDir(), "in.yaml")
	in := decode.File(file, []byte(credentialsMesh+`apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: staff, namespace: shop}
spec:
  basic:
    users: [{name: bob, hash: "`+bob+`"}, {name: alice, hash: "`+alice+`", scopes: [b, a], roles: [r], groups: [g]}]
    htpasswd: {file: users.htpasswd, scopes: [f]}
  apiKeys:
    prefix: cr
    keys: [{id: k2, sha256: `+sum+`, subject: job, expires: "2027-01-02T03:04:05+01:00"}]
  clientCertificates: {caFile: ca.pem, allowed: [b, a]}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: other, namespace: shop}
spec: {basic: {realm: Other, users: [{name: x, hash: "`+alice+`"}]}}
`))
	set, _ := compile.Compile(compile.Input{Objects: in.Objects})
	if set == nil {
		t.Fatal(in.Diagnostics)
	}
	at := func(name string) string { return filepath.Join(filepath.Dir(file), name) }
	want := []policy.Credentials{
		{Name: policy.Name{Namespace: "shop", Name: "other"}, Realm: "Other", Users: []policy.BasicUser{{Name: "x", Hash: alice}}},
		{
			Name: policy.Name{Namespace: "shop", Name: "staff"}, Realm: "staff",
			Users: []policy.BasicUser{
				{Name: "alice", Hash: alice, Grants: policy.Grants{Scopes: []string{"a", "b"}, Roles: []string{"r"}, Groups: []string{"g"}}},
				{Name: "bob", Hash: bob},
			},
			Htpasswd:  &policy.Htpasswd{File: at("users.htpasswd"), Grants: policy.Grants{Scopes: []string{"f"}}},
			KeyPrefix: "cr",
			APIKeys:   []policy.APIKeyEntry{{ID: "k2", SHA256: sum, Subject: "job", Expires: time.Date(2027, 1, 2, 2, 4, 5, 0, time.UTC)}},
			Certificates: &policy.CertificateUsers{
				CAFile: at("ca.pem"), Subject: policy.SubjectURI, Allowed: []string{"a", "b"},
			},
		},
	}
	if d := cmp.Diff(want, set.Credentials, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}
