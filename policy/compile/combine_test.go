package compile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/golden"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
	"github.com/credence-mesh/credence/policy/decide"
)

// answer is the decision on GET / at the one gateway route of set.
func answer(t *testing.T, set *policy.Set) string {
	t.Helper()
	id := set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[0].ID
	return answerAt(t, set, id)
}

func answerAt(t *testing.T, set *policy.Set, id policy.RouteID) string {
	t.Helper()
	r, ok := decide.NewIndex(set).Route(id)
	if !ok {
		t.Fatalf("the index has no route %s", id)
	}
	d := r.Decide(&decide.Facts{Method: "GET", Host: "app.example.org"})
	if d.Allowed() {
		return "allowed"
	}
	return "denied"
}

func slug(s string) string { return strings.ReplaceAll(s, " ", "-") }

// TestCombinationTable: each row of the table in docs/policy-semantics.md is one golden case, and each case is a row.
func TestCombinationTable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/policy-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| outer policy ")
	table, _, _ = strings.Cut(table, "\n## ")
	want := make(map[string]string)
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 5 || strings.Contains(line, "answer") || strings.HasPrefix(line, "| --") {
			continue
		}
		name := slug(cells[0])
		if cells[1] == "allowed" {
			name += "-override"
		}
		want[name+"--"+slug(cells[2])] = cells[3]
	}
	if len(want) != 28 {
		t.Fatalf("the table has %d rows, want 28", len(want))
	}
	golden.Run(t, "testdata/combine", []string{"in.yaml"}, func(t *testing.T, dir string) map[string][]byte {
		out, set := produce(t, dir)
		name := filepath.Base(dir)
		got := answer(t, set)
		if got != want[name] {
			t.Errorf("the answer is %s, the table says %q", got, want[name])
		}
		delete(want, name)
		out["answer.txt"] = []byte(got + "\n")
		return out
	})
	for name := range want {
		t.Errorf("row %s has no golden case", name)
	}
}

// state of the policy on one level.
type state struct {
	present, override    bool
	allows, denies       bool
	name, override1, yml string
}

func states() []state {
	var out []state
	out = append(out, state{name: "absent"})
	for _, o := range []bool{false, true} {
		override := ""
		if o {
			override = "override: allowed"
		}
		out = append(out,
			state{present: true, override: o, override1: override, allows: true, name: "allows", yml: "- {name: a, authentication: [anonymous]}"},
			state{present: true, override: o, override1: override, name: "nothing", yml: "- {name: a, authentication: [anonymous], to: [{methods: [PUT]}]}"},
			state{
				present: true, override: o, override1: override, allows: true, denies: true, name: "denies",
				yml: "- {name: a, authentication: [anonymous]}\n  - {name: d, action: deny}",
			})
	}
	return out
}

// naive says what the levels answer, straight from the words of docs/policy-semantics.md.
func naive(levels []state) string {
	any := false
	for i, s := range levels {
		deeper := false
		for _, d := range levels[i+1:] {
			deeper = deeper || d.present
		}
		if !s.present || (s.override && deeper) {
			continue
		}
		any = true
		if s.denies || !s.allows {
			return "denied"
		}
	}
	if any {
		return "allowed"
	}
	return "denied"
}

const combineBase = `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: example.org}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{name: edge}]
  rules: [{name: all}]
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: app}
spec:
  selectors: {unix: {uid: 1000}}
  ports: [{name: web, port: 8080, inbound: "127.0.0.1:9000"}]
`

func TestEveryCombination(t *testing.T) {
	mesh := "{group: credence.mesh, kind: Mesh, name: mesh}"
	for _, chain := range []struct {
		name    string
		targets []string
		id      func(*policy.Set) policy.RouteID
	}{
		{"gateway", []string{
			mesh, "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}",
			"{group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: http}",
			"{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}",
			"{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app, sectionName: all}",
		}, func(s *policy.Set) policy.RouteID {
			return s.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[0].ID
		}},
		{"sidecar", []string{
			mesh, "{group: credence.mesh, kind: Workload, name: app}",
			"{group: credence.mesh, kind: Workload, name: app, sectionName: web}",
		}, func(s *policy.Set) policy.RouteID { return s.Workloads[0].Ports[0].Route }},
	} {
		t.Run(chain.name, func(t *testing.T) {
			base := objects(t, "base.yaml", combineBase)
			all := states()
			policies := make([][]*manifests.Object, len(chain.targets))
			for l, target := range chain.targets {
				for _, s := range all {
					var o *manifests.Object
					if s.present {
						o = objects(t, "p.yaml", fmt.Sprintf(`
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: level%d}
spec:
  targetRefs: [%s]
  %s
  rules:
  %s
`, l, target, s.override1, s.yml))[0]
					}
					policies[l] = append(policies[l], o)
				}
			}
			cells := 1
			for range chain.targets {
				cells *= len(all)
			}
			for cell := range cells {
				in := append([]*manifests.Object{}, base...)
				levels := make([]state, len(chain.targets))
				for l, n := 0, cell; l < len(levels); l, n = l+1, n/len(all) {
					levels[l] = all[n%len(all)]
					if o := policies[l][n%len(all)]; o != nil {
						in = append(in, o)
					}
				}
				set, _ := compile.Compile(compile.Input{Objects: in})
				if got, want := answerAt(t, set, chain.id(set)), naive(levels); got != want {
					t.Fatalf("levels %+v: %s, want %s", levels, got, want)
				}
			}
		})
	}
}
