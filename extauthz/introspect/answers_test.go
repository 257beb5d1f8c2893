package introspect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const print = "w7JAoU_gJbZJvV-zCOvU9yFJq0FNC_edCMRM78P8eQQ"

func TestAnswerMakesUser(t *testing.T) {
	b := newBench(t, nil)
	b.server.json(good(`,"jti":"j1","iat":1799999990,"acr":"gold","auth_time":1799999980,"username":"Alice A.","token_type":"Bearer"`))
	got := b.allowed("tok-1")
	want := &decide.User{
		Issuer: opaque, IssuerURL: "introspection/default/opaque", Subject: "alice", Client: "web", Scopes: []string{"read", "write"},
		Expires: start.Add(time.Hour).UTC(), Credential: policy.BearerToken, Origin: policy.BearerToken, TokenID: "j1",
		IssuedAt: time.Unix(1799999990, 0).UTC(), ACR: "gold", AuthTime: time.Unix(1799999980, 0).UTC(), Claims: got.Claims,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Claims["username"] != "Alice A." {
		t.Error("claims are missing")
	}
}

// RFC 7662 §2.1 and RFC 6749 §2.3.1.
func TestQuestion(t *testing.T) {
	b := newBench(t, nil)
	b.allowed("a~b+c/d=")
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	form, head := b.server.forms[0], b.server.heads[0]
	if form.Get("token") != "a~b+c/d=" || form.Get("token_type_hint") != "access_token" || len(form) != 2 {
		t.Errorf("form %v", form)
	}
	r := http.Request{Header: head}
	if id, secret, ok := r.BasicAuth(); !ok || id != "credence%3A1" || secret != "s3cr%3At+%2B%25" {
		t.Errorf("client %q with secret %q", id, secret)
	}
	if head.Get("Accept") != "application/json" || head.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("headers %v", head)
	}
}

func withIssuer(i *policy.Issuer, _ *introspect.Options) { i.Issuers = []string{iss} }

// What an active answer must say to be a credential here: each refusal is the token's, so 401.
func TestActiveAnswerIsRefused(t *testing.T) {
	const ok = `"sub":"alice","aud":"https://orders"`
	for _, r := range []struct {
		name, members string
		change        func(*policy.Issuer, *introspect.Options)
		reason        string
	}{
		{"inactive", `"active":false,` + ok, nil, introspect.ReasonInactive},
		{"no audience", `"sub":"alice"`, nil, token.ReasonClaimMissing},
		{"another audience", `"sub":"alice","aud":"https://payments"`, nil, token.ReasonAudience},
		{"other audiences", `"sub":"alice","aud":["https://payments","https://orders/"]`, nil, token.ReasonAudience},
		{
			"audience from client_id, and an aud of somebody else", `"sub":"alice","client_id":"https://orders","aud":"x"`,
			func(i *policy.Issuer, _ *introspect.Options) { i.AudienceFrom = "client_id" }, token.ReasonAudience,
		},
		{
			"another client where client_id stands for the audience", `"sub":"alice","client_id":"web"`,
			func(i *policy.Issuer, _ *introspect.Options) { i.AudienceFrom = "client_id" }, token.ReasonAudience,
		},
		{"expired", ok + `,"exp":1800000000`, nil, token.ReasonExpired},
		{"exp 0", ok + `,"exp":0`, nil, token.ReasonExpired},
		{"early", ok + `,"nbf":1800000031`, nil, token.ReasonNotYetValid},
		{"of the future", ok + `,"iat":1800000031`, nil, token.ReasonIssuedInFuture},
		{"no iss", ok, withIssuer, token.ReasonClaimMissing},
		{"another iss", ok + `,"iss":"https://as.example/"`, withIssuer, token.ReasonIssuerUnknown},
		{"nobody", `"aud":"https://orders"`, nil, token.ReasonClaimMissing},
		{"an empty sub", `"sub":"","aud":"https://orders"`, nil, token.ReasonClaimMissing},
		{"a person without sub is not its client", `"username":"alice","client_id":"web","aud":"https://orders"`, nil, token.ReasonClaimMissing},
		{"a refresh token", ok + `,"token_type":"refresh_token"`, nil, token.ReasonTyp},
		{"a refresh token, Hydra", ok + `,"token_use":"refresh_token"`, nil, token.ReasonTyp},
		{"a refresh token, Keycloak", ok + `,"typ":"Refresh"`, nil, token.ReasonTyp},
		{"an ID token", ok + `,"typ":"ID"`, nil, token.ReasonTyp},
		{"DPoP without its key", ok + `,"token_type":"DPoP"`, nil, token.ReasonConfirmation},
		{"an event", ok + `,"events":{}`, nil, token.ReasonEvents},
		{"lives too long", ok + `,"iat":1800000000,"exp":1800007200`, func(i *policy.Issuer, _ *introspect.Options) { i.MaxLifetime = time.Hour }, token.ReasonLifetime},
		{"lives who knows how long", ok, func(i *policy.Issuer, _ *introspect.Options) { i.MaxLifetime = time.Hour }, token.ReasonClaimMissing},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := newBench(t, r.change)
			body := `{"active":true,` + r.members + `}`
			if strings.HasPrefix(r.members, `"active"`) {
				body = "{" + r.members + "}"
			}
			b.server.json(body)
			for range 2 { // asked, then from the cache
				b.refused("tok", credential.ErrInvalid, r.reason)
			}
			if r.reason != token.ReasonExpired { // an expired token is asked about again: nothing of it is kept
				b.asked(1)
			}
		})
	}
}

