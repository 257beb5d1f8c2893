package decode_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/credence-mesh/credence/manifests/decode"
)

func TestFileDecodesTheQuickstart(t *testing.T) {
	files, err := filepath.Glob("../../examples/quickstart/mesh/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r := decode.File(name, data)
		if !r.Parsed || len(r.Diagnostics) > 0 || len(r.Broken) > 0 || len(r.Objects) == 0 {
			t.Errorf("%s: parsed %v, broken %v, %d objects, diagnostics %v", name, r.Parsed, r.Broken, len(r.Objects), r.Diagnostics)
		}
		for _, o := range r.Objects {
			if _, err := decode.FromCanonical(o.Key, o.Canonical, o.Pos); err != nil {
				t.Error(err)
			}
		}
	}
}
