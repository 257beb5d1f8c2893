package decide_test

import (
	"strconv"
	"testing"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Numbers in claims compare by their exact value: beyond 2^53 a float would take two tenants for one.
func TestClaimsCompareExactly(t *testing.T) {
	claims := map[string]any{
		"tenant": decide.Number("9007199254740993"), "list": []any{decide.Number("1"), "9007199254740993", true}, "text": "1",
		"a.b": "dots", "a": map[string]any{"b": "nested"}, "null": nil, "object": map[string]any{"1": "x"},
	}
	for _, c := range []struct {
		path  []string
		value string
		want  bool
	}{
		{[]string{"tenant"}, "9007199254740993", true},
		{[]string{"tenant"}, "9007199254740992", false},
		{[]string{"tenant"}, "9007199254740993.0", true},
		{[]string{"tenant"}, "9.007199254740993e15", true},
		{[]string{"tenant"}, "9.007199254740992e15", false},
		{[]string{"list"}, "9007199254740993", true},
		{[]string{"list"}, "true", true},
		{[]string{"list"}, "2", false},
		{[]string{"text"}, "1", true},
		{[]string{"a.b"}, "dots", true},
		{[]string{"a", "b"}, "nested", true},
		{[]string{"a.b"}, "nested", false},
		{[]string{"null"}, "null", false},
		{[]string{"object"}, "1", false},
		{[]string{"object"}, "x", false},
		{[]string{"text", "1"}, "1", false},
		{nil, "1", false},
	} {
		if got := decide.HoldsClaim(claims, &policy.Claim{Path: c.path, AnyOf: []string{"other", c.value}}); got != c.want {
			t.Errorf("%q is %q: %v, want %v", c.path, c.value, got, c.want)
		}
	}
	for _, path := range [][]string{{"list"}, {"null"}, {"object"}, {"none"}, nil} {
		if got, ok := decide.ClaimText(claims, path); ok {
			t.Errorf("the one value at %q is %q", path, got)
		}
	}
}

// However an issuer writes a number, a rule that names its value holds: a deny rule is not passed by with 7.0 for 7.
func TestNumbersCompareByValue(t *testing.T) {
	same := [][]string{
		{"7", "7.0", "7e0", "7E+0", "70e-1", "0.7e1", "0.07e2", "700e-2", "7.000", "7e00000000000000000000"},
		{"-7", "-7.0", "-0.7e1"},
		{"100", "1e2", "1.00e2", "0.1e3"},
		{"0", "-0", "0.0", "0e99999999999999999999", "0e-9", "-0.000"},
		{"0.1", "1e-1", "0.10"},
		{"9007199254740993", "9007199254740993.0", "9.007199254740993e15"},
		{"9007199254740992"},
		{"9007199254740993.1"},
		// Beyond what is compared by value, each is itself alone.
		{"1e1000000000"},
		{"1e1000000001"},
		{"1e1000001"},
		{"1e-1000000000"},
		{"1e999999"},
		{"10"},
		{"1"},
		{"70"},
		{"0.07"},
		{"18446744073709551616"},
		{"18446744073709551617"},
	}
	for i, group := range same {
		for j, other := range same {
			for _, n := range group {
				for _, value := range other {
					claims := map[string]any{"n": []any{decide.Number(n)}}
					if got := decide.HoldsClaim(claims, &policy.Claim{Path: []string{"n"}, AnyOf: []string{value}}); got != (i == j) {
						t.Errorf("%s is %s: %v", n, value, got)
					}
				}
			}
		}
	}
	for _, value := range []string{"07", "+7", "7.", ".7e1", " 7", "7 ", "7e", "7e+", "0x7", "7_0e-1", "--7", "7e0.0", "seven", "", "-", "NaN"} {
		if decide.HoldsClaim(map[string]any{"n": decide.Number("7")}, &policy.Claim{Path: []string{"n"}, AnyOf: []string{value}}) {
			t.Errorf("7 is %q", value)
		}
		if decide.HoldsClaim(map[string]any{"n": "7"}, &policy.Claim{Path: []string{"n"}, AnyOf: []string{value, "7.0"}}) {
			t.Errorf("the string 7 is %q", value)
		}
	}
}

// Where a policy has many rules they are found by what they say, not looked at one by one: numbers are found by their value there too.
func TestManyRulesFindNumbersByValue(t *testing.T) {
	issuer, name := policy.Name{Namespace: "default", Name: "i"}, policy.Name{Namespace: "default", Name: "p"}
	p := policy.Policy{Name: name, Issuers: []policy.Name{issuer}, Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}}
	for i := range 20 {
		p.Rules = append(p.Rules, policy.Rule{Name: strconv.Itoa(i), Action: policy.Deny, Claims: []policy.Claim{{Path: []string{"tenant"}, AnyOf: []string{strconv.Itoa(i)}}}})
	}
	set := &policy.Set{Policies: []policy.Policy{p}, Workloads: []policy.Workload{{Name: name, Ports: []policy.Port{{
		Port: 80, Route: "r", Access: policy.Access{Levels: []policy.Level{{Kind: policy.WorkloadLevel, Policies: []policy.Name{name}}}},
	}}}}}
	route, _ := decide.NewIndex(set).Route("r")
	for _, c := range []struct {
		value any
		want  bool
	}{
		{decide.Number("7"), false},
		{decide.Number("7.0"), false},
		{decide.Number("0.7e1"), false},
		{decide.Number("-0"), false},
		{"7", false},
		{[]any{"x", decide.Number("1.9e1")}, false},
		{decide.Number("7.1"), true},
		{"7.0", true},
		{decide.Number("20"), true},
		{decide.Number("1e1000000000"), true},
		{true, true},
		{nil, true},
	} {
		d := route.Decide(&decide.Facts{Method: "GET", Host: "h", User: &decide.User{Credential: policy.BearerToken, Issuer: issuer, Claims: map[string]any{"tenant": c.value}}})
		if d.Allowed() != c.want {
			t.Errorf("%v: allowed %v", c.value, d.Allowed())
		}
	}
}
