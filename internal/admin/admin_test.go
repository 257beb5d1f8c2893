package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/internal/admin"
)

// The test program is also the client of another user: it asks the socket it is given for the status.
func TestMain(m *testing.M) {
	if socket := os.Getenv("CREDENCE_TEST_ADMIN_SOCKET"); socket != "" {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: socket})
		if err != nil {
			os.Exit(3)
		}
		_, _ = io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(c)
		_, _ = os.Stdout.Write(answer)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func get(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Body.String()
}

func TestReadyzSaysWhyNot(t *testing.T) {
	var why []string
	metrics := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "credence_test", Help: "a gauge"})
	metrics.MustRegister(up)
	h := admin.Probes(func() []string { return why }, metrics, func() ([]byte, time.Duration) { return []byte(`{"keys":[]}`), time.Minute })

	why = []string{"proxy gateway/default/edge has not taken its configuration yet", "issuer http://127.0.0.1:1: it is taken"}
	if code, body := get(t, h, "GET", "/readyz"); code != http.StatusServiceUnavailable || body != strings.Join(why, "\n")+"\n" {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, body := get(t, h, "GET", "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("alive though not ready: %d %q", code, body)
	}
	why = nil
	if code, body := get(t, h, "GET", "/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	if code, body := get(t, h, "GET", "/metrics"); code != http.StatusOK || !strings.Contains(body, "credence_test 0") {
		t.Errorf("metrics: %d %q", code, body)
	}
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"POST", "/readyz", http.StatusMethodNotAllowed}, {"GET", "/v1/status", http.StatusNotFound}, {"GET", "/", http.StatusNotFound},
	} {
		if code, _ := get(t, h, c.method, c.path); code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, code, c.code)
		}
	}
}

// serve answers on a socket in a directory that all users reach, so that the socket's own check decides.
func serve(t *testing.T, h http.Handler) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "admin.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := admin.Serve(ctx, admin.OwnerOnly(l), h); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return socket
}

func full() admin.Status {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return admin.Status{
		Version: "v1", Time: at, TrustDomain: "a.test", Development: true, Generation: 3, Hash: "abc", NotReady: []string{"why"}, Degraded: []string{"what"},
		Gateways: []admin.Listening{{Name: "default/edge", SPIFFEID: "spiffe://a.test/ns/default/gw/edge", Expires: at, Addresses: []string{"http=127.0.0.1:80"}, AdminSocket: "/a"}},
		Workloads: []admin.Listening{{
			Name: "default/web", SPIFFEID: "spiffe://a.test/ns/default/wl/web", Addresses: []string{}, Outbound: "127.0.0.1:1",
			Applications: []string{"http=127.0.0.1:2"}, Boundary: "none", AdminSocket: "/b", Denied: "no",
		}},
		Issuers:     []admin.Issuer{{Name: "default/dev", Issuer: "http://127.0.0.1:3", Keys: 1, Updated: at, Next: at, Until: at, Restored: true, Skipped: []string{"keys[0]: use enc"}, Error: "late"}},
		Proxies:     []admin.Proxy{{ID: "gateway/default/edge", PID: 7, Connected: true, Version: "1.40.0", Generation: 3, Restarts: 1, Rejected: "Listener", Error: "x"}},
		Diagnostics: []admin.Diagnostic{{Severity: "error", Code: "c", Position: "m.yaml:1:2", Object: "Mesh m", Message: "m", Hint: "h"}},
		Pinned:      []string{"Mesh m"}, Denied: []string{},
	}
}

// TestStatusShape holds the names that scripts read: they may be added to, never changed.
func TestStatusShape(t *testing.T) {
	_, body := get(t, admin.API(admin.Sources{Status: full}), "GET", "/v1/status")
	const want = `{"version":"v1","time":"2026-01-02T03:04:05Z","trustDomain":"a.test","development":true,"generation":3,"hash":"abc","ready":false,"notReady":["why"],"degraded":["what"],` +
		`"gateways":[{"name":"default/edge","spiffeID":"spiffe://a.test/ns/default/gw/edge","expires":"2026-01-02T03:04:05Z","addresses":["http=127.0.0.1:80"],"adminSocket":"/a"}],` +
		`"workloads":[{"name":"default/web","spiffeID":"spiffe://a.test/ns/default/wl/web","addresses":[],"outbound":"127.0.0.1:1","applications":["http=127.0.0.1:2"],"boundary":"none","adminSocket":"/b","denied":"no"}],` +
		`"issuers":[{"name":"default/dev","issuer":"http://127.0.0.1:3","keys":1,"updated":"2026-01-02T03:04:05Z","next":"2026-01-02T03:04:05Z","until":"2026-01-02T03:04:05Z","restored":true,"skipped":["keys[0]: use enc"],"error":"late"}],` +
		`"proxies":[{"id":"gateway/default/edge","pid":7,"connected":true,"version":"1.40.0","generation":3,"restarts":1,"rejected":"Listener","error":"x"}],` +
		`"diagnostics":[{"severity":"error","code":"c","position":"m.yaml:1:2","object":"Mesh m","message":"m","hint":"h"}],` +
		`"pinned":["Mesh m"],"denied":[]}`
	if diff := cmp.Diff(want, strings.TrimSpace(body)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	var back admin.Status
	if err := json.Unmarshal([]byte(body), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), back); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
}

func TestFetch(t *testing.T) {
	got, err := admin.Fetch(t.Context(), serve(t, admin.API(admin.Sources{Status: full})))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("fetched (-want +got):\n%s", diff)
	}
	if _, err := admin.Fetch(t.Context(), serve(t, http.NotFoundHandler())); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("an answer that is none: %v", err)
	}
	if _, err := admin.Fetch(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestOwnerOnlyRefusesOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	socket := serve(t, admin.API(admin.Sources{Status: full}))
	for _, c := range []struct {
		uid     uint32
		answers bool
	}{{0, true}, {23456, false}} {
		got := askAs(t, socket, c.uid)
		if answers := strings.HasPrefix(got, "HTTP/1.1 200"); answers != c.answers || !c.answers && got != "" {
			t.Errorf("user %d got %q", c.uid, got)
		}
	}
}

// askAs runs this program as uid. It is executed by its descriptor: its path is closed to other users.
func askAs(t *testing.T, socket string, uid uint32) string {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = []string{"CREDENCE_TEST_ADMIN_SOCKET=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("as %d: %v", uid, err)
	}
	return string(out)
}
