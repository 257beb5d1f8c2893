//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

const conditionRules = `  - name: own
    to: [{paths: ["/users/{id}"]}]
    require: {condition: user.subject == request.params.id}
  - name: admins
    to: [{paths: [/admin]}]
    require: {roles: {anyOf: [admin]}}
  - name: groups
    to: [{paths: [/groups]}]
    require: {groups: {allOf: [eu, staff]}}
  - name: tenants
    to: [{paths: [/tenant], headers: [{name: X-Tenant, anyOf: [blue]}]}]
  - name: mine
    to: [{paths: [/mine]}]
    require:
      condition: |
        request.headers["x-tenant"] == [user.claims.tenant] &&
          user.claims.tier >= 3 && request.query["q"] == ["1"]
  - name: strong
    to: [{paths: [/strong]}]
    require: {acr: [gold, silver]}
  - name: fresh
    to: [{paths: [/fresh]}]
    require: {maxAge: 10m}
  - name: open
    authentication: [anonymous]
    to: [{paths: ["/open/*"]}]
    require: {condition: request.host == "127.0.0.1" && request.segments.size() < 3}
  - name: no-blocked
    action: deny
    to: [{paths: ["/open/{what}", "/users/{what}"]}]
    require: {condition: 'request.params.what == "blocked" || ("role" in request.query && "root" in request.query["role"])'}
  - name: no-raw
    action: deny
    to: [{headers: [{name: x-role, anyOf: [root]}]}]
  - name: watch
    action: deny
    mode: audit
    to: [{paths: [/admin]}]
    require: {condition: '"admin" in user.roles'}
`

type conditionSite struct {
	*site
	env *testenv.Env
}

func newConditionSite(t *testing.T) *conditionSite {
	t.Helper()
	ports := testport.Free(t, 5)
	s := &site{front: ports[0], issuer: ports[1], workloads: map[string]workload{"lobby": {port: ports[2], inbound: ports[3], outbound: ports[4], path: "/nowhere/lobby"}}}
	echoRequests(t, ports[2])
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := s.manifests(fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: people}
spec:
  audiences: [%s]
  introspection: {url: %q, clientID: us, clientSecretFile: %q}
  roles: {from: [/realm_access/roles], names: {Shop-Admin: admin}}
  groups: {from: [/groups], separator: ","}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lobby}
spec:
  parentRefs: [{name: edge, sectionName: plain}]
  rules:
  - backendRefs: [{group: credence.mesh, kind: Workload, name: lobby, port: %d}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: conditions}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: lobby}]
  authentication: {issuers: [people]}
  rules:
