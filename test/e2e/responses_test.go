//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// echoed is a request as the application received it.
type echoed struct {
	Target string
	Header http.Header
}

// echoRequests serves what it receives on 127.0.0.1:port.
func echoRequests(t *testing.T, port int) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := json.Marshal(echoed{r.RequestURI, r.Header})
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(data)
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
}

// claimed introspects tokens: each is the base64url of further members of its own answer.
func claimed(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		more, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.PostFormValue("token"), "t"))
		w.Header().Set("Content-Type", "application/json")
		if err != nil || !bytes.HasPrefix(more, []byte(",")) {
			_, _ = io.WriteString(w, `{"active":false}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"active":true,"aud":"%s","exp":%d,"client_id":"web","iss":"https://issuer.example"%s}`, audience, time.Now().Add(time.Hour).Unix(), more)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// tokenOf is the token that claimed answers with members; each begins with a comma.
func tokenOf(members string) string {
	return "t" + base64.RawURLEncoding.EncodeToString([]byte(members))
}

type answered struct {
	*site
	env *testenv.Env
}

// answersSite has routes with what policies say of requests that pass and of answers to those that do not.
func answersSite(t *testing.T) *answered {
	t.Helper()
	s, m := answersManifests(t)
	e := testenv.Start(t, testenv.Options{Manifests: m})
	for _, d := range e.Status().Diagnostics {
		if d.Severity == "error" {
			t.Fatalf("%+v", d)
		}
	}
	return &answered{s, e}
}

func answersManifests(t *testing.T) (*site, map[string]string) {
	t.Helper()
	ports := testport.Free(t, 5)
	s := &site{front: ports[0], issuer: ports[1], workloads: map[string]workload{"lobby": {port: ports[2], inbound: ports[3], outbound: ports[4], path: "/nowhere/lobby"}}}
	echoRequests(t, ports[2])
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	objects := fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: opaque}
spec:
  issuer: https://issuer.example
  audiences: [%s]
  introspection: {url: %s/introspect, clientID: credence, clientSecretFile: %s, cacheFor: 30s}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: people}
spec:
  basic: {realm: "people of e2e", users: [{name: alice, hash: '%s'}]}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: keys}
spec:
  apiKeys: {keys: [{sha256: %s, subject: robot}]}
`, audience, claimed(t), secret, hash, keyHash)
	route := func(name, spec string) string {
		return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: plain}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /%[1]s}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: lobby, port: %[2]d}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %[1]s}]
%[3]s`, name, ports[2], spec)
	}
	m := s.manifests(
		route("claims", claimsPolicy), route("plain", tokenPolicy), route("own", ownPolicy), route("kinds", kindsPolicy),
		route("forwarded", forwardedPolicy), route("resource", resourcePolicy), route("stepup", stepUpPolicy),
	)
	m["lobby.yaml"] = strings.Replace(m["lobby.yaml"], "  authentication: {issuers: [dev]}\n", "", 1)
	m["objects.yaml"] = objects
	return s, m
}

// queryKey is an API key that another system has made; keyHash is its SHA-256.
const (
	queryKey = "legacy-key-of-another-system-0123456789abcdef"
	keyHash  = "929829dbc39e080f9fe5f91b476287eaedc73ecb1b163b55f350627a89e03e37"
)

