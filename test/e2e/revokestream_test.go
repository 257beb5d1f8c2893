//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/devissuer"
	"github.com/credence-mesh/credence/internal/testenv"
)

// sent is one request of a stream.
type sent struct {
	begun  time.Time
	status int
}

// stream sends a request with token every millisecond until ctx ends, over kept connections, and returns what became of all of them.
func stream(ctx context.Context, t *testing.T, addr, token string) []sent {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var mu sync.Mutex
	var all []sent
	var wg sync.WaitGroup
	due := make(chan struct{}, 5000)
	for range 64 {
		wg.Go(func() {
			for range due {
				one := sent{begun: time.Now()}
				if err := sendOne(client, addr, token, &one); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, one)
				mu.Unlock()
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun, n := time.Now(), 0; ; {
		select {
		case <-ctx.Done():
			close(due)
			wg.Wait()
			return all
		case <-tick.C: // ticks may be lost, and are made up for
			for ; n < int(time.Since(begun)/time.Millisecond) && len(due) < cap(due); n++ {
				due <- struct{}{}
			}
		}
	}
}

func sendOne(client *http.Client, addr, token string, into *sent) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil) //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	into.status = resp.StatusCode
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// TestRevokedInMidStream: of 1,000 requests a second with one token, none that is sent after the acknowledgement of its revocation is let
// through.
func TestRevokedInMidStream(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lobby")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("users", "plain", "/", "lobby", "token"))})
	token := minted(t, e, devissuer.Request{Claims: map[string]any{"jti": "mid-stream"}})
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	var acknowledged atomic.Pointer[time.Time]
	var took time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		<-time.After(1500 * time.Millisecond) // in mid-stream
		begun := time.Now()
		if _, err := admin.Revoke(ctx, e.Endpoints().AdminSocket, admin.NewRevocation{TokenID: "mid-stream"}); err != nil {
			t.Error(err)
			return
		}
		now := time.Now()
		took = now.Sub(begun)
		acknowledged.Store(&now)
	})
	begun := time.Now()
	all := stream(ctx, t, s.frontAddr(), token)
	elapsed := time.Since(begun)
	wg.Wait()
	at := acknowledged.Load()
	if at == nil {
		t.Fatal("it was not acknowledged")
	}
	before, refused, through := 0, 0, 0
	for _, one := range all {
		switch after := one.begun.After(*at); {
		case one.status == 200 && !after:
			before++
		case one.status == 200:
			through++
		case one.status == 401 && after:
			refused++
		case one.status != 401:
			t.Errorf("status %d", one.status)
		}
	}
	t.Logf("%d requests, %.0f a second; revocation acknowledged after %v; let through before it: %d; sent after the acknowledgement and refused: %d, let through: %d",
		len(all), float64(len(all))/elapsed.Seconds(), took.Round(10*time.Microsecond), before, refused, through)
	if through != 0 {
		t.Errorf("%d requests were let through after the acknowledgement", through)
	}
	if before < 100 || refused < 100 {
		t.Errorf("%d requests before and %d after it prove nothing", before, refused)
	}
}

// process is `credence up` as a process of its own.
type process struct {
	t         *testing.T
	work, bin string
	cmd       *exec.Cmd
}

func newProcess(t *testing.T, manifests map[string]string) *process {
	t.Helper()
	p := &process{t: t, work: testenv.WorkDir(t)}
	p.bin = filepath.Join(p.work, "credence")
	build := exec.Command("go", "build", "-o", p.bin, "./cmd/credence")
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(p.work, "mesh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range manifests {
		testenv.Replace(t, filepath.Join(p.work, "mesh", name), text)
	}
	t.Cleanup(func() {
		if p.cmd == nil {
			return
		}
		_ = p.cmd.Process.Signal(os.Interrupt)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("credence up: %v\n%s", err, p.log())
		}
	})
	return p
}

