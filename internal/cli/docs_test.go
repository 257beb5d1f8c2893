package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/cli"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// TestExamplesOfTheManualAreOneMesh holds what docs/manifests.md says of its examples: whoever copies them has a mesh.
func TestExamplesOfTheManualAreOneMesh(t *testing.T) {
	body, err := os.ReadFile(filepath.Join("..", "..", "docs", "manifests.md"))
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for _, m := range yamlBlock.FindAllStringSubmatch(string(body), -1) {
		examples = append(examples, m[1])
	}
	if len(examples) < 6 {
		t.Fatalf("%d examples", len(examples))
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(strings.Join(examples, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	const users = "bob:$2y$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6.\n" // of the example of Credentials
	if err := os.WriteFile(filepath.Join(dir, "staff.htpasswd"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), []string{"validate", "-f", dir}, cli.IO{Out: &out, Err: &errs})
	if text := out.String() + errs.String(); code != 0 || !strings.Contains(text, "is valid: 0 errors, 0 warnings, 0 notices") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
