package dir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/dir"
)

func TestEditTakesEffectSoon(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\ny = 1\n")
	p.run().inForce("x=1 y=1")
	for name, edit := range map[string]func(rel, text string){"in place": p.write, "rename over": p.replace} {
		edit("a.yaml", "x = 1\ny = 1\n")
		p.inForce("x=1 y=1")
		start := time.Now()
		edit("a.yaml", "x = 2\ny = 1\n")
		p.inForce("x=2 y=1")
		t.Logf("%s: an edit took effect after %v", name, time.Since(start))
	}
	p.never("lacks y", lacks("y"))
}

func TestPollingFindsWhatNotificationsDoNot(t *testing.T) {
	p := newPlace(t)
	outside := filepath.Join(t.TempDir(), "real")
	p.mkdir(outside)
	p.must(os.WriteFile(filepath.Join(outside, "hard"), []byte("x = 1\n"), 0o600))
	p.must(os.Link(filepath.Join(outside, "hard"), p.path("a.yaml")))
	p.tweak = func(o *dir.Options) { o.Poll = 50 * time.Millisecond }
	p.run().inForce("x=1")
	// A write by the other name of the inode gives the watched directory no notice.
	p.must(os.WriteFile(filepath.Join(outside, "hard"), []byte("x = 2\n"), 0o600))
	p.inForce("x=2")
}

func TestHalfWrittenFile(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", lines("x", 20, "1"))
	p.run().until("20 objects", func(s dir.Snapshot) bool { return len(s.Objects) == 20 })
	f, err := os.OpenFile(p.path("a.yaml"), os.O_WRONLY|os.O_TRUNC, 0o600)
	p.must(err)
	text := lines("x", 20, "2")
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for len(text) > 0 { // pieces end within a line: what stands there in between can't be parsed, or is less
		n := min(13, len(text))
		_, err := f.WriteString(text[:n])
		p.must(err)
		text = text[n:]
		<-tick.C
	}
	p.must(f.Close())
	p.until("all at 2", func(s dir.Snapshot) bool { return strings.Count(in(s), "=2") == 20 })
	p.never("shows a half-written file", func(s dir.Snapshot) bool {
		n := strings.Count(in(s), "=2")
		return len(s.Objects) != 20 || n != 0 && n != 20 || manifests.HasErrors(s.Diagnostics)
	})
}

func TestDelete(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.write("sub/b.yaml", "y = 1\nz = 1\n")
	p.run().inForce("x=1 y=1 z=1")
	start := time.Now()
	p.must(os.Remove(p.path("a.yaml")))
	p.inForce("y=1 z=1")
	if d := time.Since(start); d < 200*time.Millisecond {
		t.Errorf("a deletion took effect after %v, before the directory was quiet", d)
	}
	p.write("sub/b.yaml", "z = 1\n")
	p.inForce("z=1")
	p.must(os.RemoveAll(p.path("sub")))
	s := p.until("an empty directory", func(s dir.Snapshot) bool { return !s.OK })
	if in(s) != "z=1" || names(s.Pinned) != "z" || codes(s) != "empty-directory" {
		t.Errorf("empty directory: in force %q, pinned %q, %s", in(s), names(s.Pinned), codes(s))
	}
	p.write("c.yaml", "w = 1\n")
	p.inForce("w=1")
}

func TestRenamesAndMoves(t *testing.T) {
	p := newPlace(t)
	p.tweak = func(o *dir.Options) { o.Poll = time.Hour } // notifications alone
	p.write("a.yaml", "x = 1\n")
	p.write("one/deep/b.yaml", "y = 1\n")
	p.run().inForce("x=1 y=1")
	p.must(os.Rename(p.path("a.yaml"), p.path("b.yaml")))
	p.until("x in b.yaml", func(s dir.Snapshot) bool { return s.Objects[0].Pos.File == p.path("b.yaml") })
	p.must(os.Rename(p.path("one"), p.path("two")))
	p.until("y in two", func(s dir.Snapshot) bool { return s.Objects[1].Pos.File == p.path("two/deep/b.yaml") })
	// The moved directory, and one that came in from outside, are still watched.
	p.write("two/deep/b.yaml", "y = 2\n")
	p.inForce("x=1 y=2")
	outside := filepath.Join(filepath.Dir(p.dir), "outside")
	p.mkdir(filepath.Join(outside, "in"))
	p.must(os.WriteFile(filepath.Join(outside, "in", "c.yaml"), []byte("z = 1\n"), 0o600))
	p.must(os.Rename(outside, p.path("three")))
	p.inForce("x=1 y=2 z=1")
	p.write("three/in/c.yaml", "z = 2\n")
	p.inForce("x=1 y=2 z=2")
	// From one file into another, in two steps.
	p.must(os.Rename(p.path("b.yaml"), filepath.Join(filepath.Dir(p.dir), "b.yaml")))
	p.must(os.Rename(filepath.Join(filepath.Dir(p.dir), "b.yaml"), p.path("three/b.yaml")))
	p.until("x in three", func(s dir.Snapshot) bool { return s.Objects[0].Pos.File == p.path("three/b.yaml") })
	p.never("lacks x", lacks("x"))
	p.never("lacks y", lacks("y"))
}

