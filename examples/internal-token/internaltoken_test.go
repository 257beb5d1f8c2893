//go:build e2e

package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/examples/internal-token/hop"
	"github.com/credence-mesh/credence/identity/txn"
	"github.com/credence-mesh/credence/internal/testenv"
)

func get(t *testing.T, proxy, target string, header map[string]string) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if proxy != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestInternalTokenExample runs the example on real Envoy.
func TestInternalTokenExample(t *testing.T) {
	dir, ports := testenv.Example(t, "187")
	env := testenv.Start(t, testenv.Options{Dir: dir})
	tokens := txn.New(env.Endpoints().InternalTokenKeys, "hops.test")
	at := func(port string) string { return "127.0.0.1:" + ports[port] }
	testenv.Serve(t, ports["18701"], hop.Handler("web", tokens, at("18721"), "http://orders:"+ports["18702"]+"/"))
	testenv.Serve(t, ports["18702"], hop.Handler("orders", tokens, at("18722"), "http://payments:"+ports["18703"]+"/"))
	testenv.Serve(t, ports["18703"], hop.Handler("payments", tokens, "", ""))

	status, body := get(t, "", "http://"+at("18740")+"/", map[string]string{"Authorization": "Bearer " + env.Token("https://shop.localhost", "orders:read", "payments:read", "admin")})
	var raw string
	for _, name := range []string{"web", "orders", "payments"} {
		var seen hop.Seen
		if err := json.Unmarshal([]byte(body), &seen); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		if seen.Service != name || seen.Token.User != "alice" || seen.Authorization != "" || strings.Join(seen.Token.Scopes, " ") != "orders:read payments:read" || raw != "" && seen.Raw != raw {
			t.Errorf("%s saw %s", name, body)
		}
		raw, status, body = seen.Raw, seen.Status, string(seen.Next)
	}
	for _, from := range []string{"18721", "18724"} {
		if status, body := get(t, at(from), "http://payments:"+ports["18703"]+"/", map[string]string{"Txn-Token": raw}); status != http.StatusForbidden {
			t.Errorf("payments takes the token from %s: %d %s", from, status, body)
		}
	}
	var chain hop.Seen
	status, body = get(t, at("18724"), "http://orders:"+ports["18702"]+"/", nil)
	if err := json.Unmarshal([]byte(body), &chain); err != nil || status != http.StatusOK || chain.Token.Subject != "spiffe://hops.test/ns/default/wl/cron" || chain.Status != http.StatusForbidden {
		t.Errorf("cron: %d %s", status, body)
	}
	verifiers(t, env, raw)
}
