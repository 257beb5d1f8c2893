//go:build e2e

package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/examples/opaque/api"
	"github.com/credence-mesh/credence/examples/opaque/authserver"
	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// mesh is the example's directory with free ports instead of its own.
func mesh(t *testing.T) (dir string, ports map[string]string) {
	t.Helper()
	ports, dir = map[string]string{}, t.TempDir()
	free := testport.Free(t, 5)
	files, err := filepath.Glob("mesh/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`\b186\d\d\b`).ReplaceAllFunc(text, func(p []byte) []byte {
			if ports[string(p)] == "" {
				ports[string(p)], free = fmt.Sprint(free[0]), free[1:]
			}
			return []byte(ports[string(p)])
		})
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ports
}

func serve(t *testing.T, port string, h http.Handler) *httptest.Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	if err := srv.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// TestOpaque runs the example on real Envoy: every row of its README.
func TestOpaque(t *testing.T) {
	dir, ports := mesh(t)
	secret, err := os.ReadFile("mesh/introspection.secret")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://127.0.0.1:" + ports["18690"]
	as := serve(t, ports["18690"], authserver.New(issuer, "credence", strings.TrimSpace(string(secret))).Handler())
	serve(t, ports["18601"], api.Handler())
	testenv.Start(t, testenv.Options{Dir: dir})
	client := &http.Client{Timeout: 15 * time.Second}
	post := func(path string, form url.Values) map[string]any {
		t.Helper()
		resp, err := client.PostForm(issuer+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var out map[string]any
		if path == "/token" {
			if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	token := func(sub, scope, audience string) string {
		t.Helper()
		raw, _ := post("/token", url.Values{"client_id": {"web"}, "sub": {sub}, "scope": {scope}, "audience": {audience}})["access_token"].(string)
		if raw == "" {
			t.Fatal("no token")
		}
		return raw
	}
	user := map[string]string{}
	call := func(method, path, token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+ports["18640"]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == http.StatusOK {
			var seen api.Seen
			if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil || seen.Path != path || seen.Authorization != "" || seen.User != user[token] {
				t.Errorf("the API saw %+v (%v)", seen, err)
			}
		}
		return resp.StatusCode
	}
	const ours = "https://api.localhost"
	alice := token("alice", "orders:read", ours)
	bob := token("bob", "orders:write", ours)
	job := token("", "orders:read orders:write", ours)
	user[alice], user[bob], user[job] = "alice", "bob", "web"
	for _, r := range []struct {
		name, method, path, token string
		want                      int
	}{
		{"nobody", "GET", "/status", "", 200},
		{"no token", "GET", "/orders", "", 401},
		{"alice reads", "GET", "/orders", alice, 200},
		{"alice writes without the scope", "POST", "/orders", alice, 403},
		{"a user writes", "POST", "/orders", bob, 200},
		{"a job reads", "GET", "/orders", job, 200},
		{"a job writes: it is no user", "POST", "/orders", job, 403},
		{"made up", "GET", "/orders", "made-up", 401},
		{"for another API", "GET", "/orders", token("alice", "orders:read", "https://bank.localhost"), 401},
	} {
		if got := call(r.method, r.path, r.token); got != r.want {
			t.Errorf("%s: %d, want %d", r.name, got, r.want)
		}
	}
	post("/revoke", url.Values{"token": {alice}})
	revoked := time.Now()
	for call("GET", "/orders", alice) == 200 {
		if time.Since(revoked) > 20*time.Second {
			t.Fatal("a revoked token is still good")
		}
	}
	if got := call("GET", "/orders", alice); got != 401 {
		t.Errorf("revoked: %d", got)
	}
	as.Close()
	if got := call("GET", "/orders", unseen); got != 503 {
		t.Errorf("the server is down: %d", got)
	}
}

// unseen is one that nobody has asked about yet.
const unseen = "never-seen"
