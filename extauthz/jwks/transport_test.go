package jwks_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

func pemFile(t *testing.T, c *x509.Certificate) string {
	t.Helper()
	return file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// again has the source asked at once, as a token with an unknown kid does.
func again(t *testing.T, s *jwks.Source, kid string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = s.Refresh(ctx, kid, "ES256")
}

// Requirement 6: a private CA is the only one that counts, and its file is read again when it has changed.
func TestKeys6PrivateCA(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ecSet("good")) }))
	defer server.Close()
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	defer other.Close()
	for name, c := range map[string]struct{ ca, failure string }{
		"the system's":   {"", "certificate signed by unknown authority"},
		"no certificate": {file(t, "no PEM"), "has no certificate in PEM"},
		"no file":        {"/nonexistent/ca.pem", "keys.caFile: read file"},
		"a directory":    {t.TempDir(), "is not a regular file"},
	} {
		s, st := once(t, jwks.New(jwks.Options{Log: quiet}), policy.KeySource{URL: server.URL, CAFile: c.ca})
		if s.Set() != nil || !strings.Contains(st.Failure, c.failure) {
			t.Errorf("%s: keys: %v, %q", name, s.Set() != nil, st.Failure)
		}
	}
	path := file(t, "no PEM")
	k := jwks.New(jwks.Options{Log: quiet})
	s, _ := once(t, k, policy.KeySource{URL: server.URL, CAFile: path})
	must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	again(t, s, "good")
	if !has(s, "good") {
		t.Errorf("after the file was mended: %+v", k.Status())
	}
	must(os.WriteFile(path, []byte("no PEM"), 0o600))
	again(t, s, "other")
	if st := k.Status()[0]; !strings.Contains(st.Failure, "has no certificate") || !has(s, "good") {
		t.Errorf("after the file was broken: %+v", st)
	}
}

// Requirement 6: the token is read for each fetch, goes to the configured host and port and nowhere else, and is in no log.
func TestKeys6BearerToken(t *testing.T) {
	t.Parallel()
	var got sync.Map
	note := func(name string, answer http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			got.Store(name, r.Header.Get("Authorization"))
			answer(w, r)
		}
	}
	secure := httptest.NewTLSServer(note("https", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ecSet("good")) }))
	defer secure.Close()
	plain := httptest.NewServer(note("http", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL, http.StatusPermanentRedirect)
	}))
	defer plain.Close()
	var log lines
	o := jwks.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	token, ca := file(t, "secret-one\n"), pemFile(t, secure.Certificate())

	k := jwks.New(o)
	s, st := once(t, k, policy.KeySource{URL: secure.URL, CAFile: ca, BearerTokenFile: token})
	if v, _ := got.Load("https"); v != "Bearer secret-one" || !has(s, "good") {
		t.Errorf("%q, %+v", v, st)
	}
	must(os.WriteFile(token, []byte("secret-two"), 0o600))
	again(t, s, "other")
	if v, _ := got.Load("https"); v != "Bearer secret-two" {
		t.Errorf("after it was renewed: %q", v)
	}
	for _, bad := range []string{"", "secret three", "secret\r\nX: y", "sécret", strings.Repeat("s", 17<<10)} {
		must(os.WriteFile(token, []byte(bad), 0o600))
		got.Delete("https")
		s, st := once(t, jwks.New(o), policy.KeySource{URL: secure.URL, CAFile: ca, BearerTokenFile: token})
		if _, asked := got.Load("https"); asked || s.Set() != nil || !strings.Contains(st.Failure, "does not hold one token") {
			t.Errorf("%.20q: asked: %v, %q", bad, asked, st.Failure)
		}
	}
	// The upgrade to https leads to another port: keys are taken from there, the token stays.
	must(os.WriteFile(token, []byte("secret-four"), 0o600))
	s, st = once(t, jwks.New(o), policy.KeySource{URL: plain.URL, CAFile: ca, BearerTokenFile: token})
	first, _ := got.Load("http")
	if second, _ := got.Load("https"); first != "Bearer secret-four" || second != "" || !has(s, "good") {
		t.Errorf("upgrade: %q then %q, %+v", first, second, st)
	}
	if strings.Contains(log.String(), "secret") {
		t.Error("the log has a token")
	}
}

// A host that the metadata names gets no token.
func TestKeys6BearerTokenAndDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const meta, keys = "https://idp.example" + metadataPath, "https://keys.example/1"
		w := &web{pages: map[string]string{meta: metadata(ourIssuer, keys), keys: string(ecSet("one"))}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: w})
		s := publish(t, k, policy.KeySource{Discovery: meta, DiscoveryIssuer: ourIssuer, BearerTokenFile: file(t, "secret")})
		start(t, k)
		pass(time.Second)
		if diff := cmp.Diff(map[string]string{meta: "Bearer secret"}, w.tokens); diff != "" || !has(s, "one") {
			t.Errorf("keys: %v, tokens (-want +got): %s", has(s, "one"), diff)
		}
	})
}

// Requirement 6: http where it is permitted, told once; a redirect never leads from https to it.
func TestKeys6PlainHTTP(t *testing.T) {
	t.Parallel()
	var plainAsked atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plainAsked.Add(1); _, _ = w.Write(ecSet("good")) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }))
	defer secure.Close()
	s, st := once(t, jwks.New(jwks.Options{Log: quiet}), policy.KeySource{URL: secure.URL, CAFile: pemFile(t, secure.Certificate()), Insecure: true})
	if s.Set() != nil || plainAsked.Load() != 0 || !strings.Contains(st.Failure, "a redirect away from https") {
		t.Errorf("downgrade: %+v, %d requests", st, plainAsked.Load())
	}
	synctest.Test(t, func(t *testing.T) {
		w := &web{pages: map[string]string{"http://idp.example/keys": string(ecSet("one"))}}
		var log lines
		k := jwks.New(jwks.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Transport: w})
		refused := publish(t, k, policy.KeySource{URL: "http://idp.example/keys"})
		start(t, k)
		pass(time.Second)
		if st := k.Status()[0]; refused.Set() != nil || !strings.Contains(st.Failure, "must be https") || len(w.counts()) != 0 {
			t.Errorf("http without leave: %+v", st)
		}
		s := publish(t, k, policy.KeySource{URL: "http://idp.example/keys", Insecure: true})
		pass(time.Hour)
		if !has(s, "one") || strings.Count(log.String(), "over http") != 1 {
			t.Errorf("http with leave: %+v; log %s", k.Status(), log.String())
		}
	})
}
