package issuers_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
	"github.com/credence-mesh/credence/policy/decide"
)

// now is the time of all tests.
var now = time.Unix(1_800_000_000, 0)

func in(d time.Duration) int64 { return now.Add(d).Unix() }

// testKeys are the issuer's signing key, one that it has for something else, and a stranger's.
var testKeys = sync.OnceValue(func() (keys [3]*rsa.PrivateKey) {
	for i := range keys {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = k
	}
	return keys
})

// members are a header, claims or a JWK, by name.
type members map[string]any

func (m members) with(more members) members {
	m = maps.Clone(m)
	maps.Copy(m, more)
	return m
}

func (m members) without(names ...string) members {
	m = maps.Clone(m)
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func (m members) json() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public half of a key as a JWK, with the members that the issuer adds.
func jwk(k *rsa.PrivateKey, more members) members {
	return members{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}.with(more)
}

func jwkSet(keys ...members) string { return members{"keys": keys}.json() }

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	section   = regexp.MustCompile(`(?m)^## `)
)

// configured is the TokenIssuer under a heading of docs/issuers.md, compiled. The page must give no diagnostic, and it must name the test.
func configured(t *testing.T, heading string) policy.Issuer {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "..", "docs", "issuers.md"))
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for _, s := range section.Split(string(body), -1) {
		if strings.HasPrefix(s, heading+"\n") {
			text = s
		}
	}
	blocks := yamlBlock.FindAllStringSubmatch(text, -1)
	if len(blocks) != 1 || !strings.Contains(text, "`"+t.Name()+"`") {
		t.Fatalf("heading %q of docs/issuers.md has %d blocks, or does not name %s", heading, len(blocks), t.Name())
	}
	return compiled(t, blocks[0][1])
}

func compiled(t *testing.T, manifest string) policy.Issuer {
	t.Helper()
	const mesh = "apiVersion: credence.mesh/v1alpha1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {trustDomain: shop.example}\n---\n"
	file := decode.File("issuers.yaml", []byte(mesh+manifest))
	objects := make([]*manifests.Object, len(file.Objects))
	copy(objects, file.Objects)
	set, diags := compile.Compile(compile.Input{Objects: objects})
	for _, d := range append(slices.Clone(file.Diagnostics), diags...) {
		t.Errorf("%s", d)
	}
	if set == nil || len(set.Issuers) != 1 {
		t.Fatal("the block is not one TokenIssuer")
	}
	return set.Issuers[0]
}

// rig verifies tokens by one TokenIssuer, whose keys are read from a text.
type rig struct {
	t        *testing.T
	issuer   policy.Issuer
	verifier *token.Verifier
	// head and claims of a good token.
	head, claims members
}

func newRig(t *testing.T, heading, keys string) *rig {
	t.Helper()
	issuer := configured(t, heading)
	issuer.Keys = policy.KeySource{Inline: keys}
	r := &rig{t: t, issuer: issuer}
	clock := func() time.Time { return now }
	v, err := token.New(token.Options{Keys: jwks.New(jwks.Options{Now: clock, Log: slog.New(slog.DiscardHandler)}), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	v.Publish([]policy.Issuer{issuer})
	r.verifier = v
	return r
}

// sign with the key of the issuer, or another one.
func sign(head, claims members, key crypto.PrivateKey) string {
	alg, _ := head["alg"].(string)
	text := b64([]byte(head.json())) + "." + b64([]byte(claims.json()))
	sig, err := jwt.GetSigningMethod(alg).Sign(text, key)
	if err != nil {
		panic(err)
	}
	return text + "." + b64(sig)
}

func (r *rig) verify(raw string) (*decide.User, error) {
	return r.verifier.Verify(context.Background(), raw, []policy.Name{r.issuer.Name})
}

// who is what of a User a rule or an upstream sees.
type who struct {
	Subject, Client string
	Scopes          []string
	Service         bool
}

func (r *rig) accepts(name string, head, claims members, want who) {
	r.t.Helper()
	r.t.Run(name, func(t *testing.T) {
		user, err := r.verify(sign(head, claims, testKeys()[0]))
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		got := who{user.Subject, user.Client, user.Scopes, user.Service}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if iss := claims["iss"]; user.IssuerURL != iss {
			t.Errorf("issuer %q, want %q", user.IssuerURL, iss)
		}
	})
}

func (r *rig) refuses(name string, head, claims members, reason string) {
	r.t.Helper()
	r.refusesRaw(name, sign(head, claims, testKeys()[0]), reason)
}

func (r *rig) refusesRaw(name, raw, reason string) {
	r.t.Helper()
	r.t.Run(name, func(t *testing.T) {
		user, err := r.verify(raw)
		if user != nil || !errors.Is(err, token.ErrInvalid) || token.Reason(err) != reason {
			t.Fatalf("%v, %v: want it refused for %q", user, err, reason)
		}
	})
}

// refusesAlways are the wrong tokens that every issuer can be tried with.
func (r *rig) refusesAlways() {
	r.t.Helper()
	h, c := r.head, r.claims
	r.refusesRaw("signed by a stranger", sign(h, c, testKeys()[2]), token.ReasonSignature)
	r.refuses("another issuer", h, c.with(members{"iss": "https://evil.example"}), token.ReasonIssuerUnknown)
	r.refuses("expired", h, c.with(members{"exp": in(-time.Second)}), token.ReasonExpired)
	r.refuses("a key that it does not publish", h.with(members{"kid": "unknown"}), c, token.ReasonKidUnknown)
	r.refuses("a logout token", h.with(members{"typ": "logout+jwt"}), c, token.ReasonTyp)
	r.refuses("a DPoP proof", h.with(members{"typ": "dpop+jwt"}), c, token.ReasonTyp)
	r.refuses("a security event", h, c.with(members{"events": members{"http://schemas.openid.net/event/backchannel-logout": members{}}}), token.ReasonEvents)
	r.refuses("bound to a key", h, c.with(members{"cnf": members{"jkt": "x"}}), token.ReasonConfirmation)
	if r.issuer.AudienceFrom == "aud" {
		r.refuses("another audience", h, c.with(members{"aud": "https://payments.example.org"}), token.ReasonAudience)
		r.refuses("no audience", h, c.without("aud"), token.ReasonClaimMissing)
	}
}
