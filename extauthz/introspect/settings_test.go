package introspect_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

func TestNewNeedsKeys(t *testing.T) {
	if v, err := introspect.New(introspect.Options{}); err == nil || v != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestBeforePublish(t *testing.T) {
	v, err := introspect.New(introspect.Options{Keys: jwks.New(jwks.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	user, err := v.Verify(t.Context(), "tok", accepted)
	wantRefusal(t, user, err, credential.ErrUnavailable, token.ReasonIssuerConfig)
}

// A configuration that would switch a check off makes tokens unavailable.
func TestUnusableIssuer(t *testing.T) {
	for name, change := range map[string]func(*policy.Issuer){
		"no audience":         func(i *policy.Issuer) { i.Audiences = nil },
		"an empty audience":   func(i *policy.Issuer) { i.Audiences = []string{""} },
		"an empty iss":        func(i *policy.Issuer) { i.Issuers = []string{""} },
		"tenants":             func(i *policy.Issuer) { i.Tenant = &policy.Tenant{} },
		"plain http":          func(i *policy.Issuer) { i.Introspection.URL = "http://192.0.2.1/" },
		"no host":             func(i *policy.Issuer) { i.Introspection.URL = "https:///x" },
		"a user in the URL":   func(i *policy.Issuer) { i.Introspection.URL = "https://a:b@as.example/" },
		"nobody asks":         func(i *policy.Issuer) { i.Introspection.ClientID, i.Introspection.SecretFile = "", "" },
		"no secret":           func(i *policy.Issuer) { i.Introspection.SecretFile = "" },
		"two that ask":        func(i *policy.Issuer) { i.Introspection.BearerTokenFile = "/x" },
		"signed without keys": func(i *policy.Issuer) { i.Introspection.JWT, i.Issuers = true, []string{iss} },
		"signed by nobody":    func(i *policy.Issuer) { i.Introspection.JWT, i.Algorithms = true, []string{"EdDSA"} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(i *policy.Issuer, _ *introspect.Options) { change(i) })
			b.refused("tok", credential.ErrUnavailable, token.ReasonIssuerConfig)
			b.asked(0)
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What authenticates us is read at each use, and what can't be read is told before anybody asks.
func TestSecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	b := newBench(t, func(i *policy.Issuer, _ *introspect.Options) {
		i.Introspection.ClientID, i.Introspection.SecretFile, i.Introspection.BearerTokenFile = "", "", file
		i.Introspection.CacheFor = 0
	})
	if s := b.Status(); !strings.Contains(s[0].Local, "bearerTokenFile") {
		t.Errorf("status %+v", s)
	}
	b.refused("tok", credential.ErrUnavailable, introspect.ReasonFailed)
	for _, bad := range []string{"", "\n", "a\nb\n", "ä", strings.Repeat("a", 20<<10)} {
		write(t, file, bad)
		b.refused("tok", credential.ErrUnavailable, introspect.ReasonFailed)
	}
	b.asked(0)
	for n, good := range []string{"one\n", "two\r\n"} {
		write(t, file, good)
		b.allowed("tok")
		b.server.mu.Lock()
		got := b.server.heads[n].Get("Authorization")
		b.server.mu.Unlock()
		if got != "Bearer "+strings.TrimSpace(good) {
			t.Errorf("authorization %q", got)
		}
	}
	if s := b.Status(); s[0].Local != "" || s[0].Failure != "" {
		t.Errorf("status %+v", s)
	}
}

// The server's certificate must be of the CAs of caFile; it is read again when it changes.
func TestCAFile(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(good("")))
	}))
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	b := newBench(t, func(i *policy.Issuer, _ *introspect.Options) {
		i.Introspection.URL, i.Introspection.CAFile, i.Introspection.CacheFor = secure.URL, ca, 0
	})
	b.refused("tok", credential.ErrUnavailable, introspect.ReasonFailed)
	write(t, ca, "no PEM")
	b.refused("tok", credential.ErrUnavailable, introspect.ReasonFailed)
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	b.allowed("tok")
	plain := b.conf
	in := *b.conf.Introspection
	in.CAFile, plain.Introspection = "", &in
	b.publish(plain) // the system's CAs
	b.refused("tok", credential.ErrUnavailable, introspect.ReasonFailed)
}

// No message names the token or the secret.
func TestErrorsNameNoSecret(t *testing.T) {
	b := newBench(t, nil)
	b.server.say(http.StatusUnauthorized, "text/plain", "s3cr:t +% hunter2token")
	_, err := b.verify("hunter2token")
	all := err.Error() + credential.Detail(err) + b.Status()[0].Failure
	b.server.Close()
	_, err = b.verify("hunter2token")
	all += err.Error() + credential.Detail(err)
	for _, secret := range []string{"hunter2token", "s3cr", "czNj"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in %q", secret, all)
		}
	}
}
