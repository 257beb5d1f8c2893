package compile_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/golden"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// missing objects of a case stand in comments of its in.yaml: "# missing: AuthPolicy default/x".
func missingKeys(t *testing.T, text string) []manifests.Key {
	t.Helper()
	var out []manifests.Key
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "# missing: ")
		if !ok {
			continue
		}
		kind, full, _ := strings.Cut(strings.TrimSpace(rest), " ")
		ns, name, ok := strings.Cut(full, "/")
		if !ok {
			t.Fatalf("missing line %q", line)
		}
		group := "credence.mesh"
		if kind == "Gateway" || kind == "HTTPRoute" || kind == "GRPCRoute" {
			group = "gateway.networking.k8s.io"
		}
		out = append(out, manifests.Key{Group: group, Kind: kind, Namespace: ns, Name: name})
	}
	return out
}

func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/cases", []string{"in.yaml"}, func(t *testing.T, dir string) map[string][]byte {
		files, _ := produce(t, dir)
		return files
	})
}

// produce compiles the case in dir and writes the Set and the diagnostics.
func produce(t *testing.T, dir string) (map[string][]byte, *policy.Set) {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(filepath.Join(dir, "in.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	in := compile.Input{Objects: objects(t, "in.yaml", string(text)), Missing: missingKeys(t, string(text))}
	set, ds := compile.Compile(in)
	shuffledAgain(t, in, set, ds)
	var diag strings.Builder
	for _, d := range ds {
		diag.WriteString(d.String() + "\n")
	}
	out := map[string][]byte{"diag.txt": []byte(diag.String()), "policy.json": []byte("null\n")}
	if set != nil {
		consistent(t, set)
		out["policy.json"] = indented(t, set)
	}
	return out, set
}

func indented(t *testing.T, set *policy.Set) []byte {
	t.Helper()
	b, err := policy.Encode(set)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// shuffledAgain compiles the same objects in other orders: every byte must be equal.
func shuffledAgain(t *testing.T, in compile.Input, want *policy.Set, wantDiags []manifests.Diagnostic) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		rng.Shuffle(len(in.Objects), func(i, j int) { in.Objects[i], in.Objects[j] = in.Objects[j], in.Objects[i] })
		rng.Shuffle(len(in.Missing), func(i, j int) { in.Missing[i], in.Missing[j] = in.Missing[j], in.Missing[i] })
		got, ds := compile.Compile(in)
		if (got == nil) != (want == nil) || (got != nil && got.Hash() != want.Hash()) {
			t.Error("another order of the objects gives another Set")
		}
		if len(ds) != len(wantDiags) {
			t.Fatalf("another order of the objects gives %d diagnostics, want %d", len(ds), len(wantDiags))
		}
		for i := range ds {
			if ds[i] != wantDiags[i] {
				t.Errorf("another order of the objects gives %v, want %v", ds[i], wantDiags[i])
			}
		}
	}
}

// consistent holds for every Set: ids are unique, every policy that a level names is there, hosts are disjoint.
func consistent(t *testing.T, set *policy.Set) {
	t.Helper()
	policies := make(map[policy.Name]bool)
	for _, p := range set.Policies {
		policies[p.Name] = true
	}
	ids := make(map[policy.RouteID]bool)
	check := func(id policy.RouteID, a *policy.Access) {
		if id == "" || ids[id] {
			t.Errorf("route id %q is empty or there twice", id)
		}
		ids[id] = true
		for _, l := range a.Levels {
			if len(l.Policies) == 0 {
				t.Error("a level without policies")
			}
			for _, n := range l.Policies {
				if !policies[n] {
					t.Errorf("level names policy %s, which is not in the Set", n)
				}
			}
		}
	}
	for _, g := range set.Gateways {
		for _, l := range g.Listeners {
			hosts := make(map[string]bool)
			for _, s := range l.Sections {
				for _, v := range s.VirtualHosts {
					if hosts[v.Host] {
						t.Errorf("host %s is there twice", v.Host)
					}
					hosts[v.Host] = true
					for i := range v.Routes {
						check(v.Routes[i].ID, &v.Routes[i].Access)
					}
				}
			}
		}
	}
	for _, w := range set.Workloads {
		for i := range w.Ports {
			if p := &w.Ports[i]; !p.OwnMTLS {
				check(p.Route, &p.Access)
			} else if p.Route != "" || p.Access.Denied == "" {
				t.Errorf("port %s of %s: no sidecar serves it, and it has route id %q and access %v", p.Name, w.Name, p.Route, p.Access)
			}
		}
	}
	encoded, err := policy.Encode(set)
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.Decode(encoded)
	if err != nil || again.Hash() != set.Hash() {
		t.Errorf("Decode(Encode(set)): %v", err)
	}
}
