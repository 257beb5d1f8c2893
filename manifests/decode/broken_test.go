package decode_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
)

const head = "apiVersion: credence.mesh/v1alpha1\nkind: "

func own(kind, spec string) string { return head + kind + "\nmetadata: {name: x}\nspec:\n" + spec }

func gateway(kind, spec string) string {
	return "apiVersion: gateway.networking.k8s.io/v1\nkind: " + kind + "\nmetadata: {name: x}\nspec:\n" + spec
}

func lines(ds []manifests.Diagnostic) []string {
	out := []string{}
	for _, d := range ds {
		out = append(out, d.String())
	}
	return out
}

func TestFileTellsWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
		broken     []string
	}{
		{"every unknown, mis-cased and mistyped field at once", own("Mesh", `  trustdomain: a
  trustDomain: 7
  development: yes
  ports: {first: "1", last: 070, lats: 3}
  svid: [1]
  zzz: 1
`), []string{
			`m.yaml:5:3: error: spec has no field "trustdomain" [wrong-case] (write trustDomain: names are case-sensitive)`,
			`m.yaml:6:16: error: spec.trustDomain must be a string, not a number [wrong-type] (put it in quotes: "7")`,
			`m.yaml:7:16: error: spec.development must be a boolean, not a string [wrong-type] (write true or false without quotes)`,
			`m.yaml:8:18: error: spec.ports.first must be a number, not a string [wrong-type] (write it without quotes)`,
			`m.yaml:8:29: error: spec.ports.last: 070 is not a whole number in decimal [wrong-type] (write plain digits, without leading zeros)`,
			`m.yaml:8:34: error: spec.ports has no field "lats" [unknown-field] (did you mean last?)`,
			`m.yaml:9:9: error: spec.svid must be a mapping, not a list [wrong-type]`,
			`m.yaml:10:3: error: spec has no field "zzz" [unknown-field] (known fields: trustDomain, development, ca, svid, ports, delegatedIDs, internalTokens)`,
		}, []string{"Mesh x"}},
		{"duplicate key", own("Mesh", "  trustDomain: a\n  trustDomain: b\n"), []string{
			`m.yaml:6:3: error: spec.trustDomain is given twice [duplicate-key] (the first is at line 5; keep one of them)`,
		}, []string{"Mesh x"}},
		{"a number out of range", own("Mesh", "  trustDomain: a\n  ports: {first: 1, last: 4294967297}\n"), []string{
			`m.yaml:6:27: error: spec.ports.last: 4294967297 is out of range [out-of-range] (a number nearer to zero)`,
		}, []string{"Mesh x"}},
		{"values of a field that were commented out", own("AuthPolicy", `  targetRefs: [{group: credence.mesh, kind: Workload, name: w}]
  rules:
    - name: r
      authentication: [anonymous]
      from:
        # - {workload: web}
      to: []
`), []string{
			`m.yaml:9:12: error: spec.rules[0].from has no value [empty-value] (give it a value or remove it)`,
			`m.yaml:11:11: error: spec.rules[0].to is an empty list [empty-list] (remove it if nothing is to be restricted; an empty list does not mean "none")`,
		}, []string{"AuthPolicy default/x"}},
		{"a rule for everybody", own("AuthPolicy", `  targetRefs: [{group: credence.mesh, kind: Workload, name: w}]
  rules:
    - name: r
      require: {scopes: {allOf: ["a b"]}}
`), []string{
			`m.yaml:7:7: error: spec.rules[0]: rule "r" asks for no user and no peer: it would allow everybody [allows-everybody] (add from, or spec.authentication.issuers, or say authentication: [anonymous] if that is meant)`,
			`m.yaml:8:7: error: spec.rules[0].require: no user token is read by this policy, so nothing can be required of it [require-without-issuers] (add spec.authentication.issuers)`,
			`m.yaml:8:34: error: spec.rules[0].require.scopes.allOf[0]: "a b" is not one scope (RFC 6749 3.3) [invalid-scope] (write each scope as an item of the list)`,
		}, []string{"AuthPolicy default/x"}},
		{"YAML 1.1 booleans as strings are warned of", own("Mesh", "  trustDomain: on\n"), []string{
			`m.yaml:5:16: warning: spec.trustDomain: other tools read on without quotes as a boolean [yaml-boolean] (put it in quotes: "on")`,
		}, nil},
		{"unsupported fields of the Gateway API", gateway("HTTPRoute", `  parentRefs: [{name: edge}]
  rules:
    - retry: {attempts: 3}
      matches: [{path: {type: RegularExpression, value: "/a.*"}}]
      backendRefs:
        - {name: web, port: 80}
        - {group: credence.mesh, kind: Workload, name: web, port: 80, weight: -1, filters: []}
`), []string{
			`m.yaml:7:7: error: spec.rules[0].retry is not supported [unsupported-field] (remove it; nothing is ignored in silence)`,
			`m.yaml:11:83: error: spec.rules[0].backendRefs[1].filters is not supported [unsupported-field] (remove it; nothing is ignored in silence)`,
		}, []string{"HTTPRoute default/x"}},
		{"a hint names no field that would be refused next", gateway("GRPCRoute", `  parentRefs: [{name: edge}]
  rules:
    - timeouts: {request: 1s}
      filters: [{type: RequestHeaderModifier, requestMirorr: {}}]
`), []string{
			`m.yaml:7:7: error: spec.rules[0] has no field "timeouts" [unknown-field] (known fields: name, matches, filters, backendRefs)`,
			`m.yaml:8:47: error: spec.rules[0].filters[0] has no field "requestMirorr" [unknown-field] (known fields: type, requestHeaderModifier, responseHeaderModifier)`,
		}, []string{"GRPCRoute default/x"}},
		{"a written zero of cors.maxAge", gateway("HTTPRoute", `  parentRefs: [{name: edge}]
  rules:
    - filters: [{type: CORS, cors: {allowOrigins: ["*"], maxAge: 0}}]
`), []string{
			`m.yaml:7:66: error: spec.rules[0].filters[0].cors.maxAge: 0 is out of range [out-of-range] (at least 1 second)`,
		}, []string{"HTTPRoute default/x"}},
		{"a duration out of range", own("GatewaySettings", "  limits: {streamIdle: 25h30m, streamDuration: 1ms}\n"), []string{
			`m.yaml:5:12: error: spec.limits.streamIdle: 25h30m is out of range [out-of-range] (from 1s to 24h)`,
			`m.yaml:5:32: error: spec.limits.streamDuration: 1ms is out of range [out-of-range] (from 1s to 168h)`,
		}, []string{"GatewaySettings default/x"}},
		{"unsupported values of the Gateway API", gateway("HTTPRoute", `  parentRefs: [{name: edge}]
  hostnames: ["a:80"]
  rules:
    - matches: [{path: {type: Regex, value: "/a.*"}}, {path: {value: /a//b}, method: get}]
      backendRefs:
        - {name: web, port: 80}
        - {group: credence.mesh, kind: Workload, name: web, port: 80, weight: -1}
`), []string{
			`m.yaml:6:15: error: spec.hostnames[0]: "a:80" is not a hostname [invalid-host] (leave the port out: ports are ignored in matching)`,
			`m.yaml:8:25: error: spec.rules[0].matches[0].path.type: "Regex" is not supported [unsupported-value] (supported: Exact, PathPrefix, RegularExpression)`,
			`m.yaml:8:63: error: spec.rules[0].matches[1].path.value: "/a//b" contains "//" [invalid-path] (no request has such a path once it is normalised)`,
			`m.yaml:8:78: error: spec.rules[0].matches[1].method: "get" is not supported [unsupported-value] (supported: GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH)`,
			`m.yaml:10:11: error: spec.rules[0].backendRefs[0]: a backend of kind Service exists only in Kubernetes [unsupported-reference] (kind: Workload, group: credence.mesh)`,
			`m.yaml:11:71: error: spec.rules[0].backendRefs[1].weight: -1 is out of range [out-of-range] (from 0 to 1000000)`,
		}, []string{"HTTPRoute default/x"}},
		{"listeners", gateway("Gateway", `  gatewayClassName: istio
  listeners:
    - {name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}
    - {name: a, port: 443, protocol: HTTPS}
`), []string{
			`m.yaml:5:3: error: spec.gatewayClassName: class "istio" is not ours [unsupported-value] (write gatewayClassName: credence)`,
			`m.yaml:7:69: error: spec.listeners[0].tls.certificateRefs[0]: certificates of kind Secret exist only in Kubernetes [unsupported-reference] (kind: Certificate, group: credence.mesh)`,
			`m.yaml:8:7: error: spec.listeners[1]: port, protocol and hostname are those of listener "a" [duplicate-listener] (change one of them)`,
			`m.yaml:8:7: error: spec.listeners[1].tls: an HTTPS listener needs tls [required] (add tls.certificateRefs)`,
			`m.yaml:8:8: error: spec.listeners[1].name: another listener is named "a" [duplicate-value] (give each listener a name of its own)`,
		}, []string{"Gateway default/x"}},
		{"a slip in the kind", head + "WorkLoad\nmetadata: {name: x}\n", []string{
			`m.yaml:2:7: error: credence.mesh has no kind "WorkLoad" [unknown-kind] (did you mean Workload?)`,
		}, []string{"Workload default/x"}},
		{"a slip in the group", "apiVersion: credense.mesh/v1alpha1\nkind: Mesh\nmetadata: {name: x}\n", []string{
			`m.yaml:1:13: error: the API group "credense.mesh" is not known [unknown-group] (did you mean credence.mesh?)`,
		}, []string{"Mesh x"}},
		{"a slip in the group of a policy does not delete it", "apiVersion: credence.msh/v1alpha1\nkind: AuthPolicy\nmetadata: {name: x, namespace: q}\n", []string{
			`m.yaml:1:13: error: the API group "credence.msh" is not known [unknown-group] (did you mean credence.mesh?)`,
		}, []string{"AuthPolicy q/x"}},
		{"nor does a group that was left out", "apiVersion: v1alpha1\nkind: AuthPolicy\nmetadata: {name: x}\n", []string{
			`m.yaml:1:13: error: apiVersion "v1alpha1" has no kind "AuthPolicy" [unknown-group] (did you mean credence.mesh?)`,
		}, []string{"AuthPolicy default/x"}},
		{"empty texts do not widen", own("Workload", `  selectors: {unix: {uid: 7, sha256: "", path: ""}}
`), []string{
			`m.yaml:5:38: error: spec.selectors.unix.sha256 has no value [empty-value] (give it a value or remove it)`,
			`m.yaml:5:48: error: spec.selectors.unix.path has no value [empty-value] (give it a value or remove it)`,
		}, []string{"Workload default/x"}},
		{"an empty action is not allow", own("AuthPolicy", `  targetRefs: [{group: credence.mesh, kind: Workload, name: w, sectionName: ""}]
  rules:
    - {name: r, action: "", from: [{workload: web}]}
`), []string{
			`m.yaml:5:77: error: spec.targetRefs[0].sectionName has no value [empty-value] (give it a value or remove it)`,
			`m.yaml:7:25: error: spec.rules[0].action has no value [empty-value] (give it a value or remove it)`,
		}, []string{"AuthPolicy default/x"}},
		{"a key twice in what is merged", own("AuthPolicy", `  targetRefs: [{group: credence.mesh, kind: Workload, name: w}]
  rules:
    - name: r
      from: [{workload: web}]
      <<: {action: allow, action: deny}
`), []string{
			`m.yaml:9:27: error: spec.rules[0].action is given twice [duplicate-key] (the first is at line 9; keep one of them)`,
		}, []string{"AuthPolicy default/x"}},
		{"unsupported version and names", "apiVersion: credence.mesh/v2\nkind: Workload\nmetadata: {name: X_y, namespace: a.b}\nspec: {selectors: {unix: {uid: 1}}}\n", []string{
			`m.yaml:1:13: error: Workload has no version "v2" here [unsupported-version] (write apiVersion: credence.mesh/v1alpha1)`,
			`m.yaml:3:18: error: "X_y" is not a name [invalid-name] (at most 253 lower-case letters, digits, "-" and "." (RFC 1123))`,
			`m.yaml:3:34: error: "a.b" is not a namespace [invalid-name] (at most 63 lower-case letters, digits and "-" (RFC 1123))`,
		}, []string{"Workload a.b/X_y"}},
		{"a Mesh has no namespace", "apiVersion: credence.mesh/v1alpha1\nkind: Mesh\nmetadata: {name: x, namespace: q}\nspec: {trustDomain: a}\n", []string{
			`m.yaml:3:32: error: a Mesh has no namespace [namespace-not-allowed] (remove metadata.namespace)`,
		}, []string{"Mesh x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := decode.File("m.yaml", []byte(c.text))
			if diff := cmp.Diff(c.want, lines(r.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
			var broken []string
			for _, k := range r.Broken {
				broken = append(broken, k.String())
			}
			if diff := cmp.Diff(c.broken, broken); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			if !r.Parsed || len(r.Objects) > 0 && len(c.broken) > 0 {
				t.Errorf("parsed %v, %d objects", r.Parsed, len(r.Objects))
			}
		})
	}
}

func TestFileThatCannotBeToldApartPinsItself(t *testing.T) {
	good := own("Mesh", "  trustDomain: a\n") + "---\n"
	nest := strings.Repeat("[", decode.MaxDepth+2) + strings.Repeat("]", decode.MaxDepth+2)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'i'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	for _, c := range []struct{ name, text, code string }{
		{"not YAML", good + "a: [", "syntax"},
		{"half a word", good + "apiVers", "not-an-object"},
		{"no kind", good + "apiVersion: credence.mesh/v1alpha1\n", "no-kind"},
		{"no apiVersion", good + "kind: Mesh\n", "no-apiversion"},
		{"no metadata", good + head + "Mesh\n", "no-name"},
		{"no name in a group with a slip", good + "apiVersion: credense.mesh/v1alpha1\nkind: Mesh\n", "no-name"},
		{"no name", good + head + "Mesh\nmetadata: {}\n", "no-name"},
		{"nested too deep", good + "a: " + nest, "too-deep"},
		{"an alias of itself", good + "a: &a [*a, *a]", "too-deep"},
		{"alias bomb", good + bomb, "too-many-aliases"},
		{"a key that is no string", good + "{1: 2}", "key-not-string"},
		{"a tag", good + "a: !!binary aGk=", "yaml-tag"},
		{"List without items", good + "apiVersion: v1\nkind: List\n", "no-items"},
		{"too many documents", strings.Repeat(good, decode.MaxObjects+1), "too-many-objects"},
		{"too many items", "apiVersion: v1\nkind: List\nitems:\n" +
			strings.Repeat("- {apiVersion: v1, kind: A, metadata: {name: x}}\n", decode.MaxObjects+1), "too-many-objects"},
		{"too large", strings.Repeat("#", decode.MaxFileBytes+1), "file-too-large"},
		{"not UTF-8", good + "a: \xff\xfe", "syntax"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := decode.File("m.yaml", []byte(c.text))
			if r.Parsed || len(r.Objects)+len(r.Broken) > 0 {
				t.Errorf("parsed %v, %d objects, broken %v", r.Parsed, len(r.Objects), r.Broken)
			}
			found := false
			for _, d := range r.Diagnostics {
				found = found || d.Code == c.code && d.Pos.File == "m.yaml"
			}
			if !found {
				t.Errorf("want %s, got %v", c.code, lines(r.Diagnostics))
			}
		})
	}
}
