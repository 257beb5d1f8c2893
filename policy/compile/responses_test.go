package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// answering is a mesh with one gateway and one route for shop.test, and more objects.
func answering(protocol, settings, more string) string {
	tls := ""
	if protocol == "HTTPS" {
		tls = ", tls: {certificateRefs: [{group: credence.mesh, kind: Certificate, name: edge}]}"
	}
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: a.test, development: true}
---
apiVersion: credence.mesh/v1alpha1
kind: Certificate
metadata: {name: edge}
spec: {selfSigned: {hosts: [shop.test]}}
---
apiVersion: credence.mesh/v1alpha1
kind: GatewaySettings
metadata: {name: edge}
spec: {%s}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: machines}
spec: {clientCertificates: {caFile: /ca.pem}}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: web}
spec: {selectors: {unix: {uid: 7}}, ports: [{name: http, port: 80, inbound: "127.0.0.1:20001"}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  infrastructure: {parametersRef: {group: credence.mesh, kind: GatewaySettings, name: edge}}
  listeners: [{name: front, port: 80, protocol: %s%s}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.test]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{group: credence.mesh, kind: Workload, name: web, port: 80}]
---
%s`, settings, protocol, tls, more)
}

func saying(name, kind, target, spec string) string {
	group := "gateway.networking.k8s.io"
	if kind == "Mesh" {
		group = "credence.mesh"
	}
	return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %s}
spec:
  targetRefs: [{group: %s, kind: %s, name: %s}]
  rules: [{name: all}]
%s---
`, name, group, kind, target, spec)
}

// about are the diagnostics with the code.
func about(lines []string, code string) []string {
	out := []string{}
	for _, l := range lines {
		if strings.Contains(l, "["+code+"]") {
			out = append(out, l)
		}
	}
	return out
}

// What policies say of requests and answers is joined from the outermost level to the innermost, which wins by name; two on one target that
// differ are told, and the first counts.
func TestAnswersAreJoined(t *testing.T) {
	set, lines := compiled(t, answering("HTTP", "", saying("outer", "Gateway", "edge", `  upstream:
    credential: forward
    headers: [{name: X-User, claim: [sub]}, {name: x-mail, claim: [email]}]
    queryParameters: [{name: t, field: subject}]
  responses:
    realm: edge
    forbidden: {status: 451}
`)+saying("a", "HTTPRoute", "web", `  upstream:
    headers: [{name: x-user, pointer: /preferred}]
    metadata: [{name: groups, field: groups}]
  responses: {realm: shop, unauthenticated: {status: 418, headers: [{name: X-B, value: b}, {name: X-A, value: a}]}}
`)+saying("b", "HTTPRoute", "web", `  upstream: {headers: [{name: x-user, claim: [name]}, {name: x-b, field: client}]}
  responses: {realm: shop}
`)))
	access := set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[0].Access
	wantUp := &policy.Upstream{
		Forward: true,
		Headers: []policy.ClaimOutput{{Name: "x-b", Field: "client"}, {Name: "x-mail", Path: []string{"email"}}, {Name: "x-user", Path: []string{"preferred"}}},
		Query:   []policy.ClaimOutput{{Name: "t", Field: "subject"}}, Metadata: []policy.ClaimOutput{{Name: "groups", Field: "groups"}},
	}
	if diff := cmp.Diff(wantUp, access.Upstream); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
	wantAnswers := &policy.Responses{
		Realm: "shop", Forbidden: &policy.Response{Status: 451},
		Unauthenticated: &policy.Response{Status: 418, Headers: []policy.NameValue{{Name: "x-a", Value: "a"}, {Name: "x-b", Value: "b"}}},
	}
	if diff := cmp.Diff(wantAnswers, access.Responses); diff != "" {
		t.Errorf("responses (-want +got):\n%s", diff)
	}
	if got := about(lines, "policies-differ"); len(got) != 1 || !strings.Contains(got[0], "default/a and AuthPolicy default/b") || !strings.Contains(got[0], "x-user") {
		t.Errorf("diagnostics %q", lines)
	}
}