const (
	claimsPolicy = `  authentication: {issuers: [opaque]}
  rules:
  - {name: users}
  - {name: all, authentication: [anonymous]}
  upstream:
    headers:
    - {name: X-User-Email, claim: [email]}
    - {name: X-Teams, pointer: /org/teams}
    - {name: x-who, field: subject}
    queryParameters:
    - {name: tenant, claim: [tenant]}
    - {name: user_id, field: subject}
`
	tokenPolicy = `  authentication: {issuers: [opaque]}
  rules:
  - {name: users, require: {scopes: {allOf: [orders]}}}
`
	ownPolicy = `  authentication: {issuers: [opaque]}
  rules:
  - {name: users, require: {scopes: {allOf: ["<b>'orders'"]}}}
  responses:
    realm: shop
    unauthenticated:
      status: 418
      headers: [{name: x-help, value: ask}]
      contentType: text/html; charset=utf-8
      body: "<p>{message} {decision} {other}</p>"
    forbidden: {contentType: application/json, body: '{"m":"{message}","d":"{decision}","r":"{reason}"}', status: 451}
`
	kindsPolicy = `  authentication: {issuers: [opaque], basic: [people], apiKeys: [{credentials: keys, header: x-api-key, query: key}]}
  rules:
  - {name: users}
`
	forwardedPolicy = `  authentication: {basic: [people]}
  rules:
  - {name: users}
  upstream: {credential: forward}
`
	resourcePolicy = `  authentication: {issuers: [opaque]}
  rules:
  - {name: users, require: {scopes: {allOf: [orders]}}}
  responses:
    resource: {identifier: "https://any.example/resource", name: Orders}
`
)

func (s *answered) do(t *testing.T, method, path string, headers ...string) testenv.Reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.frontAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "any.example"
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return testenv.Reply{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
}

func (s *answered) received(t *testing.T, path string, headers ...string) echoed {
	t.Helper()
	got := s.do(t, "GET", path, headers...)
	var e echoed
	if err := json.Unmarshal([]byte(got.Body), &e); err != nil || got.Status != 200 {
		t.Fatalf("%s: %d %s", path, got.Status, got.Body)
	}
	return e
}

// TestResponses: what policies say of the requests that pass and of the answers to those that do not, on real Envoy.
func TestResponses(t *testing.T) {
	t.Parallel()
	s := answersSite(t)
	t.Run("claims", s.claims)
	t.Run("credential", s.credential)
	t.Run("problem", s.problem)
	t.Run("page", s.page)
	t.Run("own", s.own)
	t.Run("challenges", s.challenges)
	t.Run("gRPC", s.rpcDetails)
	t.Run("resource", s.resource)
	t.Run("step-up", s.stepUp)
	t.Run("too many", s.tooMany)
	t.Run("key in the query, and what is logged", s.keyInQuery)
}

