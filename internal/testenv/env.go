package testenv

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/devissuer"
)

// patience is how long anything may take that a test waits for.
const patience = 30 * time.Second

// Options of Start.
type Options struct {
	// Manifests by file name; they are written into the directory Env.Dir.
	Manifests map[string]string
	// Dir is the directory of manifests instead, already filled: a symlink, a checkout.
	Dir string
	// Work holds the state from an earlier Env that was stopped; empty: a new one.
	Work string
	// Envoy names the binary; empty: found. NoEnvoy runs the product without its proxies.
	Envoy   string
	NoEnvoy bool
	// Intercept wraps the streams of the control plane, see app.Options.
	Intercept func(grpc.StreamServerInfo, grpc.ServerStream) grpc.ServerStream
}

// Env is one running product. Its methods may be called from several goroutines, but for Stop.
type Env struct {
	t testing.TB
	// Dir holds the manifests, State what outlives the product, Run its sockets; all lie below Work.
	Work, Dir, State, Run string

	log     *buffer
	stop    context.CancelFunc
	ended   chan struct{}
	ready   chan struct{}
	err     error // of app.Up; read it after ended
	stopped bool
}

// Start runs the product and waits until it is ready. It is stopped at the end of the test.
func Start(t testing.TB, o Options) *Env {
	t.Helper()
	e := New(t, o)
	select {
	case <-e.ready:
	case <-e.ended:
		t.Fatalf("the product ended: %v", e.err)
	case <-time.After(patience):
		t.Fatalf("the product is not ready after %v: %v", patience, e.Status().NotReady)
	}
	return e
}

// New is Start without the wait.
func New(t testing.TB, o Options) *Env {
	t.Helper()
	if o.Work == "" {
		o.Work = WorkDir(t)
	}
	e := &Env{
		t: t, Work: o.Work, Dir: o.Dir, State: filepath.Join(o.Work, "state"), Run: filepath.Join(o.Work, "run"),
		log: &buffer{}, ended: make(chan struct{}), ready: make(chan struct{}),
	}
	if e.Dir == "" {
		e.Dir = filepath.Join(o.Work, "mesh")
		if err := os.MkdirAll(e.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range o.Manifests {
		Replace(t, filepath.Join(e.Dir, name), text)
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	var once sync.Once
	go func() { // ends with Stop, which waits for it
		defer close(e.ended)
		e.err = app.Up(ctx, app.Options{
			Dir: e.Dir, StateDir: e.State, RunDir: e.Run, Envoy: o.Envoy, NoProxies: o.NoEnvoy, AdminAddress: "127.0.0.1:0", Version: "test",
			Log: slog.New(slog.NewTextHandler(e.log, nil)), Decisions: slog.New(slog.NewTextHandler(e.log, nil)), Intercept: o.Intercept,
			Changed: func(ev app.Event) {
				if ev.Ready {
					once.Do(func() { close(e.ready) })
				}
			},
		})
	}()
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Errorf("the product ended badly: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the product:\n%s", e.log.tail(60))
		}
	})
	return e
}

// WorkDir is an empty directory with a short path, because sockets lie below it; other users may enter it.
func WorkDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // children of other users enter it
		t.Fatal(err)
	}
	return dir
}

// Stop does what Ctrl-C does, waits for the end and returns the error of app.Up; later calls return nil.
func (e *Env) Stop() error {
	if e.stopped {
		return nil
	}
	e.stopped = true
	e.stop()
	select {
	case <-e.ended:
		return e.err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

// Ended waits for the product to end by itself and returns its error; Stop has nothing to do then.
func (e *Env) Ended() error {
	e.t.Helper()
	select {
	case <-e.ended:
		e.stopped = true
		e.stop()
		return e.err
	case <-time.After(patience):
		e.t.Fatalf("the product does not end by itself: %v", e.Status().NotReady)
		return nil
	}
}

// Endpoints are read from endpoints.json, as scripts do.
func (e *Env) Endpoints() app.Endpoints {
	e.t.Helper()
	where, err := app.ReadEndpoints(e.State)
	if err != nil {
		e.t.Fatal(err)
	}
	return where
}

// Gateway is the address of a listener ("ip:port"), of the namespace default.
func (e *Env) Gateway(name, listener string) string {
	e.t.Helper()
	return e.Endpoints().Gateways["default/"+name].Listeners[listener]
}

// Status asks the admin API.
func (e *Env) Status() admin.Status {
	e.t.Helper()
	s, err := admin.Fetch(context.Background(), filepath.Join(e.Run, "admin", "admin.sock"))
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// Log is what the product has logged so far, decisions too.
func (e *Env) Log() string { return e.log.String() }

// Edit replaces a manifest the way an editor does, by a rename. An empty text removes it.
func (e *Env) Edit(name, text string) {
	e.t.Helper()
	path := filepath.Join(e.Dir, name)
	if text != "" {
		Replace(e.t, path, text)
		return
	}
	if err := os.Remove(path); err != nil {
		e.t.Fatal(err)
	}
}

// Replace writes a file beside path and renames it there.
func Replace(t testing.TB, path, text string) {
	t.Helper()
	tmp := path + ".new~"
	if err := errors.Join(os.WriteFile(tmp, []byte(text), 0o600), os.Rename(tmp, path)); err != nil {
		t.Fatal(err)
	}
}

// Token of the development issuer, for alice.
func (e *Env) Token(audience string, scopes ...string) string {
	e.t.Helper()
	where := e.Endpoints()
	issuer, err := devissuer.Open(app.DevIssuerDir(e.State, where.Issuer), where.Issuer)
	if err != nil {
		e.t.Fatal(err)
	}
	token, err := issuer.Mint(devissuer.Request{Subject: "alice", Audience: []string{audience}, Scopes: scopes})
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// Await calls try every few milliseconds until it returns "", and fails the test with its last answer where it never does.
func (e *Env) Await(what string, try func() string) {
	e.t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		last := try()
		if last == "" {
			return
		}
		select {
		case <-e.ended:
			e.t.Fatalf("waiting for %s: the product ended: %v", what, e.err)
		case <-end:
			e.t.Fatalf("waiting for %s: %s", what, last)
		case <-tick.C:
		}
	}
}

// buffer is a log that is written and read at the same time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) tail(lines int) string {
	all := strings.Split(b.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
