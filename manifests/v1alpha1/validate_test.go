package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// findings renders what Validate says of spec: "path code", warnings in brackets.
func findings(t *testing.T, obj any, spec string) []string {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte("spec: "+spec), obj); err != nil {
		t.Fatal(err)
	}
	v1alpha1.SetDefaults(obj)
	out := []string{}
	for _, f := range v1alpha1.Validate(obj) {
		s := strings.TrimPrefix(f.Path, "spec.") + " " + f.Code
		if f.Warning {
			s = "(" + s + ")"
		}
		if !strings.HasPrefix(f.Message, f.Path) {
			t.Errorf("%q does not begin with its path %s", f.Message, f.Path)
		}
		out = append(out, s)
	}
	return out
}

type row struct {
	spec string
	want []string
}

func check(t *testing.T, empty func() any, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.spec, func(t *testing.T) {
			if diff := cmp.Diff(append([]string{}, r.want...), findings(t, empty(), r.spec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMesh(t *testing.T) {
	check(t, func() any { return new(v1alpha1.Mesh) }, []row{
		{"{trustDomain: a.b_c-1}", nil},
		{"{}", []string{"trustDomain required"}},
		{"{trustDomain: 'spiffe://a'}", []string{"trustDomain invalid-value"}},
		{"{trustDomain: A}", []string{"trustDomain invalid-value"}},
		{"{trustDomain: 'a:1'}", []string{"trustDomain invalid-value"}},
		{"{trustDomain: " + strings.Repeat("a", 255) + "}", nil},
		{"{trustDomain: " + strings.Repeat("a", 256) + "}", []string{"trustDomain invalid-value"}},
		{"{trustDomain: a, svid: {ttl: 59s}}", []string{"svid.ttl out-of-range"}},
		{"{trustDomain: a, development: true, svid: {ttl: 10s}}", nil},
		{"{trustDomain: a, development: true, svid: {ttl: 9s}}", []string{"svid.ttl out-of-range"}},
		{"{trustDomain: a, svid: {ttl: 24h}}", nil},
		{"{trustDomain: a, svid: {ttl: 24h1s}}", []string{"svid.ttl out-of-range"}},
		{"{trustDomain: a, ca: {ttl: 6h}}", nil},
		{"{trustDomain: a, ca: {ttl: 5h}}", []string{"ca.ttl out-of-range"}},
		{"{trustDomain: a, ca: {ttl: -1h}}", []string{"ca.ttl out-of-range"}},
		{"{trustDomain: a, ports: {first: 0, last: 65536}}", []string{"ports.first out-of-range", "ports.last out-of-range"}},
		{"{trustDomain: a, ports: {first: 9, last: 8}}", []string{"ports.last out-of-range"}},
		{"{trustDomain: a, delegatedIDs: [{namespace: n, pathPrefix: /a/b}]}", nil},
		{"{trustDomain: a, delegatedIDs: [{namespace: Aa, pathPrefix: a}, {namespace: n, pathPrefix: ''}, {namespace: n, pathPrefix: /a/}]}", []string{
			"delegatedIDs[0].namespace invalid-name", "delegatedIDs[0].pathPrefix invalid-value",
			"delegatedIDs[1].pathPrefix invalid-value", "delegatedIDs[2].pathPrefix invalid-value",
		}},
	})
}

func TestWorkload(t *testing.T) {
	sha := strings.Repeat("0a", 32)
	check(t, func() any { return new(v1alpha1.Workload) }, []row{
		{"{selectors: {unix: {uid: 0, gid: 5, path: /x, sha256: " + sha + "}}}", nil},
		{"{selectors: {}}", []string{"selectors required"}},
		{"{selectors: {unix: {}}}", []string{"selectors required"}},
		{"{selectors: {unix: {uid: -1, gid: 65534}}}", []string{"selectors.unix.uid out-of-range", "selectors.unix.gid unsupported-value"}},
		{"{selectors: {unix: {uid: 65534}}}", []string{"selectors.unix.uid unsupported-value"}},
		{"{selectors: {unix: {uid: 4294967294}}}", nil},
		{"{selectors: {unix: {uid: 4294967295}}}", []string{"selectors.unix.uid out-of-range"}},
		{"{selectors: {unix: {sha256: " + strings.ToUpper(sha) + "}}}", []string{"selectors.unix.sha256 invalid-value"}},
		{"{selectors: {unix: {sha256: 0a}}}", []string{"selectors.unix.sha256 invalid-value"}},
		{"{selectors: {unix: {uid: 1}}, boundary: netns}", []string{"boundary unsupported-value"}},
		{"{selectors: {unix: {uid: 1}}, spiffeID: 'spiffe://a/b'}", nil},
		{"{selectors: {unix: {uid: 1}}, spiffeID: 'spiffe://a'}", []string{"spiffeID invalid-spiffe-id"}},
		{"{selectors: {unix: {uid: 1}}, spiffeID: 'spiffe://a/'}", []string{"spiffeID invalid-spiffe-id"}},
		{"{selectors: {unix: {uid: 1}}, spiffeID: 'SPIFFE://a/b'}", []string{"spiffeID invalid-spiffe-id"}},
		{"{selectors: {unix: {uid: 1}}, spiffeID: 'spiffe://a/b/../c'}", []string{"spiffeID invalid-spiffe-id"}},
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 80}, {name: a, port: 81, inbound: '[::1]:9'}]}", nil},
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 80}, {port: 80}]}", []string{"ports[1].name duplicate-value", "ports[1].port duplicate-value"}},
		{"{selectors: {unix: {uid: 1}}, ports: [{name: A, port: 0, protocol: TCP, inbound: 'localhost:1'}]}", []string{
			"ports[0].name invalid-name", "ports[0].port out-of-range", "ports[0].protocol unsupported-value", "ports[0].inbound invalid-value",
		}},
		{
			"{selectors: {unix: {uid: 1}}, ports: [{name: a, port: 1, inbound: '1.2.3.4:5'}, {name: b, port: 2, inbound: '1.2.3.4:5'}]}",
			[]string{"ports[1].inbound duplicate-value"},
		},
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 1, mtls: application}, {name: g, port: 2, mtls: application, protocol: GRPC}]}", nil},
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 1, mtls: both}]}", []string{"ports[0].mtls unsupported-value"}},
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 1, mtls: application, protocol: HTTP, paths: {mergeSlashes: false}}]}", []string{
			"ports[0].protocol unsupported-value", "ports[0].paths unsupported-value",
		}},
		{"{selectors: {unix: {uid: 1}}, boundary: none, sidecar: {outbound: '127.0.0.1:0'}}", []string{"sidecar.outbound invalid-value"}},
		{"{selectors: {unix: {uid: 1}}, sidecar: {outbound: '127.0.0.1:1'}}", []string{"sidecar.outbound unsupported-value"}},
	})
}