// An upstream sees the claims, whatever they hold, and never a client's copy of the headers and parameters that carry them.
func (s *answered) claims(t *testing.T) {
	forged := []string{"X-User-Email", "mallory@evil", "X-Teams", "root", "x-who", "root", "X.User.Email", "root", "X_User_Email", "root"}
	sees := func(e echoed, want map[string]string, target string) {
		t.Helper()
		got := map[string]string{}
		for name, values := range e.Header {
			if n := strings.ToLower(name); strings.Contains(n, "email") || n == "x-teams" || n == "x-who" || strings.HasPrefix(n, "x-evil") {
				got[n] = strings.Join(values, "|")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		if e.Target != target {
			t.Errorf("target %s, want %s", e.Target, target)
		}
	}
	auth := func(members string) []string {
		return append([]string{"Authorization", "Bearer " + tokenOf(members)}, forged...)
	}
	sees(s.received(t, "/claims?tenant=evil&x=1&%74enant=evil&user.id=0", auth(`,"sub":"alice","email":"a@b.c","org":{"teams":["blue","re,d"]},"tenant":"a&b=c#d%e\nü+ f"`)...),
		map[string]string{"x-user-email": "a@b.c", "x-teams": "blue,re%2Cd", "x-who": "alice"}, "/claims?tenant=a%26b%3Dc%23d%25e%0A%C3%BC%2B%20f&user_id=alice&x=1")
	sees(s.received(t, "/claims", auth(`,"sub":"alice","email":"x\r\nx-evil: 1","org":{"teams":[]}`)...),
		map[string]string{"x-user-email": "x%0D%0Ax-evil:%201", "x-who": "alice"}, "/claims?user_id=alice")
	sees(s.received(t, "/claims", auth(`,"sub":"alice","email":{"a":1},"org":{"teams":[["a"]]}`)...),
		map[string]string{"x-who": "alice"}, "/claims?user_id=alice")
	sees(s.received(t, "/claims?tenant=evil&user_id=root&y=2", forged...), map[string]string{}, "/claims?y=2")
	if got := s.do(t, "GET", "/claims", auth(`,"sub":"alice","email":"`+strings.Repeat("ü", 1500)+`"`)...); got.Status != 403 || !strings.Contains(got.Body, "claim_too_long") {
		t.Errorf("a claim that is too long: %d %s", got.Status, got.Body)
	}
}

// The credential that came does not reach the service, unless the policy forwards it.
func (s *answered) credential(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:open sesame"))
	if got := s.received(t, "/kinds", "Authorization", basic); got.Header.Get("Authorization") != "" {
		t.Errorf("received %v", got.Header)
	}
	if got := s.received(t, "/forwarded", "Authorization", basic); got.Header.Get("Authorization") != basic {
		t.Errorf("received %v", got.Header)
	}
}

func (s *answered) problem(t *testing.T) {
	got := s.do(t, "GET", "/plain", "Authorization", "Bearer "+tokenOf(`,"sub":"alice"`), "Accept", "*/*")
	var body map[string]any
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
		t.Fatalf("%s: %v", got.Body, err)
	}
	id := got.Header.Get("X-Credence-Decision")
	want := map[string]any{
		"type": "about:blank", "title": "Forbidden", "status": 403.0, "detail": "the token lacks a scope: orders", "instance": "urn:credence:decision:" + id,
		"error": "insufficient_scope", "reason": "insufficient_scope", "message": "the token lacks a scope: orders", "scope": "orders", "decision": id,
	}
	if diff := cmp.Diff(want, body); diff != "" || got.Status != 403 || id == "" || got.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v (-want +got):\n%s", got.Status, got.Header, diff)
	}
}

func (s *answered) page(t *testing.T) {
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for accept, want := range map[string]string{
		browser: "text/html; charset=utf-8", "text/html": "text/html; charset=utf-8", "TEXT/HTML;level=1": "text/html; charset=utf-8",
		"*/*": "application/problem+json", "text/html;q=0.1, application/json": "application/problem+json", "text/html, application/json": "application/problem+json",
		"text/html;q=0": "application/problem+json", "text/html;q=2": "application/problem+json", "text/*, */*;q=0.1": "text/html; charset=utf-8", "": "application/problem+json",
	} {
		got := s.do(t, "GET", "/plain", "Accept", accept)
		if got.Status != 401 || got.Header.Get("Content-Type") != want {
			t.Errorf("%q: %d %s, want %s", accept, got.Status, got.Header.Get("Content-Type"), want)
		}
		if id := got.Header.Get("X-Credence-Decision"); id == "" || !strings.Contains(got.Body, id) {
			t.Errorf("%q: no decision id in %s", accept, got.Body)
		}
		if page := strings.HasPrefix(got.Body, "<!doctype html>"); page != strings.HasPrefix(want, "text/html") || page != (got.Header.Get("Content-Security-Policy") != "") {
			t.Errorf("%q: %s", accept, got.Body)
		}
	}
}

// Status, headers and body of the policy, with what it names escaped for the type.
func (s *answered) own(t *testing.T) {
	got := s.do(t, "GET", "/own")
	id := got.Header.Get("X-Credence-Decision")
	if want := "<p>a token is needed: Authorization: Bearer TOKEN " + id + " {other}</p>"; got.Status != 418 || got.Body != want || got.Header.Get("X-Help") != "ask" ||
		got.Header.Get("Content-Type") != "text/html; charset=utf-8" || got.Header.Get("Www-Authenticate") != `Bearer realm="shop"` {
		t.Errorf("%d %v %s", got.Status, got.Header, got.Body)
	}
	got = s.do(t, "GET", "/own", "Authorization", "Bearer "+tokenOf(`,"sub":"alice"`))
	var body struct{ M, D, R string }
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil || got.Status != 451 || body.R != "insufficient_scope" || body.D != got.Header.Get("X-Credence-Decision") {
		t.Errorf("%d %s: %v", got.Status, got.Body, err)
	}
}

