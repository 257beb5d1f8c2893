//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// chain is a mesh with internal tokens: the gateway calls web, web calls orders, cron calls orders by itself, and batch may call nobody.
// Every application answers with the headers that it got.
type chain struct {
	*site
	env *testenv.Env
}

func newChain(t *testing.T, internalTokens string, routePolicy string) *chain {
	t.Helper()
	names := []string{"web", "orders", "cron", "batch"}
	ports := testport.Free(t, 2+3*len(names))
	s := &site{front: ports[0], issuer: ports[1], workloads: map[string]workload{}}
	for i, name := range names {
		p := ports[2+3*i:]
		s.workloads[name] = workload{port: p[0], inbound: p[1], outbound: p[2], path: "/nowhere/" + name}
		echoHeaders(t, p[0])
	}
	m := s.manifests(s.route("front", "plain", "/", "web", "token"), s.route("public", "plain", "/public", "web", "public"))
	m["routes.yaml"] = strings.Replace(m["routes.yaml"], "  authentication: {issuers: [dev]}\n", "  authentication: {issuers: [dev]}\n"+routePolicy, 1)
	m["mesh.yaml"] = strings.Replace(s.mesh(), "  development: true", "  development: true\n  internalTokens: "+internalTokens, 1)
	m["web.yaml"] = strings.Replace(m["web.yaml"], "{issuers: [dev]}", "{internalToken: true}", 1)
	m["orders.yaml"] = m["orders.yaml"][:strings.Index(m["orders.yaml"], "  authentication:")] + `  authentication: {internalToken: true}
  rules:
  - name: web-for-a-user
    from: [{workload: web}]
    require: {scopes: {allOf: [read]}}
  - name: cron-by-itself
    authentication: [peer]
    from: [{workload: cron}]
`
	c := &chain{s, testenv.Start(t, testenv.Options{Manifests: m})}
	for _, d := range c.env.Status().Diagnostics {
		if d.Severity == "error" {
			t.Fatal(d)
		}
	}
	return c
}

// echoHeaders serves the headers of requests as JSON until the test ends.
func echoHeaders(t *testing.T, port int) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.Header) // a client that is gone
	})}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// get has the status, and the headers that the application saw (200) or the body.
func get(t *testing.T, proxy, target string, header http.Header) (int, http.Header, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if proxy != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var seen http.Header
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &seen); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
	}
	return resp.StatusCode, seen, string(body)
}

func (c *chain) enter(t *testing.T, path string, header http.Header) (int, http.Header, string) {
	t.Helper()
	return get(t, "", "http://"+c.frontAddr()+path, header)
}

// call is one of the workload from, with this Txn-Token.
func (c *chain) call(t *testing.T, from, to, token string) (int, http.Header, string) {
	t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Txn-Token", token)
	}
	return get(t, fmt.Sprintf("127.0.0.1:%d", c.workloads[from].outbound), fmt.Sprintf("http://%s:%d/", to, c.workloads[to].port), h)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// tokenOfAlice is one that web got for her.
func (c *chain) tokenOfAlice(t *testing.T, scopes ...string) string {
	t.Helper()
	status, seen, body := c.enter(t, "/", bearer(c.env.Token(audience, scopes...)))
	if status != http.StatusOK || len(seen["Txn-Token"]) != 1 {
		t.Fatalf("%d %s", status, body)
	}
	return seen.Get("Txn-Token")
}

func claimsOf(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	for i, to := range []*map[string]any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// resigned is token with other claims and a signature of the mesh's own key.
func (c *chain) resigned(t *testing.T, token string, change func(header, claims map[string]any)) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.env.State, txntoken.KeysFile))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Keys []struct {
			Kid  string
			Seed []byte
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	h, claims := claimsOf(t, token)
	for _, k := range f.Keys {
		if k.Kid == h["kid"] {
			change(h, claims)
			signed := encoded(t, h) + "." + encoded(t, claims)
			return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(k.Seed), []byte(signed)))
		}
	}
	t.Fatal("the key that has signed is not in the file")
	return ""
}