func TestCertificate(t *testing.T) {
	check(t, func() any { return new(v1alpha1.Certificate) }, []row{
		{"{files: {certificate: a, key: b}}", nil},
		{"{selfSigned: {}}", nil},
		{"{selfSigned: {hosts: [a.b, '*.a', '::1']}}", nil},
		{"{selfSigned: {hosts: [A, 'a:1']}}", []string{"selfSigned.hosts[0] invalid-value", "selfSigned.hosts[1] invalid-value"}},
		{"{}", []string{"spec one-of"}},
		{"{files: {certificate: a, key: b}, selfSigned: {}}", []string{"spec one-of"}},
		{"{files: {certificate: '', key: ''}}", []string{"files.certificate required", "files.key required"}},
	})
}

func TestTokenIssuer(t *testing.T) {
	with := func(more string) string { return "{issuer: i, audiences: [a], keys: {file: f}" + more + "}" }
	check(t, func() any { return new(v1alpha1.TokenIssuer) }, []row{
		{with(""), nil},
		{"{keys: {}}", []string{"issuer required", "audiences required", "keys one-of"}},
		{with(", algorithms: [RS384, PS512, ES384, EdDSA]"), nil},
		{with(", algorithms: [ES512]"), []string{"(algorithms[0] slow-algorithm)"}},
		{with(", algorithms: [HS256, none, hs512, NONE, ES256K, es256, RS256, RS256]"), []string{
			"algorithms[0] unsafe-algorithm", "algorithms[1] unsafe-algorithm", "algorithms[2] unsafe-algorithm", "algorithms[3] unsafe-algorithm",
			"algorithms[4] unsupported-value", "algorithms[5] unsupported-value", "algorithms[7] duplicate-value",
		}},
		{with(", leeway: 60s, expLeeway: 60s"), nil},
		{with(", leeway: 61s, expLeeway: -1s"), []string{"leeway out-of-range", "expLeeway out-of-range"}},
		{with(", maxLifetime: 0s"), []string{"maxLifetime out-of-range"}},
		{with(", profile: jwt"), []string{"profile unsupported-value"}},
		{`{issuer: i, audiences: [a], keys: {inline: '{"keys":[{"kty":"RSA"}]}'}}`, nil},
		{`{issuer: i, audiences: [a], keys: {inline: '{"keys":[]}'}}`, []string{"keys.inline invalid-jwks"}},
		{`{issuer: i, audiences: [a], keys: {inline: '{"keys":'}}`, []string{"keys.inline invalid-jwks"}},
		{`{issuer: i, audiences: [a], keys: {inline: '[]'}}`, []string{"keys.inline invalid-jwks"}},
		{"{issuer: i, audiences: [a], keys: {url: 'https://a/b', file: f}}", []string{"keys one-of"}},
		{"{issuer: i, audiences: [a], keys: {url: 'https://a/b'}}", nil},
		{"{issuer: i, audiences: [a], keys: {url: 'http://127.0.0.1:1/b'}}", nil},
		{"{issuer: i, audiences: [a], keys: {url: 'http://a/b'}}", []string{"keys.url invalid-value"}},
		{"{issuer: i, audiences: [a], keys: {url: 'https://u:p@a/b'}}", []string{"keys.url invalid-value"}},
		{"{issuer: i, audiences: [a], keys: {url: jwks}}", []string{"keys.url invalid-value"}},
		{"{issuer: 'http://127.0.0.1:80', audiences: [''], keys: {development: {}}}", []string{"audiences[0] required"}},
		{"{issuer: 'http://example.org:80', audiences: [a], keys: {development: {}}}", []string{"issuer invalid-value"}},
		{"{issuer: 'https://127.0.0.1:80', audiences: [a], keys: {development: {}}}", []string{"issuer invalid-value"}},
	})
}

