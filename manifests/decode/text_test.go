package decode_test

import (
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests/decode"
)

// TestPlacesInsideOfExpressions: every character of a condition is found where the file has it, in whatever style YAML has it.
func TestPlacesInsideOfExpressions(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"plain", "      condition: user.subject == MARK\n"},
		{"plain over lines", "      condition: user.subject\n        == MARK\n"},
		{"single quotes", "      condition: 'user.subject == ''a'' && MARK'\n"},
		{"double quotes", `      condition: "user.subject == \"\u00e9\" && MARK"` + "\n"},
		{"double quotes over lines", "      condition: \"user.subject \\\n        && MARK\"\n"},
		{"literal", "      condition: |\n        user.subject == \"é\" &&\n\n          MARK\n"},
		{"literal with an indentation", "      condition: |2-\n          a\n        && MARK\n"},
		{"folded", "      condition: >-\n        a\n        && b\n\n        && MARK\n"},
		{"flow", "      {condition: 'a && MARK'}\n"},
	} {
		file := "apiVersion: credence.mesh/v1alpha1\nkind: AuthPolicy\nmetadata: {name: p}\nspec:\n  targetRefs: [{group: credence.mesh, kind: Mesh, name: m}]\n  rules:\n" +
			"  - name: r\n    authentication: [anonymous]\n    require:\n" + tt.text
		got := decode.File("f.yaml", []byte(file))
		if len(got.Objects) != 1 {
			t.Errorf("%s: %v", tt.name, got.Diagnostics)
			continue
		}
		o := got.Objects[0]
		const field = "spec.rules[0].require.condition"
		value := string(o.Canonical)
		_, value, _ = strings.Cut(value, `"condition":"`)
		value = strings.NewReplacer(`\"`, `"`, `\n`, "\n", `\u0026`, "&").Replace(value)
		before, _, ok := strings.Cut(value, "MARK")
		if !ok {
			t.Fatalf("%s: %s", tt.name, o.Canonical)
		}
		pos := o.AtText(field, len([]rune(before)))
		lines := strings.Split(file, "\n")
		if pos.Line < 1 || pos.Line > len(lines) || pos.Column > len([]rune(lines[pos.Line-1])) || !strings.HasPrefix(string([]rune(lines[pos.Line-1])[pos.Column-1:]), "MARK") {
			t.Errorf("%s: %s", tt.name, pos)
		}
		if at := o.AtText("spec.rules[0].name", 3); at != o.At("spec.rules[0].name") {
			t.Errorf("a field without an expression is at %s", at)
		}
	}
}
