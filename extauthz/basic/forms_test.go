package basic_test

import (
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// TestFormsOfManifests: what a manifest may hold as a hash is exactly what can be verified. The two cannot share code.
func TestFormsOfManifests(t *testing.T) {
	b, a := bcryptOf(t, "x"), argonOf("x")
	argon := func(params string) string { return strings.Replace(a, "m=64,t=1,p=1", params, 1) }
	for _, hash := range []string{
		b, "$2y" + b[3:], "$2b" + b[3:], "$2x" + b[3:], "$2$" + b[4:], b[:len(b)-1], b + "x", "$2a$03" + b[6:], "$2a$13" + b[6:], "$2a$14" + b[6:], "$2a$99" + b[6:],
		a, a + "=", a[:len(a)-1], a[:len(a)-25], a + "$", argon("m=131072,t=4,p=4"), argon("m=131073,t=1,p=1"), argon("m=131072,t=5,p=1"), argon("m=64,t=9999,p=1"),
		argon("m=64,t=10000,p=1"), argon("m=64,t=1,p=5"), argon("m=64,t=1,p=256"), argon("m=64,t=1,p=999"), argon("m=31,t=1,p=4"), argon("m=32,t=1,p=4"),
		argon("m=8,t=1,p=1"), argon("m=7,t=1,p=1"), argon("m=0,t=1,p=1"), argon("m=64,t=0,p=1"), argon("m=64,t=1,p=0"), argon("m=064,t=1,p=1"),
		argon("m=4294967296,t=1,p=1"), argon("m=9999999999,t=9999,p=1"), argon("t=1,m=64,p=1"), argon("m=64,t=1"), argon("m=64,t=1,p=1,keyid=x"),
		strings.Replace(a, "v=19", "v=16", 1), strings.Replace(a, "$v=19", "", 1), strings.Replace(a, "argon2id", "argon2i", 1),
		"plain", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "rl.3StKT.4T8M", " " + b, b + "\n",
	} {
		spec := v1alpha1.CredentialsSpec{Basic: &v1alpha1.BasicCredentials{Users: []v1alpha1.BasicUser{{Name: "alice", Hash: hash}}}}
		valid := len(v1alpha1.Validate(&v1alpha1.Credentials{Spec: spec})) == 0
		if usable := newRig(users(staff, "alice", hash)).Status()[0].Usable; usable != valid {
			t.Errorf("%q: valid in a manifest %t, can be verified %t", hash, valid, usable)
		}
	}
}
