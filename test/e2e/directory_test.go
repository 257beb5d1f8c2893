//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/testenv"
)

// directory is a mesh in two versions that both let everybody at /: one leads to vault, the other to lobby.
type directory struct {
	*testenv.Env
	t        *testing.T
	versions [2]string // of routes.yaml
	next     int
	load     *load
	addr     string
}

func (d *directory) version() string {
	d.next = 1 - d.next
	return d.versions[d.next]
}

// inForce waits until requests are answered by the version that was written last.
func (d *directory) inForce() {
	d.t.Helper()
	d.Await("the version written last", answers(d.t, d.addr, "/", []string{"200 vault", "200 lobby"}[d.next]))
}

func (d *directory) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *directory) path(elem ...string) string {
	return filepath.Join(append([]string{d.Dir}, elem...)...)
}

func (d *directory) git(args ...string) {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), "git", append([]string{"-C", d.Dir, "-c", "user.name=t", "-c", "user.email=t@e2e.test"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("git %v: %v: %s", args, err, out)
	}
}

// pieces writes text over the file that is there, a piece at a time, as a slow copy does.
func (d *directory) pieces(path, text string) {
	d.t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0o600)
	d.must(err)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	const parts = 6
	for i := range parts {
		_, err := f.WriteString(text[i*len(text)/parts : (i+1)*len(text)/parts])
		d.must(err)
		<-tick.C
	}
	d.must(f.Close())
}

// startDirectory begins the load too.
func startDirectory(t *testing.T, dir func(work string, manifests map[string]string) string) *directory {
	t.Helper()
	s := newSite(t, "vault", "lobby")
	work := testenv.WorkDir(t)
	d := &directory{t: t, addr: s.frontAddr(), versions: [2]string{
		s.route("public", "plain", "/", "vault", "public"), s.route("public", "plain", "/", "lobby", "public"),
	}}
	d.Env = testenv.Start(t, testenv.Options{Work: work, Dir: dir(work, s.manifests(d.versions[0]))})
	d.load = startLoad(t, 3, func(r testenv.Reply) bool { return r.Status == 200 && (r.Body == "vault" || r.Body == "lobby") },
		testenv.Request{Addr: d.addr, Path: "/"})
	return d
}

// write puts the manifests below root, routes.yaml in the folder routes.
func write(t *testing.T, root string, manifests map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "routes"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range manifests {
		path := filepath.Join(root, name)
		if name == "routes.yaml" {
			path = filepath.Join(root, "routes", name)
		}
		testenv.Replace(t, path, text)
	}
}

// generations fails the test where fewer were in force. The status may come after the first request that a generation answers.
func (d *directory) generations(before uint64, want int) {
	d.t.Helper()
	var got int
	d.Await(fmt.Sprintf("%d generations", want), func() string {
		if got = int(d.Status().Generation - before); got < want {
			return fmt.Sprintf("%d so far", got)
		}
		return ""
	})
	d.t.Logf("%d requests, %d generations", d.load.served, got)
}

// A directory is edited in every way that people, editors and git have, while requests come in all the time: not one is denied, because
// both versions allow it, and every version comes into force.
func TestDirectoryUnderLoad(t *testing.T) {
	d := startDirectory(t, func(work string, manifests map[string]string) string {
		write(t, filepath.Join(work, "mesh"), manifests)
		return filepath.Join(work, "mesh")
	})
	file := d.path("routes", "routes.yaml")
	d.git("init", "-q", "-b", "version0")
	d.git("add", ".")
	d.git("commit", "-q", "-m", "vault")
	d.git("checkout", "-q", "-b", "version1")
	testenv.Replace(t, file, d.version())
	d.must(os.Rename(d.path("vault.yaml"), d.path("routes", "renamed.yaml")))
	d.git("add", "-A", ".")
	d.git("commit", "-q", "-m", "lobby, and a file elsewhere")
	d.inForce()
	ways := []struct {
		name string
		edit func()
	}{
		{"rename and replace", func() { testenv.Replace(t, file, d.version()) }},
		{"truncate and write in pieces", func() { d.pieces(file, d.version()) }},
		{"a file renamed and edited", func() {
			d.must(os.Rename(file, d.path("routes", "other.yaml")))
			d.must(os.Rename(d.path("routes", "other.yaml"), file))
			d.must(os.Rename(d.path("lobby.yaml"), d.path("lobby2.yaml")))
			testenv.Replace(t, file, d.version())
			d.must(os.Rename(d.path("lobby2.yaml"), d.path("lobby.yaml")))
		}},
		{"a folder moved", func() {
			d.must(os.Rename(d.path("routes"), d.path("moved")))
			testenv.Replace(t, d.path("moved", "routes.yaml"), d.version())
			d.must(os.Rename(d.path("moved"), d.path("routes")))
		}},
		{"a folder moved out and back", func() {
			text := d.version()
			d.must(os.Rename(d.path("routes"), filepath.Join(d.Work, "away")))
			d.must(os.Rename(filepath.Join(d.Work, "away"), d.path("routes")))
			testenv.Replace(t, file, text)
		}},
		{"git checkout", func() {
			d.version()
			d.git("checkout", "-q", "-f", fmt.Sprintf("version%d", d.next))
		}},
	}
	before := d.Status().Generation
	for _, w := range ways {
		const times = 3
		t.Run(w.name, func(t *testing.T) {
			for range times {
				w.edit()
				d.inForce()
			}
		})
	}
	// One after the other without a wait: only the last one must come into force.
	for range 5 {
		for _, w := range ways {
			w.edit()
		}
	}
	d.inForce()
	d.load.end(t)
	d.generations(before, 3*len(ways))
}

// The directory is a symbolic link that is swapped between two releases.
func TestSymlinkSwapUnderLoad(t *testing.T) {
	var releases [2]string
	var link string
	d := startDirectory(t, func(work string, manifests map[string]string) string {
		for i := range releases {
			releases[i] = filepath.Join(work, fmt.Sprintf("release%d", i))
			write(t, releases[i], manifests)
		}
		link = filepath.Join(work, "current")
		if err := os.Symlink("release0", link); err != nil {
			t.Fatal(err)
		}
		return link
	})
	testenv.Replace(t, filepath.Join(releases[1], "routes", "routes.yaml"), d.versions[1])
	before := d.Status().Generation
	const swaps = 8
	for range swaps {
		d.version()
		d.must(os.Symlink(filepath.Base(releases[d.next]), link+".new"))
		d.must(os.Rename(link+".new", link))
		d.inForce()
	}
	d.load.end(t)
	d.generations(before, swaps)
}
