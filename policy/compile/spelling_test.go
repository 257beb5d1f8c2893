package compile_test

import (
	"slices"
	"strings"
	"testing"
)

// Gateway API, HTTPRouteRule.Matches: the longest path first, and the length is that of the path, not of its spelling.
func TestPrecedenceOfSpellings(t *testing.T) {
	rule := func(path string) string {
		return "- {matches: [{path: {type: PathPrefix, value: " + path + "}}], backendRefs: [" + ref("app", 1) + "]}\n  "
	}
	for _, tc := range []struct{ first, second string }{
		{"/a@b/c", "/a%40b"},
		{"/aa/bb", "/%61%61"},
		{"/caf%C3%A9/x", "/caf%c3%a9"},
	} {
		set, diags := compiled(t, edge{port: 80, listener: "http", rule: rule(`"`+tc.second+`"`) + rule(`"`+tc.first+`"`)}.text())
		var got []string
		for _, r := range allRoutes(set) {
			got = append(got, r.Match.Path)
		}
		if !slices.Equal(got, []string{tc.first, tc.second}) {
			t.Errorf("order %q, want %q first: %v", got, tc.first, diags)
		}
	}
}

// One path in two spellings is one route: the second never matches.
func TestDuplicateSpelling(t *testing.T) {
	rule := "- {matches: [{path: {type: Exact, value: /a@b}}, {path: {type: Exact, value: /%61%40b}}, {path: {type: Exact, value: /a@b/}}]}"
	set, diags := compiled(t, edge{port: 80, listener: "http", rule: rule}.text())
	var got []string
	for _, r := range allRoutes(set) {
		got = append(got, r.Match.Path)
	}
	if !slices.Equal(got, []string{"/a@b/", "/a@b"}) {
		t.Errorf("routes %q", got)
	}
	for _, d := range diags {
		if strings.Contains(d, "duplicate-route") {
			return
		}
	}
	t.Errorf("nobody is told: %v", diags)
}
