//go:build e2e

package main_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/examples/opaque/api"
	"github.com/credence-mesh/credence/examples/opaque/authserver"
	"github.com/credence-mesh/credence/internal/testenv"
)

// TestOpaque runs the example on real Envoy: every row of its README.
func TestOpaque(t *testing.T) {
	dir, ports := testenv.Example(t, "186")
	secret, err := os.ReadFile("mesh/introspection.secret")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://127.0.0.1:" + ports["18690"]
	as := testenv.Serve(t, ports["18690"], authserver.New(issuer, "credence", strings.TrimSpace(string(secret))).Handler())
	testenv.Serve(t, ports["18601"], api.Handler())
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
