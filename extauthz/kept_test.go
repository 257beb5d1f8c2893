package extauthz_test

import (
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/policy"
)

var kept = map[policy.RouteID]policy.PathRules{
	"none": {}, "escaped": {KeepEscapedSlashes: true}, "empty": {KeepEmptySegments: true}, "both": {KeepEscapedSlashes: true, KeepEmptySegments: true},
}

// keeping is a Set with a port for each of the path rules: one policy denies /admin and below, allows /admin's neighbours below /a, and
// exactly /x and /x/.
func keeping() *policy.Set {
	set := orders()
	set.Policies[1].Rules = []policy.Rule{
		{Name: "admin", Action: policy.Deny, To: under("admin")},
		{Name: "exact", Action: policy.Deny, To: []policy.Operation{{Paths: []policy.PathPattern{{Segments: []string{"a", "secret"}}}}}},
		{Name: "a", Action: policy.Allow, To: under("a")},
		{Name: "empty", Action: policy.Allow, To: under("")},
		{Name: "x", Action: policy.Allow, To: []policy.Operation{{Paths: []policy.PathPattern{{Segments: []string{"x"}}, {Segments: []string{"x"}, Slash: true}}}}},
	}
	set.Workloads[0].Ports = nil
	for _, id := range []policy.RouteID{"none", "escaped", "empty", "both"} {
		p := port(id, "plain")
		p.Paths = kept[id]
		set.Workloads[0].Ports = append(set.Workloads[0].Ports, p)
	}
	return set
}

func TestKeptPaths(t *testing.T) {
	r := newRig(t)
	r.Publish(keeping(), 2)
	const (
		ok, no, denied = "allowed", "no_rule_matches", "denied_by_rule"
		slash, empty   = "path_encoded_slash", "path_empty_segment"
		dots, invalid  = "path_dot_segment", "path_invalid"
	)
	// Answers without rules, with escaped slashes, with empty segments, with both.
	for path, want := range map[string][4]string{
		"/a/b":            {ok, ok, ok, ok},
		"/a%2Fb":          {slash, no, slash, no},
		"/a/b%2fc":        {slash, ok, slash, ok},
		"/a/b%5Cc":        {slash, ok, slash, ok},
		"/a%2F":           {slash, no, slash, no},
		"/x%2F":           {slash, no, slash, no},
		"/a//b":           {empty, empty, ok, ok},
		"/a//":            {empty, empty, ok, ok},
		"//":              {empty, empty, ok, ok},
		"//a":             {empty, empty, ok, ok},
		"//x":             {empty, empty, ok, ok},
		"/x//":            {empty, empty, no, no},
		"/a//b%2F/c":      {empty, empty, slash, ok},
		"/a/%2F..":        {slash, dots, slash, dots},
		"/a%2f..%2fadmin": {slash, dots, slash, dots},
		"/a%5c.%5cb":      {slash, dots, slash, dots},
		"/a/..%2F":        {slash, dots, slash, dots},
		"/a//..":          {empty, empty, dots, dots},
		"/a/%2F...":       {slash, ok, slash, ok},
		"/a%2F%00":        {slash, "path_control", slash, "path_control"},
		"/a%2F;":          {"path_parameter", "path_parameter", "path_parameter", "path_parameter"},
		"/a%2F%3b":        {slash, "path_parameter", slash, "path_parameter"},
		"/a%2F%c0%af":     {slash, "path_encoding", slash, "path_encoding"},
		`/a\b`:            {invalid, invalid, invalid, invalid},
		// What a rule denies is denied in every reading.
		"/admin%2Fx":                {slash, denied, slash, denied},
		"/admin%5cx":                {slash, denied, slash, denied},
		"/%2Fadmin":                 {slash, denied, slash, denied},
		"//admin":                   {empty, empty, denied, denied},
		"/admin//":                  {empty, empty, denied, denied},
		"//host/admin":              {empty, empty, denied, denied},
		"///host//admin/x":          {empty, empty, denied, denied},
		"/%2Fhost/admin":            {slash, denied, slash, denied},
		"//host%2fadmin":            {empty, empty, slash, denied},
		"/%5C%2F%5Cadmin":           {slash, denied, slash, denied},
		"//h%2fx/admin%2fy":         {empty, empty, slash, denied},
		"/a//secret":                {empty, empty, denied, denied},
		"/a%2Fsecret":               {slash, denied, slash, denied},
		"/a/secret/":                {ok, ok, ok, ok},
		"/a//secret/":               {empty, empty, ok, ok},
		"/a%2Fadmin":                {slash, no, slash, no},
		strings.Repeat("/a", 257):   {ok, invalid, invalid, invalid},
		strings.Repeat("/a", 256):   {ok, ok, ok, ok},
		strings.Repeat("%2Fa", 257): {invalid, invalid, invalid, invalid},
	} {
		for i, id := range []string{"none", "escaped", "empty", "both"} {
			if got := r.answer(t, ask(withRoute(id), withPath(path))); got.Reason != want[i] {
				t.Errorf("%s, %.40q: %d %s, want %s", id, path, got.Code, got.Reason, want[i])
			}
		}
	}
}

