package devissuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/internal/devissuer"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const url = "http://127.0.0.1:7080"

func open(t *testing.T, dir string) *devissuer.Issuer {
	t.Helper()
	i, err := devissuer.Open(dir, url)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// verify uses the product's own verifier with the keys of the issuer.
func verify(t *testing.T, i *devissuer.Issuer, raw string) (*decide.User, error) {
	t.Helper()
	name := policy.Name{Namespace: "default", Name: "dev"}
	keys := jwks.New(jwks.Options{
		Log: slog.New(slog.DiscardHandler),
		Development: func(u string) ([]byte, error) {
			if u != i.URL() {
				return nil, errors.New("another issuer")
			}
			return i.JWKS(), nil
		},
	})
	v, err := token.New(token.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	v.Publish([]policy.Issuer{{
		Name: name, Issuers: []string{url}, Audiences: []string{"https://orders"}, Algorithms: []string{"ES256"}, Profile: policy.StrictAccessToken,
		MaxLifetime: 24 * time.Hour, Keys: policy.KeySource{Development: true},
	}})
	return v.Verify(context.Background(), raw, []policy.Name{name})
}

func request() devissuer.Request {
	return devissuer.Request{Subject: "alice", Audience: []string{"https://orders"}, Scopes: []string{"orders.write", "orders.read"}}
}

func TestMintIsAccepted(t *testing.T) {
	i := open(t, t.TempDir())
	r := request()
	r.Audience = append(r.Audience, "https://payments")
	r.Client, r.TTL = "web", time.Hour
	r.Claims = map[string]any{"tenant": "acme", "roles": []string{"admin"}}
	raw, err := i.Mint(r)
	if err != nil {
		t.Fatal(err)
	}
	user, err := verify(t, i, raw)
	if err != nil {
		t.Fatal(err)
	}
	if user.Subject != "alice" || user.Client != "web" || user.IssuerURL != url || user.Claims["tenant"] != "acme" {
		t.Errorf("user %+v", user)
	}
	if diff := cmp.Diff([]string{"orders.read", "orders.write"}, user.Scopes); diff != "" {
		t.Error(diff)
	}
	if left := time.Until(user.Expires); left < 58*time.Minute || left > time.Hour {
		t.Errorf("lives for %s", left)
	}
	other, err := i.Mint(r)
	if err != nil || other == raw {
		t.Errorf("the same token twice: jti is not unique (%v)", err)
	}
}

func TestMintOfBadTokens(t *testing.T) {
	i := open(t, t.TempDir())
	expired, early := request(), request()
	expired.TTL = -time.Minute
	early.NotBefore = time.Now().Add(time.Hour)
	for reason, r := range map[string]devissuer.Request{token.ReasonExpired: expired, token.ReasonNotYetValid: early} {
		raw, err := i.Mint(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t, i, raw); token.Reason(err) != reason {
			t.Errorf("%v, want %s", err, reason)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	i := open(t, t.TempDir())
	for name, change := range map[string]func(*devissuer.Request){
		"no subject":     func(r *devissuer.Request) { r.Subject = "" },
		"no audience":    func(r *devissuer.Request) { r.Audience = nil },
		"empty audience": func(r *devissuer.Request) { r.Audience = []string{""} },
		"claim not JSON": func(r *devissuer.Request) { r.Claims = map[string]any{"f": func() {}} },
	} {
		r := request()
		change(&r)
		if raw, err := i.Mint(r); err == nil || raw != "" {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
}

func TestClaimsReplace(t *testing.T) {
	i := open(t, t.TempDir())
	r := request()
	r.Claims = map[string]any{"iss": "https://idp.example"}
	raw, err := i.Mint(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, i, raw); token.Reason(err) != token.ReasonIssuerUnknown {
		t.Errorf("%v, want %s", err, token.ReasonIssuerUnknown)
	}
}

func TestKeySurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	raw, err := first.Mint(request())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, open(t, dir), raw); err != nil {
		t.Errorf("a token from before the restart: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v: not one file", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOpenAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	sets := make([]string, 8)
	errs := make([]error, len(sets))
	var wg sync.WaitGroup
	for n := range sets {
		wg.Go(func() {
			i, err := devissuer.Open(dir, url)
			if err == nil {
				sets[n] = string(i.JWKS())
			}
			errs[n] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		if s != sets[0] {
			t.Error("two keys")
		}
	}
}

func TestBrokenKeyIsAnErrorAndStays(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	path := filepath.Join(dir, "dev-issuer.key")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut": string(good[:len(good)/2]), "not PEM": "hello", "more": string(good) + "x",
		"another type": strings.ReplaceAll(string(good), "PRIVATE KEY", "EC PRIVATE KEY"),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := devissuer.Open(dir, url); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%s: overwritten (%v)", name, err)
		}
	}
	if err := errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	if _, err := devissuer.Open(dir, url); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that the group can read: %v", err)
	}
	if _, err := devissuer.Open(filepath.Join(dir, "gone"), url); err == nil {
		t.Error("no directory: no error")
	}
}

func TestOpenOnlyOnLoopback(t *testing.T) {
	dir := t.TempDir()
	for u, want := range map[string]bool{
		"http://127.0.0.1:7080": true, "http://localhost:1": true, "http://[::1]:7080": true, "https://127.0.0.1": true,
		"http://idp.example": false, "http://10.0.0.1:80": false, "https://idp.example": false, "http://0.0.0.0:80": false,
		"http://127.0.0.1:7080/": false, "http://127.0.0.1/a": false, "http://u@127.0.0.1": false, "127.0.0.1:7080": false, "": false,
		"http://localhost.evil.example": false, "http://127.0.0.1?x": false, "ftp://127.0.0.1": false,
	} {
		if _, err := devissuer.Open(dir, u); (err == nil) != want {
			t.Errorf("%q: %v, want accepted: %v", u, err, want)
		}
	}
}

func TestHandler(t *testing.T) {
	i := open(t, t.TempDir())
	server := httptest.NewServer(i.Handler())
	defer server.Close()
	get := func(path string) (int, []byte) {
		t.Helper()
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		status, body := get(path)
		var m struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(body, &m); err != nil || status != 200 || m.Issuer != url || m.JWKS != url+"/jwks" {
			t.Errorf("%s: %d %s %v", path, status, body, err)
		}
	}
	if status, body := get("/jwks"); status != 200 || string(body) != string(i.JWKS()) {
		t.Errorf("jwks: %d %s", status, body)
	}
	set, err := jwks.Parse(i.JWKS(), []string{"ES256"})
	if err != nil || set.Len() != 1 {
		t.Errorf("%v, %v", set, err)
	}
	if strings.Contains(string(i.JWKS()), `"d"`) {
		t.Error("the private key is published")
	}
	if status, _ := get("/other"); status != http.StatusNotFound {
		t.Errorf("other path: %d", status)
	}
}
