package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests/dir"
)

func TestBrokenThenGood(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.write("b.yaml", "y = 1\nz = 1\n")
	p.run().inForce("x=1 y=1 z=1")
	// One object is broken, another in the same save advances.
	p.write("b.yaml", "y = !\nz = 2\nw = !\n")
	s := p.inForce("x=1 y=1 z=2")
	if names(s.Pinned) != "y" || names(s.Missing) != "w" || codes(s) != "broken last-good-kept no-last-good" {
		t.Errorf("pinned %q, missing %q, %s", names(s.Pinned), names(s.Missing), codes(s))
	}
	// A file that does not parse pins what was read from it; others advance.
	p.write("b.yaml", "syntax")
	p.write("a.yaml", "x = 2\n")
	s = p.until("a syntax error", func(s dir.Snapshot) bool { return strings.Contains(codes(s), "syntax") })
	if in(s) != "x=2 y=1 z=2" || names(s.Pinned) != "y z" || names(s.Missing) != "w" {
		t.Errorf("in force %q, pinned %q, missing %q", in(s), names(s.Pinned), names(s.Missing))
	}
	p.write("b.yaml", "y = 3\nz = 3\n")
	s = p.inForce("x=2 y=3 z=3")
	if len(s.Pinned)+len(s.Missing)+len(s.Diagnostics) != 0 {
		t.Errorf("after repair: pinned %q, missing %q, %s", names(s.Pinned), names(s.Missing), codes(s))
	}
}

func TestUnreadableFilePinsItsObjects(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.write("b.yaml", "y = 1\n")
	p.run().inForce("x=1 y=1")
	for name, spoil := range map[string]func(){
		"a FIFO":          func() { p.must(syscall.Mkfifo(p.path("b.yaml"), 0o600)) },
		"a dangling link": func() { p.must(os.Symlink("nowhere", p.path("b.yaml"))) },
		"too large":       func() { p.write("b.yaml", strings.Repeat("# \n", 2<<20)) },
	} {
		p.must(os.Remove(p.path("b.yaml")))
		spoil()
		s := p.until(name, func(s dir.Snapshot) bool { return codes(s) == "last-good-kept unreadable-file" })
		if in(s) != "x=1 y=1" || names(s.Pinned) != "y" {
			t.Errorf("%s: in force %q, pinned %q", name, in(s), names(s.Pinned))
		}
		p.must(os.Remove(p.path("b.yaml")))
		p.write("b.yaml", "y = 1\n")
		p.until("repair", func(s dir.Snapshot) bool { return codes(s) == "" })
	}
}

func TestSameObjectTwice(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.run().inForce("x=1")
	p.write("b.yaml", "x = 1\ny = 1\n")
	s := p.inForce("x=1 y=1")
	if codes(s) != "duplicate-object" {
		t.Errorf("equal: %s", codes(s))
	}
	p.write("b.yaml", "x = 2\ny = 2\nnew = 1\nnew = 2\n")
	s = p.inForce("x=1 y=2")
	if names(s.Pinned) != "x" || names(s.Missing) != "new" || codes(s) != "conflicting-objects last-good-kept no-last-good" {
		t.Errorf("different: pinned %q, missing %q, %s", names(s.Pinned), names(s.Missing), codes(s))
	}
	for _, d := range s.Diagnostics {
		if d.Code == "conflicting-objects" && d.Object.Name == "x" &&
			(!strings.Contains(d.Message, p.path("a.yaml")+":1:1") || !strings.Contains(d.Message, p.path("b.yaml")+":1:1")) {
			t.Errorf("%q does not name both places", d.Message)
		}
	}
	p.must(os.Remove(p.path("a.yaml")))
	p.inForce("x=2 y=2")
}

func TestRestartWithLastGood(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = <1&2>\ngone = 1\n")
	p.write("b.yaml", "y = 1\n")
	p.run().inForce("gone=1 x=<1&2> y=1")
	p.stop()
	if info, err := os.Stat(filepath.Join(p.state, "last-good.json")); err != nil || info.Mode() != 0o600 {
		t.Errorf("last-good file: %v, %v", info.Mode(), err)
	}
	p.write("a.yaml", "x = !\n")
	p.write("b.yaml", "syntax")
	s := p.run().inForce("x=<1&2> y=1") // what was deleted meanwhile is gone, what is broken is as it was
	if names(s.Pinned) != "x y" || len(s.Missing) != 0 {
		t.Errorf("pinned %q, missing %q", names(s.Pinned), names(s.Missing))
	}
	p.stop()
	// An empty directory at a start: what was in force is handed out, and said not to come from the directory.
	p.must(os.RemoveAll(p.dir))
	s = p.run().until("a Snapshot", func(dir.Snapshot) bool { return true })
	if s.OK || in(s) != "x=<1&2> y=1" || codes(s) != "unreadable-directory" {
		t.Errorf("ok %v, in force %q, %s", s.OK, in(s), codes(s))
	}
}

