package app_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/app"
)

// shortDir is a directory whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func modes(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		out[strings.TrimPrefix(path, root+"/")] = info.Mode().String()
		return err
	}))
	return out
}

func TestStateDirIsHeldByOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	release, err := app.OpenStateDir(dir)
	must(t, err)
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, want 0700", info.Mode().Perm())
	}
	_, err = app.OpenStateDir(dir)
	if want := "another credence uses the state directory " + dir + ": end it, or choose another one with --state-dir"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	must(t, release())
	again, err := app.OpenStateDir(dir)
	must(t, err)
	must(t, again())
}

// A kill in mid-write leaves a temporary file: it keeps no start from working, and its keys do not stay.
func TestStateDirAfterAKillInMidWrite(t *testing.T) {
	dir := t.TempDir()
	files := []string{".format-123", ".internal-token-keys.json-42", ".store.db.keys-7"}
	must(t, os.WriteFile(filepath.Join(dir, files[0]), []byte("1"), 0o600))
	release, err := app.OpenStateDir(dir)
	must(t, err)
	must(t, release())
	for _, f := range append(files, ".format-of-mine", ".other-1") {
		must(t, os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o600))
	}
	release, err = app.OpenStateDir(dir)
	must(t, err)
	must(t, release())
	want := map[string]string{"lock": "-rw-------", "format": "-rw-------", ".format-of-mine": "-rw-------", ".other-1": "-rw-------"}
	if diff := cmp.Diff(want, modes(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is not understood is refused, and left as it is.
func TestStateDirRefuses(t *testing.T) {
	for _, tc := range []struct{ name, file, text, want string }{
		{
			"a newer format", "format", "2\n",
			"the state directory $D has format 2 and this credence knows format 1: use the version that wrote it, or choose another one with --state-dir; nothing was changed",
		},
		{
			"no format", "format", "x",
			`$D/format says "x", which is no format: the state directory is damaged; restore it from a backup, or choose another one with --state-dir`,
		},
		{
			"what is not credence's", "notes.txt", "x",
			"the state directory $D holds notes.txt but no file named format: it is not credence's, or it is damaged; choose another one with --state-dir, or restore the file from a backup",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Chmod(dir, 0o700))
			must(t, os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.text), 0o600))
			_, err := app.OpenStateDir(dir)
			if want := strings.ReplaceAll(tc.want, "$D", dir); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			body, err := os.ReadFile(filepath.Join(dir, tc.file))
			must(t, err)
			if string(body) != tc.text {
				t.Errorf("%s is now %q", tc.file, body)
			}
			if diff := cmp.Diff(map[string]string{tc.file: "-rw-------", "lock": "-rw-------"}, modes(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("what others may write", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o770))
		_, err := app.OpenStateDir(dir)
		if want := "state directory: " + dir + " has mode 0770: others may change it; run chmod go-w on it"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
}

// Others reach the Workload API and the way to their own directories, whatever the umask, and nothing else.
func TestRunDirModes(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := filepath.Join(shortDir(t), "run")
	remove, err := app.OpenRunDir(dir)
	must(t, err)
	api, err := app.ListenUnix(t.Context(), filepath.Join(dir, "workload", "api.sock"), 0o666)
	must(t, err)
	admin, err := app.ListenUnix(t.Context(), filepath.Join(dir, "admin", "admin.sock"), 0o600)
	must(t, err)
	want := map[string]string{
		"workload": "drwxr-xr-x", "workload/api.sock": "Srw-rw-rw-", "proxies": "drwx--x--x", "workloads": "drwx--x--x",
		"admin": "drwx------", "admin/admin.sock": "Srw-------",
	}
	if diff := cmp.Diff(want, modes(t, dir)); diff != "" {
		t.Errorf("-want +got: %s", diff)
	}
	must(t, errors.Join(api.Close(), admin.Close(), remove()))
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is left behind: %v", err)
	}
}

// A restart clears our sockets, and not those on which applications listen.
func TestRunDirKeepsApplicationSockets(t *testing.T) {
	dir := filepath.Join(shortDir(t), "run")
	_, err := app.OpenRunDir(dir)
	must(t, err)
	application := filepath.Join(dir, "workloads", "w", "http.sock")
	stale := filepath.Join(dir, "proxies", "p", "agent.sock")
	for _, path := range []string{application, stale} {
		must(t, os.Mkdir(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, nil, 0o600))
	}
	remove, err := app.OpenRunDir(dir)
	must(t, err)
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale socket is there: %v", err)
	}
	must(t, remove())
	if _, err := os.Stat(application); err != nil {
		t.Errorf("the socket of the application is gone: %v", err)
	}
}

func TestListenUnixRefusesALongPath(t *testing.T) {
	_, err := app.ListenUnix(t.Context(), filepath.Join(t.TempDir(), strings.Repeat("x", 120)), 0o600)
	if err == nil || !strings.Contains(err.Error(), "108") && !strings.Contains(err.Error(), "107") {
		t.Errorf("got %v, want the limit of socket paths", err)
	}
}

// Connections come from every listener, also from one that is added later; one that is not kept refuses.
func TestJoinedListeners(t *testing.T) {
	dir := shortDir(t)
	j := app.NewJoined()
	add := func(name string) string {
		path := filepath.Join(dir, name)
		l, err := app.ListenUnix(t.Context(), path, 0o600)
		must(t, err)
		j.Add(name, l)
		return path
	}
	through := func(path string) {
		t.Helper()
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "unix", path)
		must(t, err)
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte(filepath.Base(path)))
		must(t, err)
		got, err := j.Accept()
		must(t, err)
		defer func() { _ = got.Close() }()
		b := make([]byte, 8)
		n, err := got.Read(b)
		if err != nil || string(b[:n]) != filepath.Base(path) {
			t.Errorf("got %q, %v through %s", b[:n], err, path)
		}
	}
	first := add("first")
	through(first)
	second := add("second")
	through(second)
	through(first)
	j.Keep(map[string]bool{"second": true})
	var d net.Dialer
	if c, err := d.DialContext(t.Context(), "unix", first); err == nil {
		_ = c.Close()
		t.Error("a listener that is not kept accepts")
	}
	through(second)
	must(t, j.Close())
	if _, err := j.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
}

func TestEndpointsFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := app.ReadEndpoints(dir); !errors.Is(err, app.ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	want := app.Endpoints{
		Format: 1, PID: 7, TrustDomain: "example.org", Admin: "127.0.0.1:1", AdminSocket: "/a", WorkloadAPI: "unix:///w",
		Gateways:  map[string]app.GatewayEndpoint{"default/edge": {SPIFFEID: "spiffe://example.org/ns/default/gw/edge", Listeners: map[string]string{"https": "127.0.0.1:2"}}},
		Workloads: map[string]app.WorkloadEndpoint{"default/orders": {Inbound: map[string]string{"http": "127.0.0.1:3"}, Application: map[string]string{"http": "127.0.0.1:4"}}},
	}
	must(t, app.WriteEndpoints(want, dir))
	got, err := app.ReadEndpoints(dir)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	must(t, os.WriteFile(filepath.Join(dir, app.EndpointsFile), []byte("{"), 0o600))
	if _, err := app.ReadEndpoints(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v, want that it is damaged", err)
	}
}
