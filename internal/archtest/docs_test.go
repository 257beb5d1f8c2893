package archtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)`")
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	inlineLink = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
)

// TestDocumentsNameWhatExists holds every test that a document names, and every file that it links to: a table of conformance whose
// tests are gone proves nothing.
func TestDocumentsNameWhatExists(t *testing.T) {
	root := gitLines(t, "rev-parse", "--show-toplevel")[0]
	tests := map[string]bool{}
	for _, file := range gitLines(t, "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "*_test.go") {
		for _, m := range testFunc.FindAllStringSubmatch(read(t, filepath.Join(root, file)), -1) {
			tests[m[1]] = true
		}
	}
	for _, file := range gitLines(t, "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "*.md") {
		body := read(t, filepath.Join(root, file))
		for _, m := range testName.FindAllStringSubmatch(body, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names the test %s, which does not exist", file, m[1])
			}
		}
		for _, m := range inlineLink.FindAllStringSubmatch(body, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

func gitLines(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// read returns the content of a file, and nothing of one that git knows and that is deleted.
func read(t *testing.T, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(body)
}
