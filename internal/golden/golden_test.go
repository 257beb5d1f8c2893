package golden_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/golden"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCompare(t *testing.T) {
	inputs := []string{"in.yaml"}
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string // part of the one problem; empty: none
	}{
		{"equal", map[string]string{"out.txt": "a\n", "empty.txt": ""}, ""},
		{"differs", map[string]string{"out.txt": "b\n", "empty.txt": ""}, "differs"},
		{"missing", map[string]string{"out.txt": "a\n"}, "empty.txt is missing"},
		{"extra", map[string]string{"out.txt": "a\n", "empty.txt": "", "old.txt": ""}, "old.txt is a stray file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "in.yaml", "input")
			for n, text := range tc.files {
				write(t, dir, n, text)
			}
			got := map[string][]byte{"out.txt": []byte("a\n"), "empty.txt": nil}
			problems, err := golden.Compare(dir, inputs, got)
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(problems, "\n"); (tc.want == "") != (len(problems) == 0) || !strings.Contains(all, tc.want) {
				t.Errorf("problems = %q, want one with %q", problems, tc.want)
			}
			if err := golden.Write(dir, inputs, got); err != nil {
				t.Fatal(err)
			}
			problems, err = golden.Compare(dir, inputs, got)
			if err != nil || len(problems) != 0 {
				t.Errorf("after Write: %q, %v", problems, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "in.yaml")); err != nil {
				t.Errorf("Write touched an input: %v", err)
			}
		})
	}
}