// The service behind gets one internal token and never the user's own; it is passed on unchanged, and no client can send one.
func TestInternalToken(t *testing.T) {
	t.Parallel()
	c := newChain(t, "{}", "")
	outer := c.env.Token(audience, "read", "write")

	t.Run("the external credential never reaches the service", func(t *testing.T) {
		status, seen, body := c.enter(t, "/", bearer(outer))
		if status != http.StatusOK || strings.Contains(body, outer) || seen.Get("Authorization") != "" || len(seen["Txn-Token"]) != 1 {
			t.Fatalf("%d %s", status, body)
		}
		h, claims := claimsOf(t, seen.Get("Txn-Token"))
		tctx, ok := claims["tctx"].(map[string]any)
		if !ok || h["typ"] != "txntoken+jwt" || h["alg"] != "EdDSA" || claims["aud"] != "spiffe://e2e.test" || claims["scope"] != "read" ||
			claims["req_wl"] != "spiffe://e2e.test/ns/default/gw/edge" || tctx["u_sub"] != "alice" || tctx["origin"] != "bearer" {
			t.Errorf("%v %v", h, claims)
		}
		if seen.Get("X-Credence-Subject") != "alice" {
			t.Errorf("web is told of %q", seen.Get("X-Credence-Subject"))
		}
	})
	token := c.tokenOfAlice(t, "read", "write")
	t.Run("the next service gets the same token", func(t *testing.T) {
		status, seen, body := c.call(t, "web", "orders", token)
		if status != http.StatusOK || seen.Get("Txn-Token") != token || seen.Get("X-Credence-Subject") != "alice" || seen.Get("X-Credence-Peer") != "spiffe://e2e.test/ns/default/wl/web" {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("from outside it is removed", func(t *testing.T) {
		for _, name := range []string{"Txn-Token", "txn_token", "Txn.Token"} {
			for path, auth := range map[string]string{"/": "", "/public": ""} {
				status, seen, body := c.enter(t, path, http.Header{name: {token}})
				if path == "/" && status != http.StatusUnauthorized || path == "/public" && (status != http.StatusOK || strings.Contains(body, token) || seen.Get("X-Credence-Subject") != "") {
					t.Errorf("%s on %s %s: %d %s", name, path, auth, status, body)
				}
			}
			h := bearer(outer)
			h[name] = []string{"forged"}
			if status, seen, body := c.enter(t, "/", h); status != http.StatusOK || strings.Contains(body, "forged") || len(seen["Txn-Token"]) != 1 {
				t.Errorf("%s beside a bearer token: %d %s", name, status, body)
			}
		}
	})
	t.Run("from the wrong workload it is useless", func(t *testing.T) {
		if status, _, body := c.call(t, "batch", "orders", token); status != http.StatusForbidden {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("from one that may call by itself alone it is useless", func(t *testing.T) {
		if status, _, body := c.call(t, "cron", "orders", token); status != http.StatusUnauthorized || !strings.Contains(body, "credential_not_accepted") {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("the right workload needs one", func(t *testing.T) {
		if status, _, body := c.call(t, "web", "orders", ""); status != http.StatusUnauthorized {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("a workload starts a chain by itself", func(t *testing.T) {
		const cron = "spiffe://e2e.test/ns/default/wl/cron"
		status, seen, body := c.call(t, "cron", "orders", "")
		if status != http.StatusOK || len(seen["Txn-Token"]) != 1 {
			t.Fatalf("%d %s", status, body)
		}
		if _, claims := claimsOf(t, seen.Get("Txn-Token")); claims["sub"] != cron || claims["req_wl"] != cron || claims["scope"] != "" {
			t.Errorf("%v", claims)
		}
		if status, _, body := c.call(t, "web", "orders", seen.Get("Txn-Token")); status != http.StatusForbidden {
			t.Errorf("cron's token passes for a user with a scope: %d %s", status, body)
		}
	})
	c.refusedTokens(t, token)
}

func (c *chain) refusedTokens(t *testing.T, token string) {
	t.Helper()
	parts := strings.Split(token, ".")
	tampered := func(change func(map[string]any)) string {
		_, claims := claimsOf(t, token)
		change(claims)
		return parts[0] + "." + encoded(t, claims) + "." + parts[2]
	}
	now := time.Now().Unix()
	for name, raw := range map[string]string{
		"of another trust domain": c.resigned(t, token, func(_, cl map[string]any) { cl["aud"] = "spiffe://other.test" }),
		"asked for from another":  c.resigned(t, token, func(_, cl map[string]any) { cl["req_wl"] = "spiffe://other.test/ns/default/gw/edge" }),
		"of another issuer":       c.resigned(t, token, func(_, cl map[string]any) { cl["iss"] = "https://credence.other.test" }),
		"expired":                 c.resigned(t, token, func(_, cl map[string]any) { cl["iat"], cl["exp"] = now-120, now-60 }),
		"living for an hour":      c.resigned(t, token, func(_, cl map[string]any) { cl["exp"] = now + 3600 }),
		"of another type":         c.resigned(t, token, func(h, _ map[string]any) { h["typ"] = "at+jwt" }),
		"with a grown scope":      tampered(func(cl map[string]any) { cl["scope"] = "read write" }),
		"with another req_wl":     tampered(func(cl map[string]any) { cl["req_wl"] = "spiffe://e2e.test/ns/default/wl/batch" }),
		"for another user":        tampered(func(cl map[string]any) { cl["tctx"].(map[string]any)["u_sub"] = "root" }),
		"forged":                  parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"alg none":                encoded(t, map[string]string{"typ": "txntoken+jwt", "alg": "none"}) + "." + parts[1] + ".",
		"the user's own token":    c.env.Token(audience, "read"),
		"no token":                "x",
		"two in one":              token + "," + token,
	} {
		t.Run(name, func(t *testing.T) {
			status, _, body := c.call(t, "web", "orders", raw)
			if status != http.StatusUnauthorized && (name != "two in one" || status != http.StatusBadRequest) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	t.Run("the way that these are made is good itself", func(t *testing.T) {
		if status, _, body := c.call(t, "web", "orders", c.resigned(t, token, func(_, _ map[string]any) {})); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("two", func(t *testing.T) {
		status, _, body := get(t, fmt.Sprintf("127.0.0.1:%d", c.workloads["web"].outbound), fmt.Sprintf("http://orders:%d/", c.workloads["orders"].port),
			http.Header{"Txn-Token": {token, token}})
		if status != http.StatusBadRequest {
			t.Errorf("%d %s", status, body)
		}
	})
}

// TestInternalTokenForward: the policy says that the external credential goes on.
func TestInternalTokenForward(t *testing.T) {
	t.Parallel()
	c := newChain(t, "{}", "  upstream: {credential: forward}\n")
	outer := c.env.Token(audience, "read")
	status, seen, body := c.enter(t, "/", bearer(outer))
	if status != http.StatusOK || seen.Get("Authorization") != "Bearer "+outer || len(seen["Txn-Token"]) != 1 {
		t.Errorf("%d %s", status, body)
	}
}

// TestInternalTokenKeysRotateUnderLoad: no request fails while keys change, and the JWKS has every key before it signs.
func TestInternalTokenKeysRotateUnderLoad(t *testing.T) {
	t.Parallel()
	c := newChain(t, "{ttl: 10s, rotateEvery: 10s}", "")
	outer := c.env.Token(audience, "read")
	where := c.env.Endpoints().InternalTokenKeys
	published := func() map[string]bool {
		resp, err := (&http.Client{Timeout: 15 * time.Second}).Get(where)
		if err != nil {
			t.Error(err)
			return nil
		}
		var set struct{ Keys []struct{ Kid string } }
		if err := errors.Join(json.NewDecoder(resp.Body).Decode(&set), resp.Body.Close()); err != nil || !strings.HasPrefix(resp.Header.Get("Cache-Control"), "public, max-age=") {
			t.Error(err, resp.Header)
		}
		out := map[string]bool{}
		for _, k := range set.Keys {
			out[k.Kid] = true
		}
		return out
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	kids, known := map[string]bool{}, published()
	var requests atomic.Int64
	for len(kids) < 3 && ctx.Err() == nil {
		status, seen, body := c.enter(t, "/", bearer(outer))
		if status != http.StatusOK {
			t.Fatalf("after %d requests: %d %s", requests.Load(), status, body)
		}
		token := seen.Get("Txn-Token")
		h, _ := claimsOf(t, token)
		kid, _ := h["kid"].(string)
		if !kids[kid] {
			if !known[kid] {
				t.Errorf("%s signs and was not published before", kid)
			}
			kids[kid] = true
		}
		if status, _, body := c.call(t, "web", "orders", token); status != http.StatusOK {
			t.Fatalf("after %d requests: %d %s", requests.Load(), status, body)
		}
		if requests.Add(1)%100 == 0 {
			known = published()
		}
	}
	if len(kids) < 3 {
		t.Errorf("%d keys have signed in %d requests", len(kids), requests.Load())
	}
	t.Logf("%d requests over %d keys", requests.Load(), len(kids))
}

// TestInternalTokenThatCannotBeMade: 503, and the service gets nothing, least of all the user's own token.
func TestInternalTokenThatCannotBeMade(t *testing.T) {
	t.Parallel()
	c := newChain(t, "{}", "  upstream: {internalToken: {claims: [/scope]}}\n")
	scopes := []string{"read"}
	for i := range 150 {
		scopes = append(scopes, fmt.Sprintf("a-long-scope-number-%d", i))
	}
	status, _, body := c.enter(t, "/", bearer(c.env.Token(audience, scopes...)))
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "internal_token_unavailable") {
		t.Errorf("%d %s", status, body)
	}
}

// TestInternalTokenKeysThatAreLost: those in memory sign on, every request carries its token, and a start that cannot read them is refused.
func TestInternalTokenKeysThatAreLost(t *testing.T) {
	t.Parallel()
	c := newChain(t, "{}", "")
	outer, file := c.env.Token(audience, "read"), filepath.Join(c.env.State, txntoken.KeysFile)
	good, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	// The file is lost while credence runs, and a directory in its place takes no new key.
	if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	kid := func() any {
		status, seen, body := c.enter(t, "/", bearer(outer))
		if status != http.StatusOK || len(seen["Txn-Token"]) != 1 {
			t.Fatalf("%d %s", status, body)
		}
		h, _ := claimsOf(t, seen.Get("Txn-Token"))
		return h["kid"]
	}
	first := kid()
	if err := c.env.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := txntoken.OpenKeys(txntoken.KeysOptions{Dir: c.env.State}); err == nil {
		t.Error("a start takes keys that it cannot read")
	}
	if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, good, 0o600)); err != nil {
		t.Fatal(err)
	}
	keys, err := txntoken.OpenKeys(txntoken.KeysOptions{Dir: c.env.State})
	if err != nil {
		t.Fatal(err)
	}
	if document, _ := keys.JWKS(); !strings.Contains(string(document), fmt.Sprint(first)) {
		t.Errorf("%s lacks %v", document, first)
	}
}
