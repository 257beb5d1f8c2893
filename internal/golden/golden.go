package golden

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update is the flag of every test binary that imports this package.
var update = flag.Bool("update", false, "write the golden files anew and delete strays")

// Run calls produce for every case directory below root, each in a subtest of its name, and compares the files that it returns, by
// name, with those of the directory. Names in inputs are read by produce and never compared. A root without cases fails.
func Run(t *testing.T, root string, inputs []string, produce func(t *testing.T, dir string) map[string][]byte) {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		cases++
		dir := filepath.Join(root, e.Name())
		t.Run(e.Name(), func(t *testing.T) {
			got := produce(t, dir)
			if *update {
				if err := Write(dir, inputs, got); err != nil {
					t.Fatal(err)
				}
			}
			problems, err := Compare(dir, inputs, got)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				t.Error(p)
			}
		})
	}
	if cases == 0 {
		t.Errorf("%s holds no case", root)
	}
}

// Compare tells how the files of dir differ from got; nothing: they are equal.
func Compare(dir string, inputs []string, got map[string][]byte) ([]string, error) {
	names, err := outputs(dir, inputs)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, name := range names {
		if _, ok := got[name]; !ok {
			problems = append(problems, fmt.Sprintf("%s is a stray file: nothing makes it (run with -update)", filepath.Join(dir, name)))
		}
	}
	for _, name := range sorted(got) {
		path := filepath.Join(dir, name)
		want, err := os.ReadFile(filepath.Clean(path))
		switch {
		case os.IsNotExist(err):
			problems = append(problems, fmt.Sprintf("%s is missing (run with -update)", path))
		case err != nil:
			return nil, fmt.Errorf("read golden file: %w", err)
		case !bytes.Equal(want, got[name]):
			problems = append(problems, fmt.Sprintf("%s differs (-want +got; run with -update):\n%s", path, cmp.Diff(string(want), string(got[name]))))
		}
	}
	return problems, nil
}

// Write makes the files of dir equal to got, and deletes all others but inputs.
func Write(dir string, inputs []string, got map[string][]byte) error {
	names, err := outputs(dir, inputs)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := got[name]; ok {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("delete stray golden file: %w", err)
		}
	}
	for _, name := range sorted(got) {
		if err := os.WriteFile(filepath.Join(dir, name), got[name], 0o600); err != nil {
			return fmt.Errorf("write golden file: %w", err)
		}
	}
	return nil
}

// outputs are the files below dir that are no input, by their path relative to dir.
func outputs(dir string, inputs []string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && !slices.Contains(inputs, name) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list golden files: %w", err)
	}
	return names, nil
}

func sorted(m map[string][]byte) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
