//go:build e2e

package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/testenv"
)

// hashes of all files below dir, with their modes; the lock is nobody's content.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		out[strings.TrimPrefix(path, dir+"/")] = fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(body))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stopped is a state that a product has left behind, and its manifests.
func stopped(t *testing.T) (s *site, work string) {
	t.Helper()
	s = newSite(t, "lobby")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("public", "plain", "/", "lobby", "public"))})
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	return s, e.Work
}

func damage(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A damaged or newer state ends the start with one sentence that names the file and what to do, and nothing in it is overwritten.
func TestDamagedStateIsRefusedAndKept(t *testing.T) {
	s, work := stopped(t)
	state := filepath.Join(work, "state")
	pristine := filepath.Join(work, "pristine")
	restore(t, state, pristine)
	for _, tc := range []struct{ name, file, text, want string }{
		{
			"last-good file cut off", "last-good.json", `{"version":1,"sha256":"ab`,
			"$S/last-good.json: last-good file is corrupt (unexpected end of JSON input); move it away to start from the manifests alone",
		},
		{
			"last-good file edited", "last-good.json", `{"version":1,"sha256":"ab","memory":{"objects":[]}}`,
			"$S/last-good.json: last-good file is corrupt (checksum or version is wrong); move it away to start from the manifests alone",
		},
		{
			"last-good file of a newer format", "last-good.json", `{"version":2,"sha256":"ab","memory":{"objects":[]}}`,
			"$S/last-good.json: last-good file is of a newer format (2, this version reads 1); run the version that wrote it, or move it away to start from the manifests alone",
		},
		{
			"state of a newer format", "format", "2\n",
			"the state directory $S has format 2 and this credence knows format 1: use the version that wrote it, or choose another one with --state-dir; nothing was changed",
		},
		{
			"format that is none", "format", "what\n",
			`$S/format says "what\n", which is no format: the state directory is damaged; restore it from a backup, or choose another one with --state-dir`,
		},
		{
			"records of proxies damaged", "proxies.json", "{",
			"the record of running proxies $S/proxies.json is damaged (unexpected end of JSON input): end the envoy processes of this state directory by hand and delete the file",
		},
		{
			"records of proxies of a newer format", "proxies.json", `{"format":2}`,
			"the record of running proxies $S/proxies.json has format 2 and this credence knows 1: use the version that wrote it",
		},
		{
			"CA damaged", "ca/authorities.pem", "what",
			"open the CA: $S/ca/authorities.pem: corrupt CA file: not PEM; restore it from a backup, or choose another state directory with --state-dir",
		},
		{
			"CA empty", "ca/authorities.pem", "",
			"open the CA: $S/ca/authorities.pem: corrupt CA file: empty; restore it from a backup, or choose another state directory with --state-dir",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			restore(t, pristine, state)
			damage(t, filepath.Join(state, tc.file), tc.text)
			before := hashes(t, state)
			e := testenv.New(t, testenv.Options{Work: work})
			err := e.Ended()
			if want := strings.ReplaceAll(tc.want, "$S", state); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			after := hashes(t, state)
			if tc.file != "proxies.json" { // a start clears the record of the run before
				delete(before, "proxies.json")
				delete(after, "proxies.json")
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the state was changed: %s", diff)
			}
			left(t, e)
		})
	}
	t.Run("CA of another trust domain", func(t *testing.T) {
		restore(t, pristine, state)
		before := hashes(t, filepath.Join(state, "ca"))
		mesh := s.mesh()
		e := testenv.New(t, testenv.Options{Work: work, Manifests: map[string]string{"mesh.yaml": strings.ReplaceAll(mesh, "trustDomain: e2e.test", "trustDomain: other.test")}})
		err := e.Ended()
		want := "open the CA: " + state + `/ca/authorities.pem: CA of another trust domain: it is "spiffe://e2e.test", configured is "spiffe://other.test"; choose another state directory with --state-dir`
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if diff := cmp.Diff(before, hashes(t, filepath.Join(state, "ca"))); diff != "" {
			t.Errorf("the CA was changed: %s", diff)
		}
		e.Edit("mesh.yaml", mesh)
	})
	t.Run("undamaged", func(t *testing.T) {
		restore(t, pristine, state)
		testenv.Start(t, testenv.Options{Work: work})
	})
}

// restore replaces to with a copy of from that keeps modes.
func restore(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// The key of the development issuer costs the issuer alone: everything else runs, and readiness says why.
func TestDamagedIssuerKeyIsNamedAndKept(t *testing.T) {
	s, work := stopped(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", s.issuer)
	key := filepath.Join(app.DevIssuerDir(filepath.Join(work, "state"), url), "dev-issuer.key")
	damage(t, key, "what")
	e := testenv.New(t, testenv.Options{Work: work})
	want := []string{"issuer default/dev has no keys yet: key " + key + " is not a P-256 key in PKCS #8 PEM: move it away so that a new one is made"}
	e.Await("readiness to name the key alone", func() string {
		if _, err := os.Stat(filepath.Join(e.Run, "admin", "admin.sock")); err != nil {
			return err.Error()
		}
		return cmp.Diff(want, e.Status().NotReady)
	})
	if r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/"}); err != nil || r.Status != 200 {
		t.Errorf("a public route answers %v, %v", r.Status, err)
	}
	if body, err := os.ReadFile(key); err != nil || string(body) != "what" {
		t.Errorf("the key is now %q, %v", body, err)
	}
}

// One product holds a state directory; the second leaves the first alone.
func TestSecondProductOnOneStateIsRefused(t *testing.T) {
	s := newSite(t, "lobby")
	first := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("public", "plain", "/", "lobby", "public"))})
	before := first.Status()
	second := testenv.New(t, testenv.Options{Work: first.Work})
	want := "another credence uses the state directory " + first.State + ": end it, or choose another one with --state-dir"
	if err := second.Ended(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/"}); err != nil || r.Status != 200 {
		t.Errorf("the first one answers %v, %v", r.Status, err)
	}
	if diff := cmp.Diff(pids(before), pids(first.Status())); diff != "" {
		t.Errorf("the proxies of the first one changed: %s", diff)
	}
}

// Ctrl-C leaves no process, no socket and no endpoints.json behind.
func TestEndLeavesNothingBehind(t *testing.T) {
	s := newSite(t, "vault", "lobby")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("public", "plain", "/", "lobby", "public"))})
	proxies := pids(e.Status())
	if len(proxies) != 3 || slices.Contains(slices.Collect(maps.Values(proxies)), 0) {
		t.Fatalf("proxies %v, want three", proxies)
	}
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	for id, pid := range proxies {
		if lives(pid) {
			t.Errorf("proxy %s (%d) lives on", id, pid)
		}
	}
	left(t, e)
}

// left says what a product that has ended has left behind.
func left(t *testing.T, e *testenv.Env) {
	t.Helper()
	for _, path := range []string{e.Run, filepath.Join(e.State, app.EndpointsFile)} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left behind (%v)", path, err)
		}
	}
}
