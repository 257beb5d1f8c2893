package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

const revocationMesh = `apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: mesh.test}
`

func TestRevocationListIsCompiled(t *testing.T) {
	in := decode.File("in.yaml", []byte(revocationMesh+`---
apiVersion: credence.mesh/v1alpha1
kind: RevocationList
metadata: {name: lost, namespace: shop}
spec: {revocations: [{tokenID: t1, reason: stolen}, {subject: alice, issuer: credentials/shop/staff}]}
`))
	set, _ := compile.Compile(compile.Input{Objects: in.Objects})
	want := []policy.Revocation{
		{ID: "shop/lost/0", TokenID: "t1", Reason: "stolen"},
		{ID: "shop/lost/1", Subject: "alice", Issuer: "credentials/shop/staff"},
	}
	if set == nil {
		t.Fatal(in.Diagnostics)
	}
	if d := cmp.Diff(want, set.Revocations); d != "" {
		t.Error(d)
	}
}

func TestMissingRevocationListRevokesEverything(t *testing.T) {
	in := decode.File("in.yaml", []byte(revocationMesh))
	k := manifests.Key{Group: v1alpha1.Group, Kind: v1alpha1.KindRevocationList, Namespace: "shop", Name: "lost"}
	set, diags := compile.Compile(compile.Input{Objects: in.Objects, Missing: []manifests.Key{k}})
	if set == nil {
		t.Fatal(in.Diagnostics)
	}
	if d := cmp.Diff([]policy.Revocation{{ID: "shop/lost", Reason: "the list can't be read"}}, set.Revocations); d != "" {
		t.Error(d)
	}
	for _, d := range diags {
		if d.Code == "revocation-list" && d.Severity == manifests.Error {
			return
		}
	}
	t.Error("it is not told")
}
