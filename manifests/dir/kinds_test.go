package dir_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/manifests/dir"
)

// With the real decoder: what is restored after a restart is what was in force before it.
func TestRealKindsSurviveARestart(t *testing.T) {
	const mesh = "apiVersion: credence.mesh/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {trustDomain: example.org}\n"
	const workload = "---\napiVersion: credence.mesh/v1alpha1\nkind: Workload\nmetadata: {name: orders}\nspec: {selectors: {unix: {uid: 7}}}\n"
	p := newPlace(t)
	p.tweak = func(o *dir.Options) {
		o.Decode = func(name string, data []byte) dir.Decoded { return dir.Decoded(decode.File(name, data)) }
		o.Restore = decode.FromCanonical
	}
	p.write("mesh.yaml", mesh+workload)
	before := p.run().until("two objects", func(s dir.Snapshot) bool { return len(s.Objects) == 2 })
	p.stop()
	p.write("mesh.yaml", strings.Replace(mesh+workload, "uid: 7", "uuid: 7", 1))
	after := p.run().until("a pinned Workload", func(s dir.Snapshot) bool { return len(s.Pinned) == 1 })
	if len(after.Objects) != 2 || after.Pinned[0].Name != "orders" || !manifests.HasErrors(after.Diagnostics) {
		t.Fatalf("in force %v, pinned %v, %v", after.Objects, after.Pinned, after.Diagnostics)
	}
	for i := range before.Objects {
		if diff := cmp.Diff(before.Objects[i].Value, after.Objects[i].Value); diff != "" {
			t.Errorf("%s (-before +after):\n%s", before.Objects[i].Key, diff)
		}
	}
}
