package durable_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/durable"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFileReplacesContentAndMode(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for _, c := range []struct {
		content string
		mode    os.FileMode
	}{{"first", 0o600}, {"", 0o644}, {"a longer third", 0o400}, {"4", 0o600}} {
		if err := durable.WriteFile(file, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.content || info.Mode().Perm() != c.mode {
			t.Errorf("%q with %04o, want %q with %04o", got, info.Mode().Perm(), c.content, c.mode)
		}
	}
	if diff := cmp.Diff([]string{"f"}, names(t, dir)); diff != "" {
		t.Errorf("left in the directory (-want +got):\n%s", diff)
	}
}

// TestWriteFileReplacesALinkNotItsTarget: a link in place of the file leads nowhere.
func TestWriteFileReplacesALinkNotItsTarget(t *testing.T) {
	dir := t.TempDir()
	target, file := filepath.Join(dir, "target"), filepath.Join(dir, "f")
	if err := os.WriteFile(target, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "kept" {
		t.Errorf("the target is %q, %v", got, err)
	}
	if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
		t.Errorf("still a link: %v", err)
	}
}

func TestWriteFileFailsAndLeavesEverythingAsItWas(t *testing.T) {
	t.Run("no directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "none", "f")
		if err := durable.WriteFile(file, []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a directory in its place", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "f")
		if err := os.MkdirAll(filepath.Join(file, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(file, []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]string{"f"}, names(t, dir)); diff != "" {
			t.Errorf("left in the directory (-want +got):\n%s", diff)
		}
	})
	t.Run("a directory that is none", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		if err := os.WriteFile(dir, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(filepath.Join(dir, "f"), []byte("new"), 0o600); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v", err)
		}
		if got, err := os.ReadFile(dir); err != nil || string(got) != "old" {
			t.Errorf("the file in its place is %q, %v", got, err)
		}
	})
}

// TestLeftoversOfACrashDoNoHarm: a crash between writing and renaming leaves a temporary file; the next write neither takes nor meets it.
func TestLeftoversOfACrashDoNoHarm(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(filepath.Join(dir, ".f-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(file, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "whole" {
		t.Errorf("the file is %q, %v", got, err)
	}
}

// TestReadersSeeOneContentOrTheOther while several write.
func TestReadersSeeOneContentOrTheOther(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	contents := [][]byte{bytes.Repeat([]byte("a"), 1<<16), bytes.Repeat([]byte("b"), 1<<15)}
	if err := durable.WriteFile(file, contents[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, c := range contents {
		wg.Go(func() {
			for range 30 {
				if err := durable.WriteFile(file, c, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { wg.Wait(); close(written) }()
	for reads := 0; ; reads++ {
		got, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("read %d bytes that nobody wrote, %v", len(got), err)
		}
		select {
		case <-written:
			return
		default:
		}
	}
}
