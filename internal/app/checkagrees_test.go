package app_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/devissuer"
)

// pick is one of several.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// randomRule is one rule of a policy, in YAML's flow style.
func randomRule(r *rand.Rand, i int) string {
	parts := []string{fmt.Sprintf("name: r%d", i)}
	deny := r.IntN(8) == 0
	if deny {
		parts = append(parts, "action: deny")
	}
	if r.IntN(12) == 0 {
		parts = append(parts, "mode: audit")
	}
	if !deny && r.IntN(3) == 0 {
		parts = append(parts, "authentication: [anonymous]")
	}
	var to []string
	if r.IntN(2) == 0 {
		to = append(to, "methods: ["+pick(r, "GET", "POST", "GET, PUT")+"]")
	}
	if r.IntN(3) > 0 {
		to = append(to, `paths: ["`+pick(r, "/a", "/a/*", "/b/c", "/*", "/a/b/")+`"]`)
	}
	if r.IntN(4) == 0 {
		to = append(to, `hosts: ["`+pick(r, "shop.test", "*.test", "other.test")+`"]`)
	}
	if len(to) > 0 {
		parts = append(parts, "to: [{"+strings.Join(to, ", ")+"}]")
	}
	if !strings.Contains(strings.Join(parts, " "), "anonymous") && r.IntN(2) == 0 {
		parts = append(parts, "require: {"+pick(r, "scopes: {allOf: [read]}", "scopes: {anyOf: [write, admin]}", `claims: [{path: [tier], anyOf: [gold, "7"]}]`,
			"principal: user", "principal: service")+"}")
	}
	return "    - {" + strings.Join(parts, ", ") + "}\n"
}

// randomMesh is a mesh with policies on its Gateway, on routes and on a rule of one.
func randomMesh(r *rand.Rand, jwks string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: beside}
spec: {trustDomain: beside.test}
---
apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: one}
spec: {issuer: "http://127.0.0.1:9", audiences: ["https://shop.test"], keys: {inline: '%s'}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: credence, listeners: [{name: web, port: 80, protocol: HTTP}]}
`, jwks)
	for _, name := range []string{"x", "y"} {
		fmt.Fprintf(&b, `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{name: edge}]
  hostnames: [%s]
  rules:
    - {name: one, matches: [{path: {type: PathPrefix, value: "%s"}}]}
    - {name: two, matches: [{path: {type: Exact, value: "%s"}, method: POST}]}
`, name, map[string]string{"x": "shop.test", "y": `"*.test"`}[name], pick(r, "/", "/a", "/b"), pick(r, "/a", "/b/c"))
	}
	for i := range 2 + r.IntN(4) {
		kind, section := pick(r, "Gateway, name: edge", "HTTPRoute, name: x", "HTTPRoute, name: y"), ""
		if strings.HasPrefix(kind, "HTTPRoute") && r.IntN(3) == 0 {
			section = ", sectionName: two"
		}
		fmt.Fprintf(&b, `---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: p%d}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: %s%s}]
  authentication: {issuers: [one]}
  rules:
`, i, kind, section)
		for j := range 1 + r.IntN(5) {
			b.WriteString(randomRule(r, j))
		}
	}
	return b.String()
}

// TestCheckAgreesWithTheServer asks 10,000 generated requests of `credence check` and of the Check server itself, over gRPC: they say the
// same, with the same reason and status.
func TestCheckAgreesWithTheServer(t *testing.T) {
	const meshes, requests = 20, 500
	r := rand.New(rand.NewPCG(5, 7)) // the same requests each time
	issuer, err := devissuer.Open(t.TempDir(), "http://127.0.0.1:9")
	must(t, err)
	tokens := []string{"", "not-a-token"}
	for range 40 {
		claims := map[string]any{}
		if r.IntN(2) == 0 {
			claims["tier"] = pick[any](r, "gold", 7, []any{"silver", "gold"}, true)
		}
		if r.IntN(4) == 0 {
			claims["client_id"] = "alice"
		}
		token, err := issuer.Mint(devissuer.Request{
			Subject: "alice", Audience: []string{pick(r, "https://shop.test", "https://shop.test", "https://other.test")},
			Scopes: strings.Fields(pick(r, "", "read", "write", "read admin")), TTL: 3600e9, Claims: claims,
		})
		must(t, err)
		tokens = append(tokens, token)
	}
	allowed, asked := 0, 0
	for range meshes {
		var socket string
		b, err := startAuthz(t, func(o *app.AuthzOptions) {
			socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
			o.Socket.Path = socket
		})
		must(t, err)
		mesh := randomMesh(r, string(issuer.JWKS()))
		b.write("mesh.yaml", mesh)
		b.await("the mesh", func(s admin.Status) bool { return s.Generation == 2 })
		checker, err := app.NewChecker(t.Context(), b.dir)
		must(t, err)
		server := dial(t, "unix:"+socket, insecure.NewCredentials())
		for range requests {
			asked++
			q := app.Question{
				Method: pick(r, "GET", "POST", "PUT"), Token: pick(r, tokens...),
				URL: "http://" + pick(r, "shop.test", "x.test", "other.test", "nowhere.example") + pick(r, "/", "/a", "/a/b", "/a/b/", "/b/c", "/c", "/a?x=1", "/a/%2e%2e/b", "/a;b"),
			}
			reason, status := server.ask(t, q)
			d, err := checker.Ask(t.Context(), q)
			switch {
			case errors.Is(err, app.ErrCannotTell):
				// It has no route: the Check server says so too.
				if reason != "route_unknown" && reason != "path_dot_segment" && reason != "path_parameter" {
					t.Fatalf("check: %v; the server: %s %d for %s %s\n%s", err, reason, status, q.Method, q.URL, mesh)
				}
			case err != nil:
				t.Fatal(err)
			default:
				said, _, _ := strings.Cut(d.Reason, ":")
				if said != reason || d.Status != status {
					t.Fatalf("check: %s %d; the server: %s %d for %s %s\n%s", said, d.Status, reason, status, q.Method, q.URL, mesh)
				}
				if d.Allowed {
					allowed++
				}
			}
		}
		b.stop()
		must(t, <-b.ended)
		close(b.ended)
	}
	t.Logf("%d requests, %d of them allowed", asked, allowed)
	if allowed < asked/20 || allowed > asked/2 {
		t.Errorf("%d of %d are allowed: the requests say little", allowed, asked)
	}
}

// ask is the server's reason and HTTP status.
func (a *asking) ask(t *testing.T, q app.Question) (reason string, status int) {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(q.URL, "http://"), "/")
	http := &authv3.AttributeContext_HttpRequest{Method: q.Method, Scheme: "http", Host: host, Path: "/" + path, HeaderMap: &corev3.HeaderMap{}}
	if q.Token != "" {
		http.HeaderMap.Headers = []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer " + q.Token)}}
	}
	resp, err := a.client.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: http}}})
	must(t, err)
	if resp.GetOkResponse() != nil {
		return "allowed", 200
	}
	denied := resp.GetDeniedResponse()
	if denied == nil {
		denied = resp.GetErrorResponse()
	}
	return resp.GetStatus().GetMessage(), int(denied.GetStatus().GetCode())
}
