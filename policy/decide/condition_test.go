package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestListed(t *testing.T) {
	claims := map[string]any{
		"realm": map[string]any{"roles": []any{"b", "a", decide.Number("7"), nil, map[string]any{}, ""}},
		"text":  " eu, staff ,,eu", "object": map[string]any{"a": true},
	}
	for _, tt := range []struct {
		name string
		l    *policy.Listing
		want []string
	}{
		{"nothing is said", nil, nil},
		{"strings of a list", &policy.Listing{From: [][]string{{"realm", "roles"}}}, []string{"a", "b"}},
		{"one string", &policy.Listing{From: [][]string{{"text"}}}, []string{" eu, staff ,,eu"}},
		{"a divided string", &policy.Listing{From: [][]string{{"text"}}, Separator: ","}, []string{"eu", "staff"}},
		{"mapped, the rest counts for nothing", &policy.Listing{From: [][]string{{"realm", "roles"}}, Names: []policy.NameValue{{Name: "a", Value: "admin"}, {Name: "admin", Value: "x"}}}, []string{"admin"}},
		{"joined", &policy.Listing{From: [][]string{{"realm", "roles"}, {"text"}, {"none"}}, Separator: ","}, []string{"a", "b", "eu", "staff"}},
		{"no list", &policy.Listing{From: [][]string{{"object"}, {"realm"}}}, nil},
	} {
		if d := cmp.Diff(tt.want, decide.Listed(claims, tt.l)); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func TestExactNumbers(t *testing.T) {
	for text, want := range map[string]any{
		"0": int64(0), "-0": int64(0), "7.0": int64(7), "70e-1": int64(7), "9007199254740993": int64(9007199254740993), "-9223372036854775808": int64(-9223372036854775808),
		"0.5": 0.5, "1e3": int64(1000), "-2.25": -2.25,
		"9223372036854775808": nil, "1e400": nil, "1e-400": nil, "9007199254740993.5": nil, "0.1234567890123456789": nil, "x": nil, "1e99999999999": nil,
	} {
		got, err := decide.Number(text).Exact()
		if want == nil && err == nil || want != nil && got != want {
			t.Errorf("%s: %v (%T), %v", text, got, got, err)
		}
	}
}

// A condition that can't be told denies: allow rules do not hold, deny rules do, and a user of another issuer is nobody to it.
func TestConditionsFailClosed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action policy.Action
		source string
		user   *decide.User
		want   decide.Reason
	}{
		{"allow, not CEL", policy.Allow, `this is none`, nil, decide.ConditionFalse},
		{"allow, an error", policy.Allow, `request.headers["x-none"] == ["a"]`, nil, decide.ConditionFalse},
		{"allow, false", policy.Allow, `request.method == "PUT"`, nil, decide.ConditionFalse},
		{"allow, true", policy.Allow, `request.method == "GET"`, nil, decide.Allowed},
		{"deny, not CEL", policy.Deny, `this is none`, nil, decide.DeniedByRule},
		{"deny, an error", policy.Deny, `request.headers["x-none"] == ["a"]`, nil, decide.DeniedByRule},
		{"deny, false", policy.Deny, `request.method == "PUT"`, nil, decide.Allowed},
		{"another issuer's user", policy.Allow, `has(user.subject) && user.subject == "alice"`, by(policy.BearerToken, "other"), decide.ConditionFalse},
		{"our user", policy.Allow, `has(user.subject) && user.subject == "alice"`, by(policy.BearerToken, "idp"), decide.Allowed},
	} {
		p := policy.Policy{Name: name("p"), Issuers: []policy.Name{name("idp")}, Rules: []policy.Rule{{Name: "r", Action: tt.action, Condition: tt.source}}}
		if tt.action == policy.Deny {
			p.Rules = append(p.Rules, policy.Rule{Name: "all", Action: policy.Allow})
		}
		if d := route(t, levels("p"), p).Decide(get(web, tt.user)); d.Reason != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, d.Reason, tt.want)
		}
	}
}

