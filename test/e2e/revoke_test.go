//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/devissuer"
	"github.com/credence-mesh/credence/internal/testenv"
)

// minted is a token of the development issuer of e.
func minted(t *testing.T, e *testenv.Env, r devissuer.Request) string {
	t.Helper()
	where := e.Endpoints()
	issuer, err := devissuer.Open(app.DevIssuerDir(e.State, where.Issuer), where.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	if r.Subject == "" {
		r.Subject = "alice"
	}
	r.Audience, r.Scopes = []string{audience}, []string{"read"}
	token, err := issuer.Mint(r)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func revoke(t *testing.T, e *testenv.Env, n admin.NewRevocation) admin.Revocation {
	t.Helper()
	r, err := admin.Revoke(t.Context(), e.Endpoints().AdminSocket, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A list in a manifest ends a token by its subject; an invalid edit keeps the last good list; without the list the token is good again. A
// list that never was valid refuses every credential.
func TestRevocationListRefusesTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lobby")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("users", "plain", "/", "lobby", "token"))})
	token := e.Token(audience, "read")
	status := func(want int) func() string {
		return func() string {
			r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/", Token: token})
			if err != nil {
				return err.Error()
			}
			if r.Status != want {
				return fmt.Sprint(r.Status, " ", r.Header, " ", r.Body)
			}
			return ""
		}
	}
	list := func(name, entry string) string {
		return "apiVersion: credence.mesh/v1alpha1\nkind: RevocationList\nmetadata: {name: " + name + "}\nspec: {revocations: [" + entry + "]}\n"
	}
	e.Await("a good token", status(200))
	e.Edit("list.yaml", list("lost", `{subject: alice}`))
	e.Await("a revoked subject", status(401))
	e.Edit("list.yaml", list("lost", `{reason: nothing}`))
	e.Edit("list2.yaml", list("other", `{subject: bob}`))
	e.Await("a broken edit", func() string {
		if len(e.Status().Pinned) == 0 {
			return "nothing is pinned"
		}
		return status(401)()
	})
	e.Edit("list.yaml", list("lost", `{subject: bob}`))
	e.Await("another subject", status(200))
	e.Edit("broken.yaml", list("broken", `{reason: nothing}`))
	e.Await("a list that never was valid", status(401))
	e.Edit("broken.yaml", list("broken", `{tokenID: another}`))
	e.Await("a mended list", status(200))
}

// TestRevokedByEachField: the very next request with a token that a revocation covers is refused, though its facts are cached; others pass;
// and once it is undone the token is good again.
func TestRevokedByEachField(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lobby")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("users", "plain", "/", "lobby", "token"))})
	iss := e.Endpoints().Issuer
	hour := time.Now().Add(-time.Hour)
	token := func(sub, client, jti string, iat time.Time) string {
		return minted(t, e, devissuer.Request{Subject: sub, Client: client, Claims: map[string]any{"jti": jti, "iat": iat.Unix()}, TTL: 20 * time.Minute})
	}
	covered, other := token("alice", "web", "t-1", hour), token("bob", "cli", "t-2", time.Now())
	for _, tt := range []struct {
		name string
		n    admin.NewRevocation
		all  bool // the other token is covered too
		none bool // not even the first
	}{
		{"jti", admin.NewRevocation{TokenID: "t-1"}, false, false},
		{"subject", admin.NewRevocation{Subject: "alice"}, false, false},
		{"client", admin.NewRevocation{Client: "web"}, false, false},
		{"issuer", admin.NewRevocation{Issuer: iss}, true, false},
		{"issuer, issued before", admin.NewRevocation{Issuer: iss, IssuedBefore: hour.Add(time.Minute)}, false, false},
		{"all of them", admin.NewRevocation{TokenID: "t-1", Subject: "alice", Client: "web", Issuer: iss, IssuedBefore: time.Now()}, false, false},
		{"jti of another issuer", admin.NewRevocation{TokenID: "t-1", Issuer: "https://elsewhere.example"}, false, true},
		{"subject of another client", admin.NewRevocation{Subject: "alice", Client: "cli"}, false, true},
		{"subject, issued before it was", admin.NewRevocation{Subject: "alice", IssuedBefore: hour.Add(-time.Minute)}, false, true},
		{"issuer with a slash", admin.NewRevocation{Issuer: iss + "/"}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := func(when string, first, second int) {
				t.Helper()
				if a, b := s.call(t, "/", covered), s.call(t, "/", other); a.Status != first || b.Status != second {
					t.Errorf("%s: %d and %d, want %d and %d\n%s", when, a.Status, b.Status, first, second, a.Body)
				}
			}
			first, second := 401, 200
			if tt.all {
				second = 401
			}
			if tt.none {
				first = 200
			}
			want("before", 200, 200)
			r := revoke(t, e, tt.n)
			want("revoked", first, second)
			if got := s.call(t, "/", covered).Header.Get("WWW-Authenticate"); first == 401 && !strings.Contains(got, `error="invalid_token"`) {
				t.Errorf("WWW-Authenticate: %s", got)
			}
			if err := admin.Unrevoke(t.Context(), e.Endpoints().AdminSocket, r.ID); err != nil {
				t.Fatal(err)
			}
			want("undone", 200, 200)
		})
	}
	if log := e.Log(); !strings.Contains(log, "reason=token_revoked") {
		t.Error("the decision log does not say token_revoked")
	}
}

// TestRevokedSurvivesStops: what was acknowledged is in force when the product is ready again, and so is that it was undone.
func TestRevokedSurvivesStops(t *testing.T) {
	t.Parallel()
	s := newSite(t, "lobby")
	o := testenv.Options{Work: testenv.WorkDir(t), Manifests: s.manifests(s.route("users", "plain", "/", "lobby", "token"))}
	e := testenv.Start(t, o)
	alice, bob := minted(t, e, devissuer.Request{}), minted(t, e, devissuer.Request{Subject: "bob"})
	kept, undone := revoke(t, e, admin.NewRevocation{Subject: "alice", Reason: "left"}), revoke(t, e, admin.NewRevocation{Subject: "bob"})
	if err := admin.Unrevoke(t.Context(), e.Endpoints().AdminSocket, undone.ID); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	e = testenv.Start(t, testenv.Options{Work: o.Work})
	if a, b := s.call(t, "/", alice).Status, s.call(t, "/", bob).Status; a != 401 || b != 200 {
		t.Errorf("revoked: %d, undone: %d", a, b)
	}
	list, err := admin.ListRevocations(t.Context(), e.Endpoints().AdminSocket)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]admin.Revocation{kept}, list); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

// TestRevokedOpaqueToken: cached facts of an opaque token count for nothing once its subject is revoked, and nobody is asked about it.
func TestRevokedOpaqueToken(t *testing.T) {
	t.Parallel()
	i := newIntrospector(t)
	s, e := opaqueEnv(t, i, "30s")
	if got := s.call(t, "/reads", "good-1"); got.Status != 200 {
		t.Fatalf("before: %d", got.Status)
	}
	asked := i.asked.Load()
	r := revoke(t, e, admin.NewRevocation{Subject: "alice"})
	if got := s.call(t, "/reads", "good-1"); got.Status != 401 {
		t.Errorf("revoked: %d", got.Status)
	}
	if err := admin.Unrevoke(t.Context(), e.Endpoints().AdminSocket, r.ID); err != nil {
		t.Fatal(err)
	}
	if got := s.call(t, "/reads", "good-1"); got.Status != 200 {
		t.Errorf("undone: %d", got.Status)
	}
	if n := i.asked.Load(); n != asked {
		t.Errorf("the server was asked %d times more: the facts were not cached", n-asked)
	}
}

// TestRevokedPasswordAndKey: users without a token are revoked by their subject, also those whom no hash is computed for any more; the Credentials
// object tells those of one name apart.
func TestRevokedPasswordAndKey(t *testing.T) {
	t.Parallel()
	s, e := kindsSite(t)
	const password, key = "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==", "X-API-Key: " + apiKey
	want := func(when string, byPassword, byKey int) {
		t.Helper()
		a, body := sendLines(t, s.frontAddr(), "/user", password)
		b, _ := sendLines(t, s.frontAddr(), "/user", key)
		if a != byPassword || b != byKey {
			t.Errorf("%s: %d and %d, want %d and %d\n%s", when, a, b, byPassword, byKey, body)
		}
		if c, _ := sendLines(t, s.frontAddr(), "/optional", password); c != byPassword {
			t.Errorf("%s: %d where it is optional, want %d: a bad credential must not fall through", when, c, byPassword)
		}
	}
	undo := func(r admin.Revocation) {
		t.Helper()
		if err := admin.Unrevoke(t.Context(), e.Endpoints().AdminSocket, r.ID); err != nil {
			t.Fatal(err)
		}
	}
	want("before", 200, 200)
	alice := revoke(t, e, admin.NewRevocation{Subject: "alice", Issuer: "credentials/default/people"})
	want("alice revoked", 401, 200)
	robot := revoke(t, e, admin.NewRevocation{Subject: "robot", IssuedBefore: time.Now().Add(-time.Hour)})
	if !robot.Until.IsZero() {
		t.Errorf("it ends at %v, and an API key does not", robot.Until)
	}
	want("robot revoked too", 401, 401)
	undo(alice)
	want("alice back", 200, 401)
	undo(robot)
	other := revoke(t, e, admin.NewRevocation{Subject: "alice", Issuer: "credentials/default/keys"})
	want("another alice revoked", 200, 200)
	undo(other)
}

// TestRevokedInternalToken: an internal token falls with the credential that it was made for, on its way too, whatever of it is revoked.
func TestRevokedInternalToken(t *testing.T) {
	t.Parallel()
	for _, internalTokens := range []string{"{}", "{mode: cached}"} {
		t.Run(internalTokens, func(t *testing.T) {
			c := newChain(t, internalTokens, "")
			outer := minted(t, c.env, devissuer.Request{Client: "app", Claims: map[string]any{"jti": "outer-1"}})
			status, seen, body := c.enter(t, "/", bearer(outer))
			token := seen.Get("Txn-Token")
			if status != 200 || token == "" {
				t.Fatalf("%d %s", status, body)
			}
			for name, n := range map[string]admin.NewRevocation{
				"jti": {TokenID: "outer-1"}, "subject": {Subject: "alice"}, "client": {Client: "app"}, "issuer": {Issuer: c.env.Endpoints().Issuer},
				"issued before": {Subject: "alice", IssuedBefore: time.Now().Add(2 * time.Second)},
			} {
				r := revoke(t, c.env, n)
				if status, _, _ := c.call(t, "web", "orders", token); status != 401 {
					t.Errorf("%s: on its way: %d", name, status)
				}
				if status, _, _ := c.enter(t, "/", bearer(outer)); status != 401 {
					t.Errorf("%s: at the gateway: %d", name, status)
				}
				if err := admin.Unrevoke(t.Context(), c.env.Endpoints().AdminSocket, r.ID); err != nil {
					t.Fatal(err)
				}
				if status, _, body := c.call(t, "web", "orders", token); status != 200 {
					t.Errorf("%s: undone: %d %s", name, status, body)
				}
			}
		})
	}
}