func TestRootReplaced(t *testing.T) {
	p := newPlace(t)
	p.tweak = func(o *dir.Options) { o.Poll = time.Hour } // notifications alone
	p.write("a.yaml", "x = 1\ny = 1\n")
	p.run().inForce("x=1 y=1")
	next := p.dir + ".next"
	p.mkdir(next)
	p.must(os.WriteFile(filepath.Join(next, "a.yaml"), []byte("x = 2\n"), 0o600))
	p.must(os.Rename(p.dir, p.dir+".old"))
	p.must(os.Rename(next, p.dir))
	p.inForce("x=2")
	p.write("a.yaml", "x = 3\n")
	p.inForce("x=3")
	p.must(os.Rename(p.dir, p.dir+".gone"))
	s := p.until("an unreadable directory", func(s dir.Snapshot) bool { return !s.OK })
	if in(s) != "x=3" || codes(s) != "unreadable-directory" {
		t.Errorf("root gone: in force %q, %s", in(s), codes(s))
	}
	p.mkdir(p.dir)
	p.write("a.yaml", "x = 4\n")
	p.inForce("x=4")
	p.never("lacks x", lacks("x"))
}

func TestSymlinkSwaps(t *testing.T) {
	p := newPlace(t)
	p.tweak = func(o *dir.Options) { o.Poll = time.Hour } // notifications alone
	link := filepath.Join(filepath.Dir(p.dir), "current")
	version := func(name, text string) {
		p.write(filepath.Join("v"+name, "..data"+name, "a.yaml"), text)
		p.must(os.Symlink("..data"+name, p.path("v"+name+"/..data")))
		p.must(os.Symlink("..data/a.yaml", p.path("v"+name+"/a.yaml")))
	}
	swap := func(target, link string) {
		p.must(os.Symlink(target, link+".tmp"))
		p.must(os.Rename(link+".tmp", link))
	}
	version("1", "x = 1\n")
	version("2", "x = 2\n")
	swap("manifests/v1", link)
	root := p.dir
	p.dir = link
	p.run().inForce("x=1")
	p.dir = root
	start := time.Now()
	swap("manifests/v2", link)
	p.inForce("x=2")
	t.Logf("a swap of the root took effect after %v", time.Since(start))
	// As Kubernetes updates a volume: the files are links through ..data, which is renamed over.
	p.write("v2/..data3/a.yaml", "x = 3\n")
	start = time.Now()
	swap("..data3", p.path("v2/..data"))
	p.inForce("x=3")
	t.Logf("a swap of ..data took effect after %v", time.Since(start))
	p.write("v2/..data3/a.yaml", "x = 4\n")
	p.inForce("x=4")
	p.never("lacks x", lacks("x"))
}

func TestGitCheckout(t *testing.T) {
	p := newPlace(t)
	p.git("init", "-q", "-b", "one")
	p.write("a.yaml", "both = 1\nshared = 1\nonly1 = 1\n")
	p.write("deep/b.yaml", lines("f", 10, "1"))
	p.git("add", ".")
	p.git("commit", "-qm", "one")
	p.git("checkout", "-q", "-b", "two")
	p.git("rm", "-q", "deep/b.yaml")
	p.write("a.yaml", "shared = 1\nonly2 = 1\n")
	p.write("other/c.yaml", "both = 1\n"+lines("f", 10, "1"))
	p.git("add", ".")
	p.git("commit", "-qm", "two")
	p.run()
	two := func(s dir.Snapshot) bool { return lacks("only1")(s) && !lacks("only2")(s) }
	one := func(s dir.Snapshot) bool { return lacks("only2")(s) && !lacks("only1")(s) }
	p.until("branch two", two)
	for range 3 {
		p.git("checkout", "-q", "one")
		p.until("branch one", one)
		p.git("checkout", "-q", "two")
		p.until("branch two", two)
	}
	p.never("is neither branch", func(s dir.Snapshot) bool { return !one(s) && !two(s) || len(s.Objects) != 13 })
	p.never("lacks both", lacks("both"))
}

// A writer that never stops switches between two states that both hold x, each time by way of moments at which x is nowhere.
func TestUnderLoadNothingThatBothStatesHoldIsMissed(t *testing.T) {
	p := newPlace(t)
	// A directory that a busy machine leaves alone for so long between two writes would be at rest.
	p.tweak = func(o *dir.Options) { o.Quiet = 2 * time.Second }
	p.write("a.yaml", "x = 1\na = 1\n")
	p.write("sub/n.yaml", "n = 0\n")
	p.run().inForce("a=1 n=0 x=1")
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		p.must(os.Remove(p.path("a.yaml")))
		p.write("b.yaml", "")
		p.write("b.yaml", "x = 1\nb = 1\n")
		p.must(os.Rename(p.path("sub"), p.path("bus")))
		p.must(os.Rename(p.path("b.yaml"), p.path("c.yaml")))
		p.must(os.Remove(p.path("c.yaml")))
		p.write("a.yaml", "x = 1\na = 1\n")
		p.must(os.Rename(p.path("bus"), p.path("sub")))
	}
	p.write("sub/n.yaml", "n = 1\n")
	p.inForce("a=1 n=1 x=1")
	p.never("lacks x", lacks("x"))
	p.never("lacks n", lacks("n"))
}

// One file that is rewritten without end does not keep the edits of others from taking effect.
func TestEditBesideRestlessFile(t *testing.T) {
	p := newPlace(t)
	p.write("a.yaml", "x = 1\n")
	p.write("restless.yaml", "r = 0\n")
	p.run().inForce("r=0 x=1")
	p.write("a.yaml", "x = 2\n")
	start, tick := time.Now(), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		p.replace("restless.yaml", strings.Repeat("# \n", i%2)+"r = 0\n")
		p.mu.Lock()
		done := in(p.all[len(p.all)-1]) == "r=0 x=2"
		p.mu.Unlock()
		if done {
			t.Logf("took effect after %v", time.Since(start))
			break
		}
		if time.Since(start) > limit {
			t.Fatal("an edit never took effect beside a file that is rewritten without end")
		}
		<-tick.C
	}
	p.write("restless.yaml", "r = 1\n")
	if s := p.inForce("r=1 x=2"); codes(s) != "" {
		t.Errorf("at rest: %s", codes(s))
	}
}