func policy(users bool, rules string) string {
	authentication := ""
	if users {
		authentication = "authentication: {issuers: [i]}, "
	}
	return fmt.Sprintf("{targetRefs: [{group: credence.mesh, kind: Workload, name: w}], %srules: [%s]}", authentication, rules)
}

func TestAuthPolicy(t *testing.T) {
	check(t, func() any { return new(v1alpha1.AuthPolicy) }, []row{
		{"{}", []string{"targetRefs required", "rules required"}},
		{policy(false, ""), nil},
		{
			"{targetRefs: [{group: credence.mesh, kind: Gateway, name: w}, {kind: Service, name: w}, {group: credence.mesh, kind: Mesh, name: '', sectionName: a}], rules: []}",
			[]string{"targetRefs[0].group unsupported-value", "targetRefs[1].kind unsupported-value", "targetRefs[2].name required", "targetRefs[2].sectionName unsupported-value"},
		},
		{
			"{targetRefs: [{group: credence.mesh, kind: Mesh, name: w}], override: yep, authentication: {issuers: []}, rules: []}",
			[]string{"override unsupported-value", "authentication required"},
		},
		{
			"{targetRefs: [{group: credence.mesh, kind: Mesh, name: w}], authentication: {issuers: [a, a, A]}, rules: []}",
			[]string{"authentication.issuers[1] duplicate-value", "authentication.issuers[2] invalid-name"},
		},
		{policy(true, "{name: a}, {name: a}, {}"), []string{"rules[1].name duplicate-value", "rules[2].name required"}},
		{
			policy(true, "{name: a, action: permit, mode: warn, authentication: [none]}"),
			[]string{"rules[0].action unsupported-value", "rules[0].mode unsupported-value", "rules[0].authentication[0] unsupported-value"},
		},
		{policy(false, "{name: a}"), []string{"rules[0] allows-everybody"}},
		{policy(false, "{name: a, to: [{paths: [/a]}]}"), []string{"rules[0] allows-everybody"}},
		{policy(false, "{name: a, mode: audit}"), []string{"rules[0] allows-everybody"}},
		{policy(false, "{name: a, action: deny}, {name: b, authentication: [anonymous]}, {name: c, from: [{workload: w}]}"), nil},
		{policy(true, "{name: a, action: deny, authentication: [anonymous]}"), []string{"rules[0].authentication unsupported-value"}},
		{policy(true, "{name: a, authentication: [anonymous], require: {scopes: {anyOf: [s]}}}"), []string{"(rules[0].require require-of-anonymous)"}},
		{policy(false, "{name: a, from: [{workload: w}], require: {scopes: {anyOf: [s]}}}"), []string{"rules[0].require require-without-issuers"}},
		{
			policy(true, "{name: a, from: [{}, {workload: a, gateway: b}, {spiffeID: 'spiffe://a/b'}, {spiffeIDPrefix: 'spiffe://a/b'}, {gateway: g}]}"),
			[]string{"rules[0].from[0] one-of", "rules[0].from[1] one-of"},
		},
		{
			policy(true, "{name: a, from: [{spiffeID: 'spiffe://a'}, {spiffeIDPrefix: 'spiffe://a/*'}, {spiffeIDPrefix: 'spiffe://a/b/'}, {workload: A}]}"),
			[]string{
				"rules[0].from[0].spiffeID invalid-spiffe-id", "rules[0].from[1].spiffeIDPrefix invalid-spiffe-id",
				"rules[0].from[2].spiffeIDPrefix invalid-spiffe-id", "rules[0].from[3].workload invalid-name",
			},
		},
		{
			policy(true, "{name: a, to: [{}, {methods: [GET, get, 'a b', '*']}]}"),
			[]string{"rules[0].to[0] empty-value", "(rules[0].to[1].methods[1] lower-case-method)", "rules[0].to[1].methods[2] invalid-value", "rules[0].to[1].methods[3] invalid-value"},
		},
		{
			policy(true, "{name: a, to: [{hosts: [a.b, '*.a.b', 127.0.0.1, '::1', A, 'a:80', '*', 'a.*']}]}"),
			[]string{"rules[0].to[0].hosts[4] invalid-host", "rules[0].to[0].hosts[5] invalid-host", "rules[0].to[0].hosts[6] invalid-host", "rules[0].to[0].hosts[7] invalid-host"},
		},
		{policy(true, "{name: a, require: {}}"), []string{"rules[0].require empty-value"}},
		{policy(true, "{name: a, require: {scopes: {}, claims: [{}, {path: [''], anyOf: [x]}]}}"), []string{
			"rules[0].require.scopes empty-value", "rules[0].require.claims[0].path required", "rules[0].require.claims[0].anyOf required",
			"rules[0].require.claims[1].path[0] required",
		}},
		{policy(true, `{name: a, require: {scopes: {allOf: ['a:b', 'a b', ''], anyOf: ['a"', 'a\']}}}`), []string{
			"rules[0].require.scopes.allOf[1] invalid-scope", "rules[0].require.scopes.allOf[2] invalid-scope",
			"rules[0].require.scopes.anyOf[0] invalid-scope", "rules[0].require.scopes.anyOf[1] invalid-scope",
		}},
	})
}

func TestPathPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"/": true, "/*": true, "/a": true, "/a/b": true, "/a/*": true, "/a/": true, "/a.b/..c": true, "/ä": true, "/a b": true,
		"": false, "a": false, "*": false, "/a*": false, "/*/a": false, "/a/*/*": false, "/**": false, "//": false, "/a//b": false,
		"//*": false, "/.": false, "/..": false, "/../*": false, "/a/./b": false, "/a;b": false, "/%61": false, "/a?b": false, "/a#b": false,
		`/a\b`: false, "/a\x00": false, "/a\n": false,
	} {
		p := &v1alpha1.AuthPolicy{Spec: v1alpha1.AuthPolicySpec{
			TargetRefs: []v1alpha1.PolicyTarget{{Group: v1alpha1.Group, Kind: v1alpha1.KindMesh, Name: "m"}},
			Rules: []v1alpha1.PolicyRule{{
				Name: "r", Authentication: []string{"anonymous"}, To: []v1alpha1.RuleOperation{{Paths: []string{pattern}}},
			}},
		}}
		v1alpha1.SetDefaults(p)
		if found := v1alpha1.Validate(p); (len(found) == 0) != ok {
			t.Errorf("%q: %v", pattern, found)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		obj        any
		spec, want string
	}{
		{new(v1alpha1.Mesh), "{trustDomain: a}", "{trustDomain: a, ca: {ttl: 24h0m0s}, svid: {ttl: 1h0m0s}, ports: {first: 20000, last: 29999}}"},
		{new(v1alpha1.Mesh), "{trustDomain: a, svid: {ttl: 12h}}", "{trustDomain: a, ca: {ttl: 72h0m0s}, svid: {ttl: 12h0m0s}, ports: {first: 20000, last: 29999}}"},
		{new(v1alpha1.Workload), "{selectors: {}, ports: [{port: 1}]}", "{selectors: {}, boundary: user, ports: [{name: http, port: 1, protocol: HTTP, mtls: sidecar}]}"},
		{
			new(v1alpha1.Workload), "{selectors: {}, ports: [{port: 1, mtls: application}]}",
			"{selectors: {}, boundary: user, ports: [{name: http2, port: 1, protocol: HTTP2, mtls: application}]}",
		},
		{new(v1alpha1.Certificate), "{selfSigned: {}}", "{selfSigned: {hosts: [localhost, 127.0.0.1, '::1']}}"},
		{
			new(v1alpha1.TokenIssuer), "{issuer: i, audiences: [a], keys: {file: f}}",
			"{issuer: i, audiences: [a], keys: {file: f}, audienceFrom: aud, clientFrom: [azp, appid, cid, client_id], algorithms: [RS256, ES256, EdDSA], leeway: 30s, expLeeway: 0s, maxLifetime: 24h0m0s, profile: at+jwt}",
		},
		{
			new(v1alpha1.TokenIssuer), "{issuer: i, audiences: [a], keys: {file: f}, profile: legacy}",
			"{issuer: i, audiences: [a], keys: {file: f}, audienceFrom: aud, clientFrom: [azp, appid, cid, client_id], algorithms: [RS256, ES256, EdDSA], leeway: 30s, expLeeway: 0s, profile: legacy}",
		},
		{new(v1alpha1.AuthPolicy), "{targetRefs: [], rules: [{name: r}]}", "{targetRefs: [], rules: [{name: r, action: allow, mode: enforce}]}"},
	} {
		if err := yaml.UnmarshalStrict([]byte("spec: "+c.spec), c.obj); err != nil {
			t.Fatal(err)
		}
		v1alpha1.SetDefaults(c.obj)
		v1alpha1.SetDefaults(c.obj)
		text, err := yaml.Marshal(c.obj)
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		if err := yaml.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte("spec: "+c.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want["spec"], got["spec"]); diff != "" {
			t.Errorf("%T %s (-want +got):\n%s", c.obj, c.spec, diff)
		}
	}
}