// Headers that Check may not touch carry no claim, and it is told: nothing is left out in silence.
func TestClaimsInReservedHeaders(t *testing.T) {
	for _, name := range []string{"host", "X-Credence-Subject", "txn-token", "authorization", "cookie", "x-forwarded-for", "content-length", "x_user"} {
		set, lines := compiled(t, answering("HTTP", "", saying("p", "HTTPRoute", "web", "  upstream: {headers: [{name: "+name+", claim: [sub]}]}\n")))
		if up := set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[0].Access.Upstream; up != nil || len(about(lines, "header-reserved")) != 1 {
			t.Errorf("%s: %v, %q", name, up, lines)
		}
	}
}

// The metadata of a resource is served on the hosts where challenges name it; where it would be another's, they do not.
func TestDocuments(t *testing.T) {
	resource := func(id string) string {
		return "  responses: {resource: {identifier: " + id + ", scopes: [b, a, b]}}\n"
	}
	const link = "https://shop.test/.well-known/oauth-protected-resource"
	for _, c := range []struct {
		identifier, link, path, code string
	}{
		{"https://shop.test", link, "/.well-known/oauth-protected-resource", ""},
		{"https://shop.test/", link, "/.well-known/oauth-protected-resource", ""},
		{"https://shop.test/a/b", link + "/a/b", "/.well-known/oauth-protected-resource/a/b", ""},
		{"https://other.test/a", "", "", "resource-elsewhere"},
	} {
		set, lines := compiled(t, answering("HTTP", "", saying("p", "HTTPRoute", "web", resource(c.identifier))))
		vh := set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0]
		got := ""
		if r := vh.Routes[0].Access.Responses; r != nil {
			got = r.Resource
		}
		if got != c.link || (len(vh.Documents) == 1) != (c.path != "") || c.code != "" && len(about(lines, c.code)) == 0 {
			t.Errorf("%s: %q, %v, %q", c.identifier, got, vh.Documents, lines)
		}
		if c.path == "" || len(vh.Documents) != 1 {
			continue
		}
		want := policy.Document{Path: c.path, ContentType: "application/json", Body: `{"resource":"` + c.identifier + `","scopes_supported":["a","b"],"bearer_methods_supported":["header"]}`}
		if diff := cmp.Diff(want, vh.Documents[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.identifier, diff)
		}
	}
	_, lines := compiled(t, answering("HTTP", "", saying("p", "HTTPRoute", "web", resource("https://shop.test"))+saying("q", "Gateway", "edge", resource("https://shop.test/"))))
	if len(about(lines, "resource-conflict")) != 1 {
		t.Errorf("two resources of one URL: %q", lines)
	}
}

// Certificates that are accepted where nobody is asked for one, and settings that ask nobody, are told.
func TestClientCertificatesNotAsked(t *testing.T) {
	accepts := saying("p", "HTTPRoute", "web", "  authentication: {clientCertificates: [machines]}\n")
	none := saying("p", "HTTPRoute", "web", "")
	const asks = "clientCertificates: {caFile: /ca.pem}"
	for _, c := range []struct {
		name, protocol, settings, policy string
		want                             []string
	}{
		{"asked", "HTTPS", asks, accepts, nil},
		{"asked, nobody accepts", "HTTPS", asks, none, nil},
		{"not asked", "HTTPS", "", accepts, []string{"its gateway has no clientCertificates"}},
		{"over HTTP", "HTTP", asks, accepts, []string{"no HTTPS listener", "it is not HTTPS"}},
		{"HTTP, not asked", "HTTP", "", accepts, []string{"its gateway has no clientCertificates"}},
		{"HTTP, nobody accepts", "HTTP", "", none, nil},
	} {
		_, lines := compiled(t, answering(c.protocol, c.settings, c.policy))
		got := about(lines, "client-certificates-not-asked")
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", c.name, lines)
			continue
		}
		for i, part := range c.want {
			if !strings.Contains(got[i], part) {
				t.Errorf("%s: %q does not say %s", c.name, got[i], part)
			}
		}
	}
	_, ds := compile.Compile(compile.Input{Objects: objects(t, "in.yaml", answering("HTTP", "", accepts)), GatewayPeers: true})
	for _, d := range ds {
		if d.Code == "client-certificates-not-asked" {
			t.Errorf("another control plane's gateway: %v", d)
		}
	}
}
