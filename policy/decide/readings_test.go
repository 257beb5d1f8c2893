package decide_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// pieces of paths as segments can hold them where "//" and escaped slashes are kept.
var pieces = []string{"", "", "a", "b", "admin", "a/b", "/", "//", "/admin", "admin/", `\admin`, `a\b`, `\`, "h/admin", `h\/admin`}

// everyReading finds by trial, step by step in any order, what readers make of tokens: cut at one kind of separator, leave one empty token
// out, take what follows "//" for an authority.
func everyReading(tokens []string) [][]string {
	known := map[string]bool{}
	var out [][]string
	queue := [][]string{tokens}
	authority := map[string]bool{}
	for len(queue) > 0 {
		t := queue[0]
		queue = queue[1:]
		key := strings.Join(t, "\x00")
		if known[key] {
			continue
		}
		known[key] = true
		out = append(out, t)
		for _, c := range []string{"/", `\`} {
			next := strings.Split(strings.ReplaceAll(key, c, "\x00"), "\x00")
			if authority[key] {
				authority[strings.Join(next, "\x00")] = true
			}
			queue = append(queue, next)
		}
		for i := range len(t) - 1 {
			if t[i] == "" {
				next := slices.Delete(slices.Clone(t), i, i+1)
				if i == 0 && len(next) == 1 && next[0] == "" {
					continue // "/" itself
				}
				if authority[key] {
					authority[strings.Join(next, "\x00")] = true
				}
				queue = append(queue, next)
			}
		}
		if len(t) > 2 && t[0] == "" && !authority[key] {
			next := t[2:]
			authority[strings.Join(next, "\x00")] = true
			queue = append(queue, next)
		}
	}
	return out
}

// A deny rule for a path and below denies whatever some reader takes for it, and nothing that no reader does.
func TestDenyHoldsForEveryReading(t *testing.T) {
	denied := []policy.PathPattern{{Segments: []string{"admin"}, Prefix: true}, {Segments: []string{"a", "b"}}}
	set := &policy.Set{
		Policies: []policy.Policy{{Name: name("p"), Rules: []policy.Rule{
			{Name: "deny", Action: policy.Deny, To: []policy.Operation{{Paths: denied}}},
			{Name: "all", Action: policy.Allow},
		}}},
		Workloads: []policy.Workload{{Name: name("w"), Ports: []policy.Port{{Name: "http", Route: "id", Access: levels("p")}}}},
	}
	r, ok := decide.NewIndex(set).Route("id")
	if !ok {
		t.Fatal("no route")
	}
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 5).Draw(t, "tokens")
		f := &decide.Facts{Method: "GET", Host: "a.test", Segments: tokens}
		if n := len(tokens); tokens[n-1] == "" {
			f.Segments, f.Slash = tokens[:n-1], n > 1
		}
		want := slices.ContainsFunc(everyReading(tokens), func(path []string) bool {
			return path[0] == "admin" || slices.Equal(path, []string{"a", "b"})
		})
		if got := !r.Decide(f).Allowed(); got != want && (want || !lenient(tokens)) {
			t.Fatalf("%q: denied %v, want %v: %q", tokens, got, want, everyReading(tokens))
		}
	})
}

// lenient: after an authority was cut off, more than one reading of what is left is taken.
func lenient(tokens []string) bool { return tokens[0] == "" || strings.ContainsAny(tokens[0], `/\`) }

// Audit rules that would deny report the same; audit rules that would allow are no wider than they are.
func TestAuditOfReadings(t *testing.T) {
	to := []policy.Operation{{Paths: []policy.PathPattern{{Segments: []string{"admin"}, Prefix: true}}}}
	r := route(t, levels("p"), policy.Policy{Name: name("p"), Rules: []policy.Rule{
		{Name: "deny", Action: policy.Deny, Audit: true, To: to},
		{Name: "allow", Action: policy.Allow, Audit: true, To: to},
		{Name: "all", Action: policy.Allow},
	}})
	d := r.Decide(&decide.Facts{Method: "GET", Host: "a", Segments: []string{"", "admin", "x/y"}})
	if !d.Allowed() || len(d.Audit) != 1 || d.Audit[0].Rule != "deny" {
		t.Errorf("%+v", d)
	}
}

// A deny rule for a host holds where some reader takes the path's "//host" for it, however it is written.
func TestDenyOfAHostHoldsForEveryReading(t *testing.T) {
	r := route(t, levels("p"), policy.Policy{Name: name("p"), Rules: []policy.Rule{
		{Name: "deny", Action: policy.Deny, To: []policy.Operation{
			{Hosts: []string{"secret.test", "*.secret.test", "[::1]"}, Paths: []policy.PathPattern{{Segments: []string{"x"}, Prefix: true}}},
			{Hosts: []string{"a.test"}, Paths: []policy.PathPattern{{Segments: []string{"own"}}}},
		}},
		{Name: "all", Action: policy.Allow},
	}})
	for path, denied := range map[string]bool{
		"||secret.test|x": true, "||Secret.Test|x|y": true, "||secret.test.|x": true, "||secret.test:80|x": true, "||u:p@secret.test:80|x": true,
		"||a.secret.test|x": true, "|||secret.test|x": true, "|/secret.test/x": true, "||secret.test|/x": true, `|\secret.test\x`: true,
		`|/\secret.test|x`: true, `|\/secret.test|x`: true, "||[::1]|x": true, "||[::1]:80|x": true, "||u@[::1]|x": true,
		"||other.test|own": true, "||secret.test|own": true,
		"|secret.test|x": false, "||xsecret.test|x": false, "||secret.test|y": false, "|x||secret.test|x": false, "||secret.test@a.test|x": false,
	} {
		f := &decide.Facts{Method: "GET", Host: "a.test", Segments: strings.Split(path[1:], "|")}
		if got := !r.Decide(f).Allowed(); got != denied {
			t.Errorf("%s: denied %t, want %t", path, got, denied)
		}
	}
}

// A deny rule for a path with a slash at the end is for that one in every reading, and for no other.
func TestDenyOfASlashAtTheEndHoldsForEveryReading(t *testing.T) {
	r := route(t, levels("p"), policy.Policy{Name: name("p"), Rules: []policy.Rule{
		{Name: "deny", Action: policy.Deny, To: []policy.Operation{{Paths: []policy.PathPattern{{Segments: []string{"admin"}, Slash: true}}}}},
		{Name: "all", Action: policy.Allow},
	}})
	for path, denied := range map[string]bool{
		"|admin|": true, "||admin|": true, "|||admin|": true, "|admin||": true, "||h|admin|": true, "|/admin|": true, "|admin/": true, `|admin\`: true,
		"|admin": false, "||admin": false, "||h|admin": false, "|/admin": false, "|admin|x|": false,
	} {
		f := &decide.Facts{Method: "GET", Host: "a.test", Segments: strings.Split(path[1:], "|")}
		if n := len(f.Segments) - 1; f.Segments[n] == "" {
			f.Segments, f.Slash = f.Segments[:n], true
		}
		if got := !r.Decide(f).Allowed(); got != denied {
			t.Errorf("%s: denied %t, want %t", path, got, denied)
		}
	}
}

// A path with as many slashes of all kinds as Check lets through, and as long as Envoy does, costs a bounded number of readings.
func TestReadingsAreBounded(t *testing.T) {
	r := route(t, levels("p"), policy.Policy{Name: name("p"), Rules: []policy.Rule{
		{Name: "deny", Action: policy.Deny, To: []policy.Operation{{Paths: []policy.PathPattern{{Segments: []string{"admin"}, Prefix: true}}}}},
		{Name: "all", Action: policy.Allow},
	}})
	segments := []string{"", ""}
	for range 63 {
		segments = append(segments, "", strings.Repeat("a", 300)+"/"+strings.Repeat("b", 300)+`\`+strings.Repeat("c", 300))
	}
	f := &decide.Facts{Method: "GET", Host: "a", Segments: segments, Slash: true}
	if n := testing.AllocsPerRun(10, func() {
		if d := r.Decide(f); !d.Allowed() {
			t.Fatal(d)
		}
	}); n > 1000 {
		t.Errorf("%.0f allocations", n)
	}
}
