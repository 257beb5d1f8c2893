package decode_test

import (
	"testing"

	"github.com/credence-mesh/credence/manifests/decode"
)

// Row 34: a path that is written with dots is an error that says how the pointer is written.
func TestRow34DottedPath(t *testing.T) {
	r := decode.File("m.yaml", []byte(head+"AuthPolicy\nmetadata: {name: p}\nspec:\n  targetRefs: [{group: credence.mesh, kind: Mesh, name: m}]\n"+
		"  authentication: {issuers: [i]}\n  rules: [{name: r, require: {claims: [{path: realm_access.roles, anyOf: [clerk]}]}}]\n"))
	const want = "m.yaml:7:47: error: spec.rules[0].require.claims[0].path must be a list, not a string [wrong-type] " +
		"(write the segments as a list, or pointer: /realm_access/roles)"
	if len(r.Diagnostics) != 1 || r.Diagnostics[0].String() != want {
		t.Errorf("%v, want %s", r.Diagnostics, want)
	}
}
