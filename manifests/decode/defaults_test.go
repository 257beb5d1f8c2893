package decode_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/credence-mesh/credence/manifests/decode"
)

// schema is the part of an OpenAPI schema of a CRD that defaulting needs.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Default    json.RawMessage    `json:"default"`
}

// apply gives v the defaults of the schema, as an API server does, and notes in used the paths whose default was given.
func (s *schema) apply(t *testing.T, v any, path string, used map[string]bool) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for name, p := range s.Properties {
			if _, ok := v[name]; !ok && len(p.Default) > 0 {
				var d any
				if err := json.Unmarshal(p.Default, &d); err != nil {
					t.Fatal(err)
				}
				v[name] = d
				used[path+"."+name] = true
			}
			if c, ok := v[name]; ok {
				p.apply(t, c, path+"."+name, used)
			}
		}
	case []any:
		for _, c := range v {
			s.Items.apply(t, c, path+"[]", used)
		}
	}
}

func (s *schema) defaults(path string, out map[string]bool) {
	if s == nil {
		return
	}
	if len(s.Default) > 0 {
		out[path] = true
	}
	s.Items.defaults(path+"[]", out)
	for name, p := range s.Properties {
		p.defaults(path+"."+name, out)
	}
}

func crd(t *testing.T, plural string) *schema {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatalf("find the Gateway API's module: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "config/crd/standard/gateway.networking.k8s.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Spec struct {
			Versions []struct {
				Name   string `json:"name"`
				Schema struct {
					OpenAPIV3Schema *schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Spec.Versions {
		if v.Name == "v1" {
			s := v.Schema.OpenAPIV3Schema
			delete(s.Properties, "status")
			return s
		}
	}
	t.Fatalf("%s has no version v1", plural)
	return nil
}

// TestDefaultsAreThoseOfTheCRDs gives each document to the decoder and to the defaulting of its CRD: both must agree. A default of
// the CRD that no document reaches must belong to a field that is refused.
func TestDefaultsAreThoseOfTheCRDs(t *testing.T) {
	for _, c := range []struct {
		plural  string
		docs    []string
		refused []string // prefixes
	}{
		{"gateways", []string{
			gateway("Gateway", "  gatewayClassName: credence\n  addresses: [{value: 127.0.0.1}]\n  listeners:\n"+
				"    - {name: a, port: 80, protocol: HTTP}\n    - {name: b, port: 81, protocol: HTTP, allowedRoutes: {}}\n"+
				"    - {name: c, port: 82, protocol: HTTP, allowedRoutes: {namespaces: {}, kinds: [{kind: GRPCRoute}]}}\n"+
				"    - {name: d, port: 83, protocol: HTTPS, tls: {certificateRefs: [{group: credence.mesh, kind: Certificate, name: c}]}}\n"),
		}, []string{
			".spec.allowedListeners", ".spec.tls", ".spec.listeners[].allowedRoutes.namespaces.selector",
			// The default is a Secret, which is refused: TestFileTellsWhatIsWrongAndWhere/listeners.
			".spec.listeners[].tls.certificateRefs[].group", ".spec.listeners[].tls.certificateRefs[].kind",
		}},
		{"httproutes", []string{
			gateway("HTTPRoute", "  parentRefs: [{name: a}]\n"),
			gateway("HTTPRoute", "  parentRefs: [{name: a}]\n  rules:\n    - {name: r}\n    - matches: [{method: GET}, {path: {value: /a}}, {path: {type: Exact, value: /b}}, {path: {}}]\n"+
				"    - matches: [{headers: [{name: a, value: b}], queryParams: [{name: a, value: b}]}]\n"+
				"      backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 80}]\n"+
				"    - filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]\n"+
				"    - filters: [{type: CORS, cors: {allowOrigins: [https://a.test]}}]\n"),
		}, []string{
			".spec.rules[].backendRefs[].filters", ".spec.rules[].filters[].requestMirror",
			".spec.rules[].filters[].externalAuth", ".spec.rules[].filters[].extensionRef",
			// The default is a Service, which is refused: TestFileTellsWhatIsWrongAndWhere/unsupported_values_of_the_Gateway_API.
			".spec.rules[].backendRefs[].group", ".spec.rules[].backendRefs[].kind",
		}},
		{"grpcroutes", []string{
			gateway("GRPCRoute", "  parentRefs: [{name: a}]\n"),
			gateway("GRPCRoute", "  parentRefs: [{name: a}]\n  rules:\n    - {name: r}\n    - matches: [{method: {service: a}}, {method: {type: RegularExpression, method: b}}, {headers: [{name: a, value: b}]}]\n"+
				"      backendRefs: [{group: credence.mesh, kind: Workload, name: w, port: 80}]\n"),
		}, []string{
			".spec.rules[].backendRefs[].filters", ".spec.rules[].filters[].requestMirror", ".spec.rules[].filters[].extensionRef",
			".spec.rules[].backendRefs[].group", ".spec.rules[].backendRefs[].kind",
		}},
		{"referencegrants", []string{gateway("ReferenceGrant", "  from: [{group: a, kind: b, namespace: c}]\n  to: [{group: a, kind: b}]\n")}, nil},
	} {
		t.Run(c.plural, func(t *testing.T) {
			s := crd(t, c.plural)
			used, all := map[string]bool{}, map[string]bool{}
			for _, doc := range c.docs {
				compareDefaults(t, s, doc, used)
			}
			s.defaults("", all)
			var missing []string
			for path := range all {
				refused := false
				for _, p := range c.refused {
					refused = refused || strings.HasPrefix(path, p)
				}
				if !used[path] && !refused {
					missing = append(missing, path)
				}
			}
			sort.Strings(missing)
			if len(missing) > 0 {
				t.Errorf("defaults of the CRD that no document reaches: %v", missing)
			}
		})
	}
}

func compareDefaults(t *testing.T, s *schema, doc string, used map[string]bool) {
	t.Helper()
	var want, got map[string]any
	if err := yaml.Unmarshal([]byte(doc), &want); err != nil {
		t.Fatal(err)
	}
	s.apply(t, want, "", used)
	want["metadata"].(map[string]any)["namespace"] = "default"
	r := decode.File("m.yaml", []byte(doc))
	if len(r.Objects) != 1 {
		t.Fatalf("%v", lines(r.Diagnostics))
	}
	d := json.NewDecoder(bytes.NewReader(r.Objects[0].Canonical))
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-CRD +ours):\n%s", diff)
	}
}