func TestActiveAnswerIsTaken(t *testing.T) {
	for _, r := range []struct {
		name, members string
		change        func(*policy.Issuer, *introspect.Options)
		want          func(*decide.User) bool
	}{
		{"a service", `"client_id":"job","aud":"https://orders"`, nil, func(u *decide.User) bool { return u.Service && u.Subject == "job" && u.Client == "job" }},
		{"sub is the client", `"sub":"job","client_id":"job","aud":"https://orders"`, nil, func(u *decide.User) bool { return u.Service }},
		{"no exp", `"sub":"a","aud":["x","https://orders"]`, nil, func(u *decide.User) bool { return u.Expires.IsZero() && !u.Service }},
		{"its iss", `"sub":"a","aud":"https://orders","iss":"https://as.example"`, withIssuer, func(u *decide.User) bool { return u.IssuerURL == iss }},
		{
			"an iss that nobody vouches for", `"sub":"a","aud":"https://orders","iss":"https://bank.example"`, nil,
			func(u *decide.User) bool { return u.IssuerURL == "introspection/default/opaque" },
		},
		{"a list of scopes", `"sub":"a","aud":"https://orders","scope":["b","a b"]`, nil, nil},
		{"scopes", `"sub":"a","aud":"https://orders","scope":["b","a"]`, nil, func(u *decide.User) bool { return strings.Join(u.Scopes, " ") == "a b" }},
		{"DPoP", `"sub":"a","aud":"https://orders","token_type":"DPoP","cnf":{"jkt":"` + print + `"}`, nil, func(u *decide.User) bool { return u.Confirmation.JKT == print }},
		{"roles and groups", `"sub":"a","aud":"https://orders","realm_access":{"roles":["clerk","x"]},"groups":"/a,/b"`, func(i *policy.Issuer, _ *introspect.Options) {
			i.Roles = &policy.Listing{From: [][]string{{"realm_access", "roles"}}, Names: []policy.NameValue{{Name: "clerk", Value: "seller"}}}
			i.Groups = &policy.Listing{From: [][]string{{"groups"}}, Separator: ","}
		}, func(u *decide.User) bool {
			return strings.Join(u.Roles, " ") == "seller" && strings.Join(u.Groups, " ") == "/a /b"
		}},
		{"both", `"sub":"a","aud":"https://orders","cnf":{"jkt":"` + print + `","x5t#S256":"` + print + `"}`, nil, func(u *decide.User) bool { return u.Confirmation.JKT == print && u.Confirmation.X5T == print }},
		{"a certificate", `"sub":"a","aud":"https://orders","cnf":{"x5t#S256":"` + print + `"}`, nil, func(u *decide.User) bool { return u.Confirmation.X5T == print }},
		{
			"audience from client_id", `"sub":"a","client_id":"https://orders"`, func(i *policy.Issuer, _ *introspect.Options) { i.AudienceFrom = "client_id" },
			func(u *decide.User) bool { return u.Subject == "a" },
		},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := newBench(t, r.change)
			b.server.json(`{"active":true,` + r.members + `}`)
			if r.want == nil {
				b.refused("tok", credential.ErrUnavailable, introspect.ReasonAnswer)
				return
			}
			if u := b.allowed("tok"); !r.want(u) {
				t.Errorf("user %+v", u)
			}
		})
	}
}

