package decode_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests/decode"
)

// found are the codes of a spec's diagnostics, each with where the message says it is.
func found(kind, spec string) []string {
	out := []string{}
	for _, d := range decode.File("m.yaml", []byte(gateway(kind, "  "+spec+"\n"))).Diagnostics {
		path, _, _ := strings.Cut(d.Message, ": ")
		out = append(out, path+" "+d.Code)
	}
	return out
}

// One row for each check of an HTTPRoute's rule: what is wrong is told, and what is right beside it is not.
func TestHTTPRouteRules(t *testing.T) {
	long := strings.Repeat("a", 1024)
	for _, c := range []struct {
		rule string
		want string // "" where the rule is good; without "spec.rules[0]"
	}{
		{`{}`, ""},
		{`{name: "A b"}`, ".name invalid-name"},
		{`{matches: [{path: {value: a}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: /` + long + `}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: /a/./b}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: /a/..}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: /a%2Fb}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: "/a#b"}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: "/a?b"}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: "/a%4"}}]}`, ".matches[0].path.value invalid-path"},
		{`{matches: [{path: {value: "/a.b/..c/%41;v=1"}}]}`, ""},
		{`{matches: [{headers: [{name: X-A, value: "1"}, {name: x-a, value: "2"}]}]}`, ".matches[0].headers[1].name duplicate-value"},
		{`{matches: [{headers: [{name: "x a", value: "1"}]}]}`, ".matches[0].headers[0].name invalid-value"},
		{`{matches: [{headers: [{name: ` + long + `, value: "1"}]}]}`, ".matches[0].headers[0].name invalid-value"},
		{`{matches: [{headers: [{name: a, value: ""}]}]}`, ".matches[0].headers[0].value invalid-value"},
		{`{matches: [{headers: [{name: a, value: "` + strings.Repeat(long, 5) + `"}]}]}`, ".matches[0].headers[0].value invalid-value"},
		{`{matches: [{headers: [{name: a, value: "b\r\nc: d"}]}]}`, ".matches[0].headers[0].value invalid-value"},
		{`{matches: [{headers: [{name: a, value: "b\x7f"}]}]}`, ".matches[0].headers[0].value invalid-value"},
		{`{matches: [{headers: [{name: a, value: "b\tc"}]}]}`, ""},
		{`{matches: [{headers: [{name: a, value: b, type: RegularExpression}]}]}`, ""},
		{`{matches: [{headers: [{name: a, value: "(b", type: RegularExpression}]}]}`, ".matches[0].headers[0].value regex"},
		{`{matches: [{headers: [{name: a, value: b, type: Regex}]}]}`, ".matches[0].headers[0].type unsupported-value"},
		{`{matches: [{queryParams: [{name: a, value: b, type: RegularExpression}]}]}`, ""},
		{`{matches: [{queryParams: [{name: a, value: 'b\pL', type: RegularExpression}]}]}`, ".matches[0].queryParams[0].value regex"},
		{`{matches: [{queryParams: [{name: a, value: b, type: Regex}]}]}`, ".matches[0].queryParams[0].type unsupported-value"},
		{`{matches: [{path: {type: RegularExpression, value: '/v[0-9]+//.*'}}]}`, ""},
		{`{matches: [{path: {type: RegularExpression, value: '/(?=a)'}}]}`, ".matches[0].path.value regex"},
		{`{matches: [{path: {type: RegularExpression}}]}`, ""},
		{
			`{matches: [{path: {type: RegularExpression, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}`,
			".filters[0].urlRewrite.path.replacePrefixMatch conflict",
		},
		{`{matches: [{queryParams: [{name: a, value: b}, {name: a, value: c}]}]}`, ".matches[0].queryParams[1].name duplicate-value"},
		{`{matches: [{queryParams: [{name: a, value: b}, {name: A, value: c}]}]}`, ""},
		{`{timeouts: {request: 10s, backendRequest: 11s}}`, ".timeouts.backendRequest out-of-range"},
		{`{timeouts: {request: 0s, backendRequest: 11s}}`, ""},
		{`{timeouts: {request: 1.5s}}`, ".timeouts.request invalid-value"},
		{`{timeouts: {request: 10us}}`, ".timeouts.request invalid-value"},
		{`{timeouts: {backendRequest: "-1s"}}`, ".timeouts.backendRequest invalid-value"},
		{`{timeouts: {request: "10"}}`, ".timeouts.request invalid-value"},
		{`{timeouts: {request: 1m30s, backendRequest: 500ms}}`, ""},
		{`{filters: [{type: RequestHeaderModifier}]}`, ".filters[0].requestHeaderModifier required"},
		{`{filters: [{type: URLRewrite, urlRewrite: {hostname: a.test}, requestRedirect: {port: 1}}]}`, ".filters[0].requestRedirect one-of"},
		{`{filters: [{type: RequestMirror}]}`, ".filters[0].type unsupported-value"},
		{`{filters: [{type: URLRewrite, urlRewrite: {hostname: a.test}}, {type: URLRewrite, urlRewrite: {hostname: a.test}}]}`, ".filters[1].type duplicate-value"},
		{`{filters: [{type: URLRewrite, urlRewrite: {hostname: a.test}}, {type: RequestRedirect, requestRedirect: {scheme: https}}]}`, ".filters conflict"},
		{`{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}], backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 1}]}`, ".backendRefs conflict"},
		{`{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: "a:", value: b}]}}]}`, ".filters[0].requestHeaderModifier.set[0].name invalid-value"},
		{`{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: "\n"}]}}]}`, ".filters[0].requestHeaderModifier.add[0].value invalid-value"},
		{`{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}, {name: A, value: b}]}}]}`, ".filters[0].requestHeaderModifier.set[1].name duplicate-value"},
		{`{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {remove: ["a b"]}}]}`, ".filters[0].responseHeaderModifier.remove[0] invalid-value"},
		{`{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [a, A]}}]}`, ".filters[0].responseHeaderModifier.remove[1] duplicate-value"},
		{`{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}}]}`, ""},
		{`{filters: [{type: RequestRedirect, requestRedirect: {scheme: ftp}}]}`, ".filters[0].requestRedirect.scheme unsupported-value"},
		{`{filters: [{type: RequestRedirect, requestRedirect: {hostname: "*.a"}}]}`, ".filters[0].requestRedirect.hostname invalid-host"},
		{`{filters: [{type: RequestRedirect, requestRedirect: {port: 65536}}]}`, ".filters[0].requestRedirect.port out-of-range"},
		{`{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]}`, ".filters[0].requestRedirect.statusCode unsupported-value"},
		{`{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 308, port: 443, hostname: a.test, scheme: https}}]}`, ""},
		{`{filters: [{type: URLRewrite, urlRewrite: {hostname: 10.0.0.1}}]}`, ".filters[0].urlRewrite.hostname invalid-host"},
		{`{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /a}}}]}`, ".filters[0].urlRewrite.path one-of"},
		{`{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /a, replacePrefixMatch: /a}}}]}`, ".filters[0].urlRewrite.path one-of"},
		{`{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replaceFullPath: /a}}}]}`, ".filters[0].urlRewrite.path one-of"},
		{`{filters: [{type: URLRewrite, urlRewrite: {path: {type: Regex}}}]}`, ".filters[0].urlRewrite.path.type unsupported-value"},
		{`{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: a}}}]}`, ".filters[0].urlRewrite.path.replaceFullPath invalid-path"},
		{`{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /a/..}}}]}`, ".filters[0].urlRewrite.path.replacePrefixMatch invalid-path"},
		{`{filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: "/a//b"}}}]}`, ".filters[0].requestRedirect.path.replaceFullPath invalid-path"},
		{
			`{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}`,
			".filters[0].urlRewrite.path.replacePrefixMatch conflict",
		},
		{
			`{matches: [{path: {value: /a}}, {path: {value: /c}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}`,
			".filters[0].urlRewrite.path.replacePrefixMatch conflict",
		},
		{`{matches: [{path: {value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ""}}}]}`, ""},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: w}]}`, ".backendRefs[0].port required"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 0}]}`, ".backendRefs[0].port out-of-range"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: W, port: 1}]}`, ".backendRefs[0].name invalid-name"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, namespace: a.b, name: w, port: 1}]}`, ".backendRefs[0].namespace invalid-name"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 1, weight: 1000001}]}`, ".backendRefs[0].weight out-of-range"},
		{`{backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 65535, weight: 0}]}`, ""},
	} {
		want := []string{}
		if c.want != "" {
			want = append(want, "spec.rules[0]"+c.want)
		}
		got := found("HTTPRoute", "{parentRefs: [{name: edge}], rules: ["+c.rule+"]}")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.200s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestHTTPRouteParentsAndHosts(t *testing.T) {
	for spec, want := range map[string]string{
		`parentRefs: [{name: edge, group: credence.mesh, kind: Workload}]`:       "spec.parentRefs[0] unsupported-reference",
		`parentRefs: [{name: edge, kind: Service}]`:                              "spec.parentRefs[0] unsupported-reference",
		`parentRefs: [{name: Edge}]`:                                             "spec.parentRefs[0].name invalid-name",
		`parentRefs: [{name: edge, namespace: "A"}]`:                             "spec.parentRefs[0].namespace invalid-name",
		`parentRefs: [{name: edge, sectionName: "a_b"}]`:                         "spec.parentRefs[0].sectionName invalid-name",
		`parentRefs: [{name: edge, port: 70000}]`:                                "spec.parentRefs[0].port out-of-range",
		`hostnames: ["a.*.test"]`:                                                "spec.hostnames[0] invalid-host",
		`hostnames: ["*"]`:                                                       "spec.hostnames[0] invalid-host",
		`hostnames: [A.test]`:                                                    "spec.hostnames[0] invalid-host",
		`hostnames: ["127.0.0.1"]`:                                               "spec.hostnames[0] invalid-host",
		`rules: [{name: a}, {name: a}]`:                                          "spec.rules[1].name duplicate-value",
		`{parentRefs: [{name: e, sectionName: s, port: 1}], hostnames: ["*.a"]}`: "",
	} {
		wants := []string{}
		if want != "" {
			wants = append(wants, want)
		}
		if diff := cmp.Diff(wants, found("HTTPRoute", spec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec, diff)
		}
	}
}

func TestGatewayAndGrantValues(t *testing.T) {
	const good = "{name: a, port: 80, protocol: HTTP}"
	tls := func(s string) string { return "{name: a, port: 443, protocol: HTTPS, tls: " + s + "}" }
	certificate := func(s string) string {
		return tls("{certificateRefs: [{group: credence.mesh, kind: Certificate, " + s + "}]}")
	}
	for _, c := range []struct{ listeners, addresses, want string }{
		{"", "", "spec.listeners required"},
		{good, "{value: a.test}", "spec.addresses[0].value invalid-value"},
		{good, `{value: "fe80::1%eth0"}`, "spec.addresses[0].value invalid-value"},
		{good, "{type: Hostname, value: a.test}", "spec.addresses[0].type unsupported-value"},
		{good, "{value: 127.0.0.1}, {value: 127.0.0.1}", "spec.addresses[1].value duplicate-value"},
		{good, `{value: 127.0.0.1}, {value: "::1"}`, ""},
		{"{name: A, port: 80, protocol: HTTP}", "", "spec.listeners[0].name invalid-name"},
		{"{name: a, port: 0, protocol: HTTP}", "", "spec.listeners[0].port out-of-range"},
		{"{name: a, port: 80, protocol: TCP}", "", "spec.listeners[0].protocol unsupported-value"},
		{"{name: a, port: 80, protocol: HTTP, hostname: a..b}", "", "spec.listeners[0].hostname invalid-host"},
		{"{name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}}", "", "spec.listeners[0].allowedRoutes.namespaces.from unsupported-value"},
		{good + ", {name: b, port: 80, protocol: HTTP, hostname: a.test}", "", ""},
		{"{name: a, port: 80, protocol: HTTP, tls: {certificateRefs: [{group: credence.mesh, kind: Certificate, name: c}]}}", "", "spec.listeners[0].tls unsupported-value"},
		{tls("{certificateRefs: []}"), "", "spec.listeners[0].tls.certificateRefs required"},
		{tls("{mode: Passthrough, certificateRefs: [{group: credence.mesh, kind: Certificate, name: c}]}"), "", "spec.listeners[0].tls.mode unsupported-value"},
		{certificate("name: C"), "", "spec.listeners[0].tls.certificateRefs[0].name invalid-name"},
		{certificate("name: c, namespace: a_b"), "", "spec.listeners[0].tls.certificateRefs[0].namespace invalid-name"},
		{certificate("name: c, namespace: b"), "", ""},
	} {
		want := []string{}
		if c.want != "" {
			want = append(want, c.want)
		}
		spec := fmt.Sprintf("{gatewayClassName: credence, listeners: [%s], addresses: [%s]}", c.listeners, c.addresses)
		if diff := cmp.Diff(want, found("Gateway", spec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec, diff)
		}
	}
	for spec, want := range map[string][]string{
		"{from: [{group: a, kind: b, namespace: c}], to: [{group: a, kind: b, name: m}]}": {},
		"{to: [{group: a, kind: b}]}":                                                       {"spec.from required"},
		"{from: [{group: a, kind: b, namespace: c}]}":                                       {"spec.to required"},
		`{from: [{group: a, kind: "", namespace: c}], to: [{group: a, kind: ""}]}`:          {"spec.from[0].kind required", "spec.to[0].kind required"},
		`{from: [{group: a, kind: b, namespace: C}], to: [{group: a, kind: b, name: "N"}]}`: {"spec.from[0].namespace invalid-name", "spec.to[0].name invalid-name"},
	} {
		if diff := cmp.Diff(want, found("ReferenceGrant", spec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec, diff)
		}
	}
}