// What a rule asks of roles, groups, headers and sign-in costs an allowed request no memory; a condition does, and this prints how much.
func TestAllowAllocations(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	user := by(policy.BearerToken, "idp")
	user.Roles, user.Groups, user.ACR, user.AuthTime = []string{"admin"}, []string{"eu"}, "gold", now
	f := get(web, user)
	f.Now, f.Segments, f.Headers = now, []string{"a", "7"}, []decide.Header{{Name: "x-a", Value: "b"}}
	for _, source := range []string{"", `user.subject == request.params.id || "admin" in user.roles`} {
		var rules []policy.Rule
		for i := range 100 {
			rules = append(rules, policy.Rule{
				Name: fmt.Sprint(i), Action: policy.Allow, NeedsUser: true, AnyRoles: []string{"admin"}, AllGroups: []string{"eu"}, ACR: []string{"gold"},
				MaxAge: time.Hour, Condition: source, To: []policy.Operation{{
					Paths:   []policy.PathPattern{{Segments: []string{string(rune('a' + i)), ""}, Variables: []string{"", "id"}}},
					Headers: []policy.HeaderMatch{{Name: "x-a", AnyOf: []string{"b"}}},
				}},
			})
		}
		r := route(t, levels("p"), policy.Policy{Name: name("p"), Issuers: []policy.Name{name("idp")}, Rules: rules})
		if d := r.Decide(f); !d.Allowed() {
			t.Fatalf("%s", d.Reason)
		}
		n := testing.AllocsPerRun(100, func() { r.Decide(f) })
		t.Logf("condition %q: %v allocations", source, n)
		if source == "" && n != 0 || n > 40 {
			t.Errorf("condition %q: %v allocations", source, n)
		}
	}
}

func TestAuditRules(t *testing.T) {
	p := policy.Policy{Name: name("p"), Rules: []policy.Rule{{Name: "a", Action: policy.Deny, Audit: true}, {Name: "b", Action: policy.Allow}}}
	set := &policy.Set{Policies: []policy.Policy{p}, Workloads: []policy.Workload{{Name: name("w"), Ports: []policy.Port{{Name: "http", Route: "id", Access: levels("p")}}}}}
	want := []decide.AuditHit{{Policy: name("p"), Rule: "a", Action: policy.Deny}}
	if d := cmp.Diff(want, decide.NewIndex(set).AuditRules()); d != "" {
		t.Error(d)
	}
}

func BenchmarkCondition(b *testing.B) {
	for _, source := range []string{"", `user.subject == request.params.id || "admin" in user.roles`} {
		user := by(policy.BearerToken, "idp")
		user.Roles = []string{"admin"}
		f := get(web, user)
		f.Segments = []string{"a", "7"}
		set := &policy.Set{
			Policies: []policy.Policy{{Name: name("p"), Issuers: []policy.Name{name("idp")}, Rules: []policy.Rule{{
				Name: "r", Action: policy.Allow, NeedsUser: true, Condition: source,
				To: []policy.Operation{{Paths: []policy.PathPattern{{Segments: []string{"a", ""}, Variables: []string{"", "id"}}}}},
			}}}},
			Workloads: []policy.Workload{{Name: name("w"), Ports: []policy.Port{{Name: "http", Route: "id", Access: levels("p")}}}},
		}
		r, ok := decide.NewIndex(set).Route("id")
		if !ok {
			b.Fatal("no route")
		}
		b.Run(fmt.Sprintf("%t", source != ""), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := r.Decide(f); !d.Allowed() {
					b.Fatal(d.Reason)
				}
			}
		})
	}
}

// A deny rule finds a header in every line, in every part and under every name that some server takes for it; an allow rule believes the one
// line of exactly that name.
func TestHeadersInOtherSpellings(t *testing.T) {
	for _, tt := range []struct {
		name        string
		headers     []decide.Header
		deny, allow bool
	}{
		{"as it is", []decide.Header{{Name: "x-the-role", Value: "root"}}, true, true},
		{"nothing", nil, false, false},
		{"another value", []decide.Header{{Name: "x-the-role", Value: "user"}}, false, false},
		{"the second line", []decide.Header{{Name: "x-the-role", Value: "user"}, {Name: "x-the-role", Value: "root"}}, true, false},
		{"a part", []decide.Header{{Name: "x-the-role", Value: "user, root"}}, true, false},
		{"underscores", []decide.Header{{Name: "x_the_role", Value: "root"}}, true, false},
		{"a dot", []decide.Header{{Name: "x-the.role", Value: "root"}}, true, false},
		{"beside another line", []decide.Header{{Name: "x-the-role", Value: "user"}, {Name: "x_the-role", Value: "root"}}, true, false},
		{"another letter", []decide.Header{{Name: "x-the0role", Value: "root"}}, false, false},
		{"a longer name", []decide.Header{{Name: "x-the-role-", Value: "root"}}, false, false},
	} {
		for _, action := range []policy.Action{policy.Deny, policy.Allow} {
			rules := []policy.Rule{{Name: "r", Action: action, To: []policy.Operation{{Headers: []policy.HeaderMatch{{Name: "x-the-role", AnyOf: []string{"root"}}}}}}}
			want := tt.allow
			if action == policy.Deny {
				rules, want = append(rules, policy.Rule{Name: "all", Action: policy.Allow}), !tt.deny
			}
			f := get(web, nil)
			f.Headers = tt.headers
			if d := route(t, levels("p"), policy.Policy{Name: name("p"), Rules: rules}).Decide(f); d.Allowed() != want {
				t.Errorf("%s, %v: %s", tt.name, action, d.Reason)
			}
		}
	}
}
