package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

const usableKey = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// A starting product waits for the first keys of every issuer; later an issuer that comes without keys, or loses them, harms itself alone.
func TestKeysInReadiness(t *testing.T) {
	late := filepath.Join(t.TempDir(), "late.json")
	idp := func(name string, keys policy.KeySource) policy.Issuer {
		return policy.Issuer{
			Name: policy.Name{Namespace: "default", Name: name}, Issuers: []string{"https://" + name + ".test"},
			Algorithms: []string{"EdDSA"}, Keys: keys,
		}
	}
	good, waiting := idp("good", policy.KeySource{Inline: usableKey}), idp("late", policy.KeySource{File: late})
	keys := jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})
	h := app.NewKeyHealth(keys)
	says := func(step string, got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", step, got, want)
			return
		}
		for i, w := range want {
			if !strings.Contains(got[i], w) {
				t.Errorf("%s: %q, want %q", step, got[i], w)
			}
		}
	}
	keys.Publish([]policy.Issuer{good, waiting})
	says("at the start", h.NotReady([]string{"proxy x"}), "proxy x", "issuer default/late has no keys yet: read file")
	says("at the start", h.Degraded(), "issuer default/late has no keys, its tokens are refused: read file")
	waiting.Keys = policy.KeySource{Inline: `{"keys":[]}`}
	keys.Publish([]policy.Issuer{good, waiting})
	says("with an empty set", h.NotReady(nil), "issuer default/late has no keys yet: the issuer publishes none that can verify")
	must(t, os.WriteFile(late, []byte(usableKey), 0o600))
	waiting.Keys = policy.KeySource{File: late}
	keys.Publish([]policy.Issuer{good, waiting})
	says("with another thing missing", h.NotReady([]string{"proxy x"}), "proxy x")
	says("ready", h.NotReady(nil))
	says("ready", h.Degraded())
	keys.Publish([]policy.Issuer{good, waiting, idp("new", policy.KeySource{URL: "https://new.test"})})
	says("one that comes later", h.NotReady(nil))
	says("one that comes later", h.Degraded(), "issuer default/new has no keys, its tokens are refused")
	says("other reasons later", h.NotReady([]string{"proxy x"}), "proxy x")
}

// An issuer of several iss is one row, which does not look as if it were one iss.
func TestStatusOfAnIssuerWithSeveralNames(t *testing.T) {
	b, err := startAuthz(t, func(o *app.AuthzOptions) {
		o.Socket.Path = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		must(t, os.WriteFile(filepath.Join(o.Dir, "issuer.yaml"), []byte(`
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: several}
spec:
  issuerTemplate: {pattern: "https://login.test/{tid}", values: [a, b, c]}
  audiences: [shop]
  keys: {inline: '`+usableKey+`'}
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: single}
spec: {issuer: "https://single.test", audiences: [shop], keys: {inline: '`+usableKey+`'}}
`), 0o600))
	})
	must(t, err)
	got := map[string]int{}
	for _, i := range b.status().Issuers {
		got[i.Name+" "+i.Issuer] = i.More
	}
	if diff := cmp.Diff(map[string]int{"default/several https://login.test/a": 2, "default/single https://single.test": 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