// Several methods give several challenges, each a header of its own.
func (s *answered) challenges(t *testing.T) {
	for _, c := range []struct {
		authorization string
		want          []string
	}{
		{"", []string{`Bearer realm="credence"`, `Basic realm="people of e2e", charset="UTF-8"`, `ApiKey realm="credence", header="x-api-key"`, `ApiKey realm="credence", query="key"`}},
		{"Bearer nobody", []string{
			`Bearer realm="credence", error="invalid_token", error_description="the token is not valid here"`, `Basic realm="people of e2e", charset="UTF-8"`,
			`ApiKey realm="credence", header="x-api-key"`, `ApiKey realm="credence", query="key"`,
		}},
	} {
		var headers []string
		if c.authorization != "" {
			headers = []string{"Authorization", c.authorization}
		}
		got := s.do(t, "GET", "/kinds", headers...)
		if diff := cmp.Diff(c.want, got.Header.Values("Www-Authenticate")); diff != "" || got.Status != 401 {
			t.Errorf("%q: %d (-want +got):\n%s", c.authorization, got.Status, diff)
		}
	}
}

// A refused call has its reason, decision and scope in grpc-status-details-bin.
func (s *answered) rpcDetails(t *testing.T) {
	got := s.do(t, "POST", "/plain", "Authorization", "Bearer "+tokenOf(`,"sub":"alice"`), "Content-Type", "application/grpc")
	data, err := base64.RawStdEncoding.DecodeString(got.Header.Get("Grpc-Status-Details-Bin"))
	if err != nil {
		t.Fatal(err)
	}
	var status rpcstatus.Status
	info := &errdetails.ErrorInfo{}
	if err := proto.Unmarshal(data, &status); err != nil || len(status.GetDetails()) != 1 {
		t.Fatalf("%v: %v", got.Header, err)
	}
	if err := status.GetDetails()[0].UnmarshalTo(info); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"decision": got.Header.Get("X-Credence-Decision"), "scope": "orders"}
	if diff := cmp.Diff(want, info.GetMetadata()); diff != "" || got.Status != 200 || got.Header.Get("Grpc-Status") != "7" || info.GetReason() != "INSUFFICIENT_SCOPE" {
		t.Errorf("%d %v %v", got.Status, got.Header, info)
	}
}

// Everybody may read the metadata of a protected resource, and challenges name it (RFC 9728).
func (s *answered) resource(t *testing.T) {
	const path = "/.well-known/oauth-protected-resource/resource"
	got := s.do(t, "GET", path)
	want := `{"resource":"https://any.example/resource","authorization_servers":["https://issuer.example"],"scopes_supported":["orders"],"bearer_methods_supported":["header"],"resource_name":"Orders"}`
	if got.Status != 200 || got.Body != want || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v %s", got.Status, got.Header, got.Body)
	}
	if got := s.do(t, "HEAD", path); got.Status != 200 || got.Body != "" {
		t.Errorf("HEAD: %d %q", got.Status, got.Body)
	}
	for _, c := range []struct{ method, path string }{{"POST", path}, {"GET", path + "/"}, {"GET", path + "/x"}, {"GET", "/.well-known/oauth-protected-resource"}} {
		if got := s.do(t, c.method, c.path); got.Status == 200 {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.Status, got.Body)
		}
	}
	link := `resource_metadata="https://any.example` + path + `"`
	if got := s.do(t, "GET", "/resource").Header.Get("Www-Authenticate"); got != `Bearer realm="credence", `+link {
		t.Errorf("challenge %s", got)
	}
	if got := s.do(t, "GET", "/resource", "Authorization", "Bearer nobody").Header.Get("Www-Authenticate"); !strings.HasSuffix(got, link) {
		t.Errorf("challenge %s", got)
	}
}
