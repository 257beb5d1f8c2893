package compile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/policy/compile"
)

// What the decoder completes by defaults and what compile takes for granted is the same: a case that the decoder accepts gives the
// same Set with and without it.
func TestDefaultsAgree(t *testing.T) {
	cases, err := filepath.Glob("testdata/c*/*/in.yaml")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range cases {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		decoded := decode.File("/in.yaml", text)
		if manifests.HasErrors(decoded.Diagnostics) {
			continue
		}
		compared++
		missing := missingKeys(t, string(text))
		want, _ := compile.Compile(compile.Input{Objects: objects(t, "/in.yaml", string(text)), Missing: missing})
		got, _ := compile.Compile(compile.Input{Objects: decoded.Objects, Missing: missing})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: the decoder changes the Set:\n%s", file, d)
		}
	}
	if compared < 30 {
		t.Errorf("only %d of %d cases are accepted by the decoder", compared, len(cases))
	}
}