func TestStartWithoutLastGood(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = !\ny = 1\n")
	s := p.run().inForce("y=1")
	if !s.OK || names(s.Missing) != "x" {
		t.Errorf("ok %v, missing %q", s.OK, names(s.Missing))
	}
	p.stop()
	p.must(os.RemoveAll(p.dir))
	p.must(os.RemoveAll(p.state))
	p.mkdir(p.state)
	s = p.run().until("a Snapshot", func(dir.Snapshot) bool { return true })
	if s.OK || in(s) != "" {
		t.Errorf("ok %v, in force %q", s.OK, in(s))
	}
}

func TestLastGoodFileRefused(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.run().inForce("x=1")
	p.stop()
	path := filepath.Join(p.state, "last-good.json")
	good, err := os.ReadFile(path)
	p.must(err)
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"truncated":    {string(good[:len(good)/2]), dir.ErrCorrupt},
		"empty":        {"", dir.ErrCorrupt},
		"edited":       {strings.Replace(string(good), `"canonical":"1"`, `"canonical":"2"`, 1), dir.ErrCorrupt},
		"not ours":     {"{}", dir.ErrCorrupt},
		"newer format": {strings.Replace(string(good), `"version":1`, `"version":2`, 1), dir.ErrNewer},
	} {
		p.must(os.WriteFile(path, []byte(c.text), 0o600))
		if _, err := p.source(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %v with the path", name, err, c.want)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != c.text {
			t.Errorf("%s: the file was touched (%v)", name, err)
		}
	}
}

func TestLastGoodThatIsNoLongerAccepted(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = outdated\ny = 1\n")
	p.run().inForce("x=outdated y=1")
	p.stop()
	p.write("a.yaml", "x = !\ny = 1\n")
	s := p.run().inForce("y=1")
	if names(s.Missing) != "x" || codes(s) != "broken last-good-unusable no-last-good" {
		t.Errorf("missing %q, %s", names(s.Missing), codes(s))
	}
}

func TestLastGoodThatCannotBeSaved(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.run().inForce("x=1")
	p.must(os.RemoveAll(p.state))
	p.write("a.yaml", "x = 2\n")
	s := p.inForce("x=2")
	if codes(s) != "last-good-not-saved" {
		t.Errorf("codes %q", codes(s))
	}
	p.mkdir(p.state)
	p.until("it was saved", func(s dir.Snapshot) bool { return codes(s) == "" })
}

func TestStateDirInsideManifests(t *testing.T) {
	p := newPlace(t)
	p.state = p.path("state")
	if _, err := p.source(); err == nil {
		t.Error("a state directory among the manifests was accepted")
	}
	p.state = p.path(".credence")
	if _, err := p.source(); err != nil {
		t.Errorf("a hidden state directory: %v", err)
	}
}

func TestRead(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.write("sub/b.yml", "y = 1\n")
	p.write("sub/c.json", "z = 1\n")
	for _, name := range []string{".hidden.yaml", "#auto#.yaml", "old.yaml~", "README.md", ".git/d.yaml", "#d/e.yaml"} {
		p.write(name, "skipped = 1\n")
	}
	p.must(os.Symlink("..", p.path("sub/loop")))
	s, err := p.source()
	p.must(err)
	got, err := s.Read(t.Context())
	p.must(err)
	if !got.OK || in(got) != "x=1 y=1 z=1" || len(got.Diagnostics) != 0 {
		t.Errorf("ok %v, in force %q, %s", got.OK, in(got), codes(got))
	}
	var want []string
	for _, name := range []string{"#auto#.yaml", "#d", ".git", ".hidden.yaml", "README.md", "old.yaml~", "sub/loop"} {
		want = append(want, p.path(name))
	}
	if diff := cmp.Diff(want, got.Skipped); diff != "" {
		t.Error(diff)
	}
	p.must(os.Remove(p.path("a.yaml")))
	got, err = s.Read(t.Context())
	p.must(err)
	if in(got) != "y=1 z=1" {
		t.Errorf("a second read: %q", in(got))
	}
	if entries, err := os.ReadDir(p.state); err != nil || len(entries) != 0 {
		t.Errorf("Read left %v in the state directory (%v)", entries, err)
	}
}

func TestTooManyFiles(t *testing.T) {
	p := newPlace(t)
	for i := range 10_001 {
		p.write(filepath.Join("d", strings.Repeat("a", i/100)+"-"+strings.Repeat("b", i%100)+".yaml"), "")
	}
	s, err := p.source()
	p.must(err)
	got, err := s.Read(t.Context())
	p.must(err)
	if got.OK || codes(got) != "unreadable-directory" {
		t.Errorf("ok %v, %s", got.OK, codes(got))
	}
}
