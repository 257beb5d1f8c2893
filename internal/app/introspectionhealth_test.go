package app_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

// A starting product waits for the files by which it is known to an authorization server, and not for the server: that is asked by requests,
// which come only once the product is ready.
func TestIntrospectionInReadiness(t *testing.T) {
	status := http.StatusInternalServerError
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"active":true,"sub":"alice","aud":"shop"}`))
	}))
	t.Cleanup(server.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	name := policy.Name{Namespace: "default", Name: "opaque"}
	set := &policy.Set{Issuers: []policy.Issuer{{
		Name: name, Audiences: []string{"shop"}, Introspection: &policy.Introspection{URL: server.URL, ClientID: "c", SecretFile: secret},
	}}}
	keys := jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})
	opaque, err := introspect.New(introspect.Options{Keys: keys, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	h := app.NewIssuerHealth(keys, opaque)
	keys.Publish(set.Issuers)
	opaque.Publish(set.Issuers)
	t.Cleanup(func() { opaque.Publish(nil) })
	says := func(step string, got []string, want string) {
		t.Helper()
		if (want == "") != (len(got) == 0) || want != "" && !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
	}
	says("without the secret", h.NotReady(nil), "issuer default/opaque can't be asked about tokens: introspection.clientSecretFile")
	says("without the secret", h.Degraded(), "introspection.clientSecretFile")
	must(t, os.WriteFile(secret, []byte("hush"), 0o600))
	says("with the secret", h.Degraded(), "")
	if _, err := opaque.Verify(t.Context(), "tok", []policy.Name{name}); err == nil {
		t.Error("allowed without an answer")
	}
	says("the server fails", h.Degraded(), "the answer is 500")
	says("the server fails", h.NotReady(nil), "")
	must(t, os.Remove(secret))
	says("in service", h.NotReady(nil), "")
	must(t, os.WriteFile(secret, []byte("hush"), 0o600))
	status = http.StatusOK
	_, err = opaque.Verify(t.Context(), "tok", []policy.Name{name})
	must(t, err)
	says("the server answers", h.Degraded(), "")
	rows := h.Issuers(set)
	if len(rows) != 1 || rows[0].Name != "default/opaque" || rows[0].Introspection != server.URL || rows[0].Updated.IsZero() || rows[0].Error != "" {
		t.Errorf("status %+v", rows)
	}
}