// start runs it and waits until it is ready.
func (p *process) start() {
	p.t.Helper()
	// A file and no pipe: the Envoys of a process that is killed keep it open, and Wait would wait for them.
	log, err := os.OpenFile(filepath.Join(p.work, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(p.bin, "up", "-f", filepath.Join(p.work, "mesh"), "--state-dir", filepath.Join(p.work, "state"), "--run-dir", filepath.Join(p.work, "run"), "--admin-address", "127.0.0.1:0")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	end := time.Now().Add(30 * time.Second)
	for {
		last := ""
		if e, err := app.ReadEndpoints(filepath.Join(p.work, "state")); err != nil {
			last = err.Error()
		} else if st, err := admin.Fetch(p.t.Context(), e.AdminSocket); err != nil {
			last = err.Error()
		} else if st.Ready {
			return
		} else {
			last = strings.Join(st.NotReady, "; ")
		}
		if time.Now().After(end) {
			p.t.Fatalf("not ready: %s\n%s", last, p.log())
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (p *process) log() string {
	body, err := os.ReadFile(filepath.Join(p.work, "log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(body), 40)
}

// kill ends it as a crash does; its Envoys live on.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
	p.cmd = nil
}

// run is another command beside it, which must succeed.
func (p *process) run(args ...string) string {
	p.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(p.t.Context(), p.bin, append(args, "--state-dir", filepath.Join(p.work, "state"))...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("credence %v: %v\n%s", args, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// TestKillBetweenRevokeAndTheNextRequest: kill -9 as soon as `credence revoke` has said so loses nothing: while credence is away nobody is let
// in, and once it is back the token is refused. What was undone before a kill stays undone.
func TestKillBetweenRevokeAndTheNextRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lobby")
	p := newProcess(t, s.manifests(s.route("users", "plain", "/", "lobby", "token")))
	p.start()
	mint := func(sub string) string {
		return p.run("token", "mint", "--sub", sub, "--scope", "read", "--aud", audience)
	}
	alice, bob := mint("alice"), mint("bob")
	status := func(token string) int {
		r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/", Token: token})
		if err != nil {
			return 0 // nobody listens
		}
		return r.Status
	}
	if a, b := status(alice), status(bob); a != 200 || b != 200 {
		t.Fatalf("before: %d, %d", a, b)
	}
	for round, undo := range []bool{false, true, false} {
		said := p.run("revoke", "--subject", "alice", "--reason", "lost")
		if undo {
			id, _, _ := strings.Cut(strings.TrimPrefix(said, "revoked: "), ",")
			said = p.run("revoke", "undo", id)
		}
		p.kill()
		if got := status(alice); got == 200 {
			t.Errorf("round %d: alice is let in while credence is away", round)
		}
		p.start()
		want := 401
		if undo {
			want = 200
		}
		if a, b := status(alice), status(bob); a != want || b != 200 {
			t.Errorf("round %d, after a kill: %d for alice, want %d; %d for bob\n%s", round, a, want, b, said)
		}
		t.Logf("%s; killed; started again: alice gets %d", said, want)
	}
	if list := p.run("revoke", "list"); strings.Count(list, "subject alice") != 1 {
		t.Error(list)
	}
	// The other way round: the store damaged while credence is away ends the start, and says what to do.
	p.kill()
	file := filepath.Join(p.work, "state", "store.db")
	pristine, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{pristine[:5000], bytes.Repeat([]byte("x"), len(pristine)), nil} {
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, p.bin, "up", "-f", filepath.Join(p.work, "mesh"), "--state-dir", filepath.Join(p.work, "state"), "--run-dir", filepath.Join(p.work, "run"), "--admin-address", "127.0.0.1:0")
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), file) || !strings.Contains(string(out), "from one backup") {
			t.Errorf("damaged store: %v\n%s", err, out)
		}
	}
	if err := os.WriteFile(file, pristine, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	if got := status(alice); got != 401 {
		t.Errorf("with the file from the backup: %d, want 401", got)
	}
}