// A route that has vanished is read by the path rules that it had: those of its id.
func TestVanishedRouteKeepsItsPathRules(t *testing.T) {
	r := newRig(t)
	r.Publish(keeping(), 2)
	later := keeping()
	later.Workloads[0].Ports = later.Workloads[0].Ports[:1]
	r.Publish(later, 3)
	for id, want := range map[string]string{"none": "path_encoded_slash", "escaped": "allowed", "empty": "path_encoded_slash", "both": "allowed"} {
		if got := r.answer(t, ask(withRoute(id), withPath("/a/b%2Fc"))); got.Reason != want {
			t.Errorf("%s: %+v, want %s", id, got, want)
		}
	}
	if got := r.answer(t, ask(withRoute("both"), withPath("//admin%2Fx"))); got.Reason != "denied_by_rule" {
		t.Errorf("a vanished route's denials hold for readings: %+v", got)
	}
}

// One id with two ways to read paths is one with two meanings.
func TestOneIDWithTwoPathRules(t *testing.T) {
	set := keeping()
	twin := set.Workloads[0].Ports[0]
	twin.Name, twin.Paths = "twin", kept["both"]
	set.Workloads[0].Ports = append(set.Workloads[0].Ports, twin)
	r := newRig(t)
	r.Publish(set, 2)
	if got := r.answer(t, ask(withRoute("none"), withPath("/a"))); got.Code != 403 {
		t.Errorf("%+v", got)
	}
}

// HTTP/1.0 reaches a Check only where a gateway has a health path.
func TestHTTP10IsRefused(t *testing.T) {
	r := newRig(t)
	for version, want := range map[string]string{"HTTP/1.0": "http_version", "HTTP/1.1": "allowed", "HTTP/2": "allowed", "HTTP/3": "allowed", "": "allowed"} {
		got := r.answer(t, ask(func(a *authv3.AttributeContext) { a.Request.Http.Protocol = version }))
		if got.Reason != want || (want == "http_version" && got.Code != 400) {
			t.Errorf("%q: %+v, want %s", version, got, want)
		}
	}
}

// Whatever is kept: no allowed path can be read as /admin or below, with slashes decoded and merged, and none holds dots.
func FuzzKept(f *testing.F) {
	for _, p := range []string{"/a%2Fb", "//admin", "/a//%5Cadmin", "/%2Fhost/admin", "/a/..%2f", "/a;//", "/\x00"} {
		f.Add(p)
	}
	r := newRig(f, discard)
	set := keeping()
	set.Policies[1].Rules = []policy.Rule{{Name: "admin", Action: policy.Deny, To: under("admin")}, {Name: "all", Action: policy.Allow}}
	r.Publish(set, 2)
	f.Fuzz(func(t *testing.T, path string) {
		for id, rules := range kept {
			if r.answer(t, ask(withRoute(string(id)), withPath(path))).Code != 200 {
				continue
			}
			plain, _, _ := strings.Cut(path, "?")
			lower := strings.ToLower(plain)
			if !rules.KeepEscapedSlashes && (strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c")) || !rules.KeepEmptySegments && strings.Contains(plain, "//") {
				t.Fatalf("%s allowed %q", id, path)
			}
			for _, slashes := range [][2]string{{"%2f", "/"}, {"%5c", `\`}, {`\`, "/"}, {"%61", "a"}, {"%64", "d"}, {"%6d", "m"}, {"%69", "i"}, {"%6e", "n"}, {"%2e", "."}} {
				lower = strings.ReplaceAll(lower, slashes[0], slashes[1])
			}
			var parts []string
			for _, part := range strings.Split(lower, "/") {
				if part == "." || part == ".." {
					t.Fatalf("%s allowed %q, which has dots", id, path)
				}
				if part != "" {
					parts = append(parts, part)
				}
			}
			// Paths compare by case; what is written in capitals is another path.
			if len(parts) > 0 && parts[0] == "admin" && !strings.ContainsAny(plain, "ADMIN") && !strings.Contains(plain, "%4") {
				t.Fatalf("%s allowed %q, which reads as /admin", id, path)
			}
		}
	})
}
