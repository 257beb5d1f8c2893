package envoy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/envoy"
)

// fakeVersion writes an executable that says it is Envoy of that version.
func fakeVersion(t *testing.T, path, version string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'envoy  version: 0123abc/%s/Clean/RELEASE/BoringSSL'\n", version)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// place makes an Envoy in every place there is, each of another version, and stands in a directory below the project.
func place(t *testing.T) (dir string) {
	dir = t.TempDir()
	fakeVersion(t, filepath.Join(dir, "flag"), "1.40.1")
	fakeVersion(t, filepath.Join(dir, "env"), "1.40.2")
	fakeVersion(t, filepath.Join(dir, "project", ".envoy", "envoy"), "1.40.3")
	fakeVersion(t, filepath.Join(dir, "path", "envoy"), "1.40.4")
	below := filepath.Join(dir, "project", "a", "b")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	t.Setenv(envoy.Environment, filepath.Join(dir, "env"))
	t.Setenv("PATH", filepath.Join(dir, "path")+":"+os.Getenv("PATH"))
	return dir
}

func found(t *testing.T, flag, want string) {
	t.Helper()
	b, err := envoy.Find(t.Context(), flag)
	if err != nil || b.Version.String() != want || !filepath.IsAbs(b.Path) {
		t.Errorf("found %+v, %v; want %s", b, err, want)
	}
}

func TestFindLooksInOrder(t *testing.T) {
	dir := place(t)
	found(t, filepath.Join(dir, "flag"), "1.40.1")
	found(t, "../../../flag", "1.40.1")
	found(t, "", "1.40.2")
	t.Setenv(envoy.Environment, "")
	found(t, "", "1.40.3")
	t.Chdir(dir)
	found(t, "", "1.40.4")
	t.Setenv("PATH", "/nowhere")
	if _, err := envoy.Find(t.Context(), ""); !errors.Is(err, envoy.ErrNotFound) || !strings.Contains(err.Error(), "make envoy") {
		t.Errorf("nothing there: %v", err)
	}
}

func TestFindLeavesOutWhatOthersMayChange(t *testing.T) {
	dir := place(t)
	t.Setenv(envoy.Environment, "")
	folder := filepath.Join(dir, "project", ".envoy")
	for name, spoil := range map[string]func(t *testing.T){
		"binary writable by others": func(t *testing.T) { chmod(t, filepath.Join(folder, "envoy"), 0o777) },
		"folder writable by others": func(t *testing.T) { chmod(t, folder, 0o777) },
		"not executable":            func(t *testing.T) { chmod(t, filepath.Join(folder, "envoy"), 0o644) },
		"binary of another user":    func(t *testing.T) { chown(t, filepath.Join(folder, "envoy"), 12345) },
		"folder of another user":    func(t *testing.T) { chown(t, folder, 12345) },
	} {
		t.Run(name, func(t *testing.T) {
			spoil(t)
			found(t, "", "1.40.4")
			chmod(t, folder, 0o755)
			chmod(t, filepath.Join(folder, "envoy"), 0o755)
			if os.Geteuid() == 0 {
				chown(t, folder, 0)
				chown(t, filepath.Join(folder, "envoy"), 0)
			}
			found(t, "", "1.40.3")
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, path string, uid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	if err := os.Chown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
}

func TestFindRefusesWhatIsNamedAndWrong(t *testing.T) {
	dir := place(t)
	write := func(name, script string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, path, says string
		is               error
	}{
		{"missing", filepath.Join(dir, "none"), "--envoy names", envoy.ErrNotFound},
		{"a directory", dir, "which is not an executable file", envoy.ErrNotFound},
		{"too old", fakeVersion(t, filepath.Join(dir, "old"), "1.39.12"), "is 1.39.12, at least 1.40.0 is needed", envoy.ErrTooOld},
		{"much too old", fakeVersion(t, filepath.Join(dir, "older"), "0.99.0"), "is 0.99.0", envoy.ErrTooOld},
		{"prints no version", write("mute", "#!/bin/sh\necho hello\n"), `it printed no version: "hello\n"`, nil},
		{"fails", write("fails", "#!/bin/sh\nexit 9\n"), "exit status 9", nil},
		{"is no program", write("text", "\x00\x01"), "exec format error", nil},
		{"a version beyond numbers", fakeVersion(t, filepath.Join(dir, "big"), "1.99999999999999999999.0"), "out of range", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := envoy.Find(t.Context(), c.path)
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v; want %q", err, c.says)
			}
			if err != nil && !strings.Contains(err.Error(), "make envoy") {
				t.Errorf("%v does not say how to get one", err)
			}
		})
	}
	found(t, fakeVersion(t, filepath.Join(dir, "next"), "2.0.0"), "2.0.0")
	found(t, fakeVersion(t, filepath.Join(dir, "dev"), "1.41.0-dev"), "1.41.0")
}