// Every answer that is none is 503: it lets nobody in, and it is not kept.
func TestAnswerThatIsNone(t *testing.T) {
	for _, r := range []struct{ name, body string }{
		{"active is a string", strings.Replace(good(""), `"active":true`, `"active":"true"`, 1)},
		{"active is a number", strings.Replace(good(""), `"active":true`, `"active":1`, 1)},
		{"active is null", strings.Replace(good(""), `"active":true`, `"active":null`, 1)},
		{"no active", strings.Replace(good(""), `"active":true,`, ``, 1)},
		{"Active", strings.Replace(good(""), `"active"`, `"Active"`, 1)},
		{"duplicate active", strings.Replace(good(""), `"active":true`, `"active":false,"active":true`, 1)},
		{"duplicate sub", good(`,"sub":"bob"`)},
		{"duplicate by an escape", good(`,"s\u0075b":"bob"`)},
		{"data after it", good("") + "{}"},
		{"an array", "[" + good("") + "]"},
		{"null", "null"},
		{"empty", ""},
		{"cut off", good("")[:40]},
		{"not UTF-8", good(",\"x\":\"\xff\"")},
		{"too deep", good(`,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40))},
		{"exp is a string", good(`,"nbf":"1"`)},
		{"exp is huge", good(`,"nbf":1e300`)},
		{"sub is a number", strings.Replace(good(""), `"alice"`, `7`, 1)},
		{"aud is an object", strings.Replace(good(""), `"`+aud+`"`, `{}`, 1)},
		{"client_id is a list", strings.Replace(good(""), `"web"`, `["web"]`, 1)},
		{"scope is a number", strings.Replace(good(""), `"read write"`, `7`, 1)},
		{"cnf is a string", good(`,"cnf":"x"`)},
		{"cnf is empty", good(`,"cnf":{}`)},
		{"cnf names a key nobody can prove", good(`,"cnf":{"kid":"x"}`)},
		{"cnf names one more", good(`,"cnf":{"jkt":"` + print + `","jwk":{}}`)},
		{"cnf of another length", good(`,"cnf":{"jkt":"` + print[1:] + `"}`)},
		{"cnf is null", good(`,"cnf":null`)},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.server.json(r.body)
			for range 2 {
				b.refused("tok", credential.ErrUnavailable, introspect.ReasonAnswer)
			}
			b.asked(2)
			b.server.json(good(""))
			b.allowed("tok")
		})
	}
}

// What is no answer of an introspection endpoint at all.
func TestNoAnswer(t *testing.T) {
	page := func(status int, kind, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, r := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		reason string
	}{
		{"HTML", page(200, "text/html", good("")), introspect.ReasonFailed},
		{"no type", page(200, "", good("")), introspect.ReasonFailed},
		{"a JWT where none is wanted", page(200, "application/token-introspection+jwt", "a.b.c"), introspect.ReasonFailed},
		{"two types", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json", "text/html"}
			_, _ = w.Write([]byte(good("")))
		}, introspect.ReasonFailed},
		{"401", page(401, "application/json", good("")), introspect.ReasonRefused},
		{"400", page(400, "application/json", good("")), introspect.ReasonRefused},
		{"500", page(500, "application/json", good("")), introspect.ReasonRefused},
		{"201", page(201, "application/json", good("")), introspect.ReasonRefused},
		{"429", page(429, "application/json", good("")), introspect.ReasonRefused},
		{"a huge body", page(200, "application/json", good(`,"x":"`+strings.Repeat("a", 1<<20)+`"`)), introspect.ReasonFailed},
		{"an endless body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 4096))); err != nil {
					return
				}
			}
		}, introspect.ReasonFailed},
		{"a cut connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, introspect.ReasonFailed},
	} {
		t.Run(r.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.server.set(r.answer)
			b.refused("tok", credential.ErrUnavailable, r.reason)
			if s := b.Status(); s[0].Failure == "" || !s[0].Failed.Equal(start) || !s[0].Answered.IsZero() {
				t.Errorf("status %+v", s)
			}
			b.server.json(good(""))
			b.allowed("tok")
			if s := b.Status(); s[0].Failure != "" || !s[0].Answered.Equal(start) {
				t.Errorf("status after an answer %+v", s)
			}
		})
	}
}

// A token goes where the operator said, and nowhere else.
func TestRedirectIsNotFollowed(t *testing.T) {
	b := newBench(t, nil)
	other := newServer(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		b.server.set(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		b.refused(fmt.Sprint("tok", status), credential.ErrUnavailable, introspect.ReasonRefused)
	}
	if n := other.asked.Load(); n != 0 {
		t.Errorf("the other server has %d tokens", n)
	}
}

func TestAssume(t *testing.T) {
	b := newBench(t, withIssuer)
	u, err := b.Snapshot().Assume(opaque, []byte(`{"client_id":"job","scope":"read"}`))
	if err != nil || u.Subject != "job" || !u.Service || u.IssuerURL != iss || len(u.Scopes) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	for _, bad := range []string{"", "[]", `{"sub":"a","sub":"b"}`, `{"sub":7}`, `{}`} {
		u, err := b.Snapshot().Assume(opaque, []byte(bad))
		if u != nil || !errors.Is(err, credential.ErrInvalid) {
			t.Errorf("%q: %v, %v", bad, u, err)
		}
	}
	u, err = b.Snapshot().Assume(policy.Name{Name: "gone"}, []byte(`{"sub":"a"}`))
	wantRefusal(t, u, err, credential.ErrUnavailable, token.ReasonIssuerConfig)
	b.asked(0)
}

func TestFormOfToken(t *testing.T) {
	b := newBench(t, nil)
	for _, raw := range []string{"", "=", "a b", "a\nb", "a,b", "ä", "a=b", "a\x00", "a&token=b", strings.Repeat("a", 16<<10+1)} {
		_, err := b.verify(raw)
		if !errors.Is(err, credential.ErrInvalid) {
			t.Errorf("%.20q: %v", raw, err)
		}
	}
	b.asked(0)
}
