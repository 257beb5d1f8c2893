package decide_test

import (
	"testing"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Numbers in claims compare digit by digit: beyond 2^53 a float would take two tenants for one.
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
		{[]string{"tenant"}, "9007199254740993.0", false},
		{[]string{"tenant"}, "9.007199254740993e15", false},
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