%s`, audience, claimed(t), secret, ports[2], conditionRules))
	m["lobby.yaml"] = strings.Replace(m["lobby.yaml"], "  authentication: {issuers: [dev]}\n", "", 1)
	e := testenv.Start(t, testenv.Options{Manifests: m})
	for _, d := range e.Status().Diagnostics {
		if d.Severity == "error" {
			t.Fatalf("%+v", d)
		}
	}
	return &conditionSite{s, e}
}

// ask has the status and the challenge of GET target with headers, "Name: value" each.
func (s *conditionSite) ask(t *testing.T, target, token string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.frontAddr()+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := (&http.Client{Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("WWW-Authenticate")
}

// TestConditions: conditions, path variables, headers, mapped roles and groups, the sign-in and audit rules, each by what holds and by what
// does not.
func TestConditions(t *testing.T) {
	t.Parallel()
	s := newConditionSite(t)
	alice := tokenOf(`,"sub":"alice","tenant":"blue","tier":3,"realm_access":{"roles":["Shop-Admin","clerk"]},"groups":"eu,staff"`)
	bob := tokenOf(`,"sub":"bob","tenant":"red","tier":2.5,"realm_access":{"roles":["admin"]},"groups":"eu"`)
	now := time.Now().Unix()
	for _, tt := range []struct {
		name, target, token string
		headers             []string
		want                int
	}{
		{"a path variable is the subject", "/users/alice", alice, nil, 200},
		{"a path variable is another", "/users/alice", bob, nil, 403},
		{"no user", "/users/alice", "", nil, 401},
		{"a role by its issuer's word", "/admin", alice, nil, 200},
		{"our word in a token is no role", "/admin", bob, nil, 403},
		{"groups of one string", "/groups", alice, nil, 200},
		{"one group of two", "/groups", bob, nil, 403},
		{"a header", "/tenant", alice, []string{"X-Tenant: blue"}, 200},
		{"another value", "/tenant", alice, []string{"X-Tenant: red"}, 403},
		{"two lines of a header", "/tenant", alice, []string{"X-Tenant: blue", "X-Tenant: blue"}, 403},
		{"a list in a header", "/tenant", alice, []string{"X-Tenant: blue, red"}, 403},
		{"no header", "/tenant", alice, nil, 403},
		{"headers, claims and query", "/mine?q=1", alice, []string{"X-Tenant: blue"}, 200},
		{"a number is too small", "/mine?q=1", bob, []string{"X-Tenant: red"}, 403},
		{"a key that is not there", "/mine", alice, []string{"X-Tenant: blue"}, 403},
		{"nobody is needed", "/open/a", "", nil, 200},
		{"too long a path", "/open/a/b", "", nil, 403},
		{"denied by a variable", "/open/blocked", "", nil, 403},
		{"denied by a query", "/open/a?role=root", "", nil, 403},
		{"denied by a query that is read in two ways", "/open/a?x=1;role=root", "", nil, 403},
		{"denied by a header", "/open/a", "", []string{"X-Role: user, root"}, 403},
		{"denied by any line", "/open/a", "", []string{"X-Role: user", "X-Role: root"}, 403},
		{"strong", "/strong", tokenOf(`,"sub":"a","acr":"silver"`), nil, 200},
		{"weak", "/strong", tokenOf(`,"sub":"a","acr":"tin"`), nil, 401},
		{"fresh", "/fresh", tokenOf(fmt.Sprintf(`,"sub":"a","auth_time":%d`, now-60)), nil, 200},
		{"stale", "/fresh", tokenOf(fmt.Sprintf(`,"sub":"a","auth_time":%d`, now-3600)), nil, 401},
		{"unknown when", "/fresh", tokenOf(`,"sub":"a"`), nil, 401},
	} {
		if got, _ := s.ask(t, tt.target, tt.token, tt.headers...); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if _, challenge := s.ask(t, "/strong", tokenOf(`,"sub":"a","acr":"tin"`)); !strings.Contains(challenge, `acr_values="gold silver"`) {
		t.Errorf("the challenge of a weak sign-in: %s", challenge)
	}
	if _, challenge := s.ask(t, "/fresh", tokenOf(`,"sub":"a"`)); !strings.Contains(challenge, `max_age="600"`) {
		t.Errorf("the challenge of a stale sign-in: %s", challenge)
	}
	reply, err := testenv.Get(t.Context(), testenv.Request{Addr: s.env.Endpoints().Admin, Host: s.env.Endpoints().Admin, Path: "/metrics"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `credence_rule_audit_total{action="deny",policy="default/conditions",rule="watch"} 1`; !strings.Contains(reply.Body, want) {
		t.Errorf("/metrics has no %s", want)
	}
}

// TestConditionErrorsPointAtTheLine: a mistake in an expression is told at its own line and column, however YAML has it.
func TestConditionErrorsPointAtTheLine(t *testing.T) {
	t.Parallel()
	e := testenv.Start(t, testenv.Options{Manifests: newSite(t).manifests(`apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: bad}
spec:
  targetRefs: [{group: credence.mesh, kind: Mesh, name: e2e}]
  authentication: {issuers: [dev]}
  rules:
  - name: block
    require:
      condition: |
        user.subject == "a" &&
          request.metod == "GET"
  - name: quoted
    require: {condition: "user.subject == \"a\" && user.rolls.size() > 0"}
  - name: folded
    require:
      condition: >-
        user.subject == "a"
        && jwt.sub == "b"
`)})
	for _, want := range []string{":12:18", ":14:56", ":19:12"} {
		found := false
		for _, d := range e.Status().Diagnostics {
			found = found || d.Code == "condition" && strings.HasSuffix(d.Position, want)
		}
		if !found {
			t.Errorf("no diagnostic at %s: %+v", want, e.Status().Diagnostics)
		}
	}
}
