package issuers_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// asked verifies a token of which the server of the issuer under heading answers what answer says.
func asked(t *testing.T, heading string, answer members) (who, error) {
	t.Helper()
	issuer := configured(t, heading)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != issuer.Introspection.ClientID || secret != "hush" || r.PostFormValue("token") == "" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(answer.json()))
	}))
	defer server.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := *issuer.Introspection
	in.URL, in.SecretFile, in.CAFile = server.URL, secret, ""
	issuer.Introspection = &in
	clock := func() time.Time { return now }
	v, err := introspect.New(introspect.Options{Keys: jwks.New(jwks.Options{}), Now: clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	v.Publish([]policy.Issuer{issuer})
	defer v.Publish(nil)
	u, err := v.Verify(t.Context(), "7Q3K", []policy.Name{issuer.Name})
	if err != nil {
		return who{}, err
	}
	return who{u.Subject, u.Client, u.Scopes, u.Service}, nil
}

func TestIssuerKeycloakIntrospection(t *testing.T) {
	const heading = "Keycloak, by introspection"
	answer := members{
		"active": true, "iss": "https://login.example.org/realms/shop", "sub": "f3c2c1d0", "typ": "Bearer", "azp": "web", "client_id": "web",
		"username": "alice", "preferred_username": "alice", "token_type": "Bearer", "aud": []string{"orders", "account"},
		"exp": in(5 * time.Minute), "iat": in(-time.Second), "auth_time": in(-time.Minute), "jti": "onrtac:5a6f", "sid": "s", "acr": "1",
		"realm_access": members{"roles": []string{"clerk"}}, "scope": "openid profile orders:read",
	}
	for _, r := range []struct {
		name   string
		answer members
		want   who
		reason string
	}{
		{"access token", answer, who{"f3c2c1d0", "web", []string{"openid", "orders:read", "profile"}, false}, ""},
		{"service account", answer.with(members{
			"sub": "0d7e", "azp": "batch", "client_id": "batch", "username": "service-account-batch", "preferred_username": "service-account-batch",
		}), who{"0d7e", "batch", []string{"openid", "orders:read", "profile"}, true}, ""},
		{"ended", members{"active": false}, who{}, introspect.ReasonInactive},
		{"refresh token", answer.with(members{"typ": "Refresh"}), who{}, token.ReasonTyp},
		{"offline token", answer.with(members{"typ": "Offline"}), who{}, token.ReasonTyp},
		{"ID token", answer.with(members{"typ": "ID"}), who{}, token.ReasonTyp},
		{"another realm", answer.with(members{"iss": "https://login.example.org/realms/hr"}), who{}, token.ReasonIssuerUnknown},
		{"a client without the audience mapper", answer.with(members{"aud": "account"}), who{}, token.ReasonAudience},
	} {
		got, err := asked(t, heading, r.answer)
		slices.Sort(got.Scopes)
		if diff := cmp.Diff(r.want, got); diff != "" || credential.Reason(err) != r.reason {
			t.Errorf("%s: %v\n%s", r.name, err, diff)
		}
		if err != nil && !errors.Is(err, credential.ErrInvalid) {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}
