//go:build e2e

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/testenv"
)

// The keys of the README.
const (
	key      = "shop_eQJiBMwZ7N_WdMNpTrMbWjZKetWYWsrQ2uOylHlSnQcBwCuUPV8hjn_960374a3"
	existing = "5f2b0a4c9d8e4f6fa1b2c3d4e5f60718"
	expired  = "00000000000000000000000000000000"
)

// TestBasicAndKeys runs the example on real Envoy: every row of its README.
func TestBasicAndKeys(t *testing.T) {
	dir, ports := testenv.Example(t, "185")
	testenv.Serve(t, ports["18501"], http.HandlerFunc(show))
	env := testenv.Start(t, testenv.Options{Dir: dir})
	client := &http.Client{Timeout: 15 * time.Second}
	password := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	nothing := func(*http.Request) {}
	for _, c := range []struct {
		name, method, target string
		with                 func(*http.Request)
		status               int
		// user is whom the API serves, challenge what a refusal asks for.
		user, challenge string
	}{
		{"nobody", "GET", "/reports", nothing, 401, "", `Basic realm="Reports", charset="UTF-8"`},
		{"alice", "GET", "/reports", password("alice", "correct horse"), 200, "alice", ""},
		{"alice again, without a hash", "GET", "/reports", password("alice", "correct horse"), 200, "alice", ""},
		{"a wrong password", "GET", "/reports", password("alice", "wrong"), 401, "", `Basic realm="Reports"`},
		{"a user who is not there", "GET", "/reports", password("eve", "correct horse"), 401, "", `Basic realm="Reports"`},
		{"bob of the file", "GET", "/reports", password("bob", "battery staple"), 200, "bob", ""},
		{"an editor writes", "POST", "/reports", password("alice", "correct horse"), 200, "alice", ""},
		{"a reader writes", "POST", "/reports", password("bob", "battery staple"), 403, "", ""},
		{"a key in its header", "GET", "/reports", header("X-Api-Key", key), 200, "billing", ""},
		{"a key as a Bearer value", "GET", "/reports", header("Authorization", "Bearer "+key), 200, "billing", ""},
		{"a key in the query, which is removed", "GET", "/reports?year=2026&api_key=" + key, nothing, 200, "billing", ""},
		{"an existing key", "GET", "/reports", header("X-Api-Key", existing), 200, "old-partner", ""},
		{"an expired key", "GET", "/reports", header("X-Api-Key", expired), 401, "", ""},
		{"a mistyped key", "GET", "/reports", header("X-Api-Key", key[:len(key)-1]), 401, "", ""},
		{"a key writes: only people may", "POST", "/reports", header("X-Api-Key", key), 401, "", "Basic"},
		{"two credentials", "GET", "/reports", func(r *http.Request) { r.SetBasicAuth("alice", "correct horse"); r.Header.Set("X-Api-Key", key) }, 400, "", ""},
		{"welcome", "GET", "/", nothing, 200, "", ""},
		{"welcome, alice", "GET", "/", password("alice", "correct horse"), 200, "alice", ""},
		{"welcome with a wrong password", "GET", "/", password("alice", "wrong"), 401, "", `Basic realm="Reports"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://127.0.0.1:"+ports["18540"]+c.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.with(req)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var s seen
		if resp.StatusCode == http.StatusOK {
			if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || s.User != c.user || len(s.Secrets) > 0 || strings.Contains(s.Target, "shop_") {
				t.Errorf("%s: the API saw %+v (%v)", c.name, s, err)
			}
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if challenges := strings.Join(resp.Header.Values("Www-Authenticate"), " | "); resp.StatusCode != c.status || !strings.Contains(challenges, c.challenge) {
			t.Errorf("%s: %d, challenges %q", c.name, resp.StatusCode, challenges)
		}
	}
	for _, secret := range []string{key, existing, "correct horse", "battery staple"} {
		if strings.Contains(env.Log(), secret) {
			t.Errorf("a log holds %q", secret[:4])
		}
	}
}
