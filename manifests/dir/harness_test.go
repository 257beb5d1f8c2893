package dir_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what must happen; it is generous because a loaded machine is no failure.
const limit = 20 * time.Second

// decodeLines reads lines "name = value". The value "!" is a broken object, a line without "=" a file that can't be parsed.
func decodeLines(name string, data []byte) dir.Decoded {
	d := dir.Decoded{Parsed: true}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		pos := manifests.Position{File: name, Line: i + 1, Column: 1}
		n, v, ok := strings.Cut(line, " = ")
		switch {
		case !ok:
			return dir.Decoded{Diagnostics: []manifests.Diagnostic{{
				Severity: manifests.Error, Code: "syntax", Pos: pos, Message: "no = here",
			}}}
		case v == "!":
			d.Broken = append(d.Broken, key(n))
			d.Diagnostics = append(d.Diagnostics, manifests.Diagnostic{
				Severity: manifests.Error, Code: "broken", Pos: pos, Object: key(n), Message: "broken",
			})
		default:
			d.Objects = append(d.Objects, &manifests.Object{Key: key(n), Pos: pos, Value: v, Canonical: []byte(v)})
		}
	}
	return d
}

func restore(k manifests.Key, canonical []byte, pos manifests.Position) (*manifests.Object, error) {
	if string(canonical) == "outdated" {
		return nil, errors.New("field is gone")
	}
	return &manifests.Object{Key: k, Pos: pos, Value: string(canonical), Canonical: canonical}, nil
}

func key(name string) manifests.Key {
	return manifests.Key{Group: "credence.mesh", Kind: "Thing", Namespace: "default", Name: name}
}

// in renders what is in force: "a=1 b=2".
func in(s dir.Snapshot) string {
	var out []string
	for _, o := range s.Objects {
		out = append(out, o.Key.Name+"="+string(o.Canonical))
	}
	return strings.Join(out, " ")
}

func names(keys []manifests.Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.Name)
	}
	return strings.Join(out, " ")
}

func codes(s dir.Snapshot) string {
	var out []string
	for _, d := range s.Diagnostics {
		out = append(out, d.Code)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// place is a directory of manifests under test, and the Source that runs on it.
type place struct {
	t          *testing.T
	dir, state string
	tweak      func(*dir.Options)

	mu   sync.Mutex
	all  []dir.Snapshot
	more chan struct{}
	stop func()
}

func newPlace(t *testing.T) *place {
	t.Helper()
	base := t.TempDir()
	p := &place{t: t, dir: filepath.Join(base, "manifests"), state: filepath.Join(base, "state")}
	p.mkdir(p.dir)
	p.mkdir(p.state)
	return p
}

func (p *place) mkdir(path string) {
	p.t.Helper()
	p.must(os.MkdirAll(path, 0o700))
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) path(rel string) string { return filepath.Join(p.dir, rel) }

func (p *place) write(rel, text string) {
	p.t.Helper()
	p.mkdir(filepath.Dir(p.path(rel)))
	p.must(os.WriteFile(p.path(rel), []byte(text), 0o600))
}

// replace writes as editors do: a new file, renamed over the old one.
func (p *place) replace(rel, text string) {
	p.t.Helper()
	tmp := p.path(".tmp-" + filepath.Base(rel))
	p.must(os.WriteFile(tmp, []byte(text), 0o600))
	p.must(os.Rename(tmp, p.path(rel)))
}

func (p *place) source() (*dir.Source, error) {
	o := dir.Options{Dir: p.dir, StateDir: p.state, Decode: decodeLines, Restore: restore, Log: slog.New(slog.DiscardHandler)}
	if p.tweak != nil {
		p.tweak(&o)
	}
	return dir.New(o)
}

// run starts a Source; it ends with the test or by p.stop.
func (p *place) run() *place {
	p.t.Helper()
	s, err := p.source()
	p.must(err)
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	p.mu.Lock()
	p.all, p.more = nil, make(chan struct{}, 1)
	p.mu.Unlock()
	go func() { ended <- s.Run(ctx, p.published) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("Run: %v", err)
		}
	})
	p.t.Cleanup(p.stop)
	return p
}

func (p *place) published(s dir.Snapshot) {
	p.mu.Lock()
	p.all = append(p.all, s)
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// until waits for a last Snapshot that satisfies ok and returns it.
func (p *place) until(what string, ok func(dir.Snapshot) bool) dir.Snapshot {
	p.t.Helper()
	deadline := time.After(limit)
	for {
		p.mu.Lock()
		var last dir.Snapshot
		n := len(p.all)
		if n > 0 {
			last = p.all[n-1]
		}
		p.mu.Unlock()
		if n > 0 && ok(last) {
			return last
		}
		select {
		case <-p.more:
		case <-deadline:
			p.t.Fatalf("waited for %s; last of %d: in force %q, pinned %q, missing %q, ok %v, codes %q",
				what, n, in(last), names(last.Pinned), names(last.Missing), last.OK, codes(last))
		}
	}
}

func (p *place) inForce(want string) dir.Snapshot {
	p.t.Helper()
	return p.until(want, func(s dir.Snapshot) bool { return in(s) == want })
}

// never checks every Snapshot so far.
func (p *place) never(what string, bad func(dir.Snapshot) bool) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.all {
		if bad(s) {
			p.t.Errorf("snapshot %d of %d %s: in force %q, pinned %q", i, len(p.all), what, in(s), names(s.Pinned))
		}
	}
}

func (p *place) git(args ...string) {
	p.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", p.dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func lacks(name string) func(dir.Snapshot) bool {
	return func(s dir.Snapshot) bool {
		return !slices.ContainsFunc(s.Objects, func(o *manifests.Object) bool { return o.Key.Name == name })
	}
}

func lines(prefix string, n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s%02d = %s\n", prefix, i, value)
	}
	return b.String()
}
