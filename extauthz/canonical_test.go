package extauthz_test

import (
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/policy"
)

// paths is a Set whose one route allows exactly /admin, /admin/ and what is below /files, and nothing else.
func paths() *policy.Set {
	set := orders()
	set.Policies[1].Rules = []policy.Rule{{Name: "paths", Action: policy.Allow, To: []policy.Operation{{Paths: []policy.PathPattern{
		{Segments: []string{"admin"}}, {Segments: []string{"admin"}, Slash: true}, {Segments: []string{"files"}, Prefix: true}, {Segments: []string{}},
	}}}}}
	return set
}

// The paths are those that real Envoy passes on (reference: targets sent to a host with normalisation on).
func TestCanonicalPath(t *testing.T) {
	r := newRig(t)
	r.Publish(paths(), 2)
	const no = "no_rule_matches"
	for path, want := range map[string]string{
		"/admin": "allowed", "/admin/": "allowed", "/": "allowed", "/admin?x": "allowed", "/admin?": "allowed", "/admin??a=/../b": "allowed",
		"/admin?a=%2F;x=%zz&y=\x01": "allowed", "/?/admin": "allowed", "/%61dmin": "allowed", "/files/a.b": "allowed", "/files/...": "allowed",
		"/files/%C3%A9": "allowed", "/files/%7Bx%7D": "allowed", "/files/a:80": "allowed", "/files/a%20b": "allowed", "/files/a%3Fx": "allowed",
		"/files/%23": "allowed", "/files/%252e%252e": "allowed", "/files/a+b@c'd": "allowed", "/files/[x]|": "allowed",
		"/ADMIN": no, "/%41dmin": no, "/adminx": no, "/%252Fadmin": no, "/a.test/admin": no, "/http:/x": no,
		"/a/..;/admin": "path_parameter", "/admin;x=1": "path_parameter", "/admin;": "path_parameter", "/;/admin": "path_parameter",
		"/a/..%3B/admin": "path_parameter", "/admin%3bx": "path_parameter", "/admin;/x": "path_parameter",
		"/a/../admin": "path_dot_segment", "/./admin": "path_dot_segment", "/admin/.": "path_dot_segment", "/admin/..": "path_dot_segment",
		"/a/%2e%2E/admin": "path_dot_segment", "/a/.%2e/admin": "path_dot_segment", "/%2e": "path_dot_segment",
		"/%": "path_encoding", "/%2": "path_encoding", "/%zz": "path_encoding", "/%u002e/x": "path_encoding", "/%ff": "path_encoding",
		"/%c0%ae%c0%ae/admin": "path_encoding", "/%ed%a0%80": "path_encoding", "/files/%2g": "path_encoding",
		"/a%2fadmin": "path_encoded_slash", "/a%5cadmin": "path_encoded_slash", "/%2F": "path_encoded_slash",
		"/admin%00": "path_control", "/admin%0a": "path_control", "/admin%09": "path_control", "/admin%7f": "path_control",
		"/admin\x00": "path_control", "/ad min": "path_control", "/\xc3\xa9": "path_control", "/admin\r\nx": "path_control",
		"//admin": "path_empty_segment", "/admin//": "path_empty_segment", "/a//b": "path_empty_segment", "//": "path_empty_segment",
		"": "path_invalid", "*": "path_invalid", "admin": "path_invalid", "?x": "path_invalid", "http://a.test/admin": "path_invalid",
		`/a\admin`: "path_invalid", "/admin#f": "path_invalid", "#": "path_invalid",
	} {
		if got := r.answer(t, ask(withRoute("plain"), withPath(path))); got.Reason != want {
			t.Errorf("path %q: %d %s, want %s", path, got.Code, got.Reason, want)
		} else if strings.HasPrefix(want, "path_") && got.Code != 400 {
			t.Errorf("path %q: %d, want 400", path, got.Code)
		}
	}
	// A CONNECT has an empty path.
	if got := r.answer(t, ask(withRoute("plain"), withMethod("CONNECT"), withPath(""))); got.Reason != "path_invalid" {
		t.Errorf("CONNECT: %+v", got)
	}
}

func TestCanonicalHost(t *testing.T) {
	set := orders()
	set.Policies[1].Rules[0].To = []policy.Operation{{Hosts: []string{"a.test", "*.b.test", "[::1]", "127.0.0.1", "a_b"}}}
	r := newRig(t)
	r.Publish(set, 2)
	for host, want := range map[string]string{
		"a.test": "allowed", "A.TEST": "allowed", "A.Test:8443": "allowed", "a.test:0": "allowed", "x.b.test": "allowed", "y.x.b.test:1": "allowed",
		"[::1]": "allowed", "[::1]:80": "allowed", "[0:0::1]": "allowed", "[0000:0000:0000:0000:0000:0000:0000:0001]:80": "allowed", "127.0.0.1:9": "allowed", "a_b": "allowed",
		"b.test": "no_rule_matches", "ab.test": "no_rule_matches", "c.test": "no_rule_matches",
		"": "host_invalid", ".": "host_invalid", "a.test.": "host_invalid", ".a.test": "host_invalid", "a..test": "host_invalid",
		"a.test:": "host_invalid", "a.test:x": "host_invalid", "a.test:80:80": "host_invalid", "a.test:99999": "host_invalid", "a.test:+1": "host_invalid",
		"evil.com,a.test": "host_invalid", "u@a.test": "host_invalid", "u:p@a.test:80": "host_invalid", "a.test;x": "host_invalid", "$(x)": "host_invalid",
		"*.b.test": "host_invalid", "%61.test": "host_invalid", "[:": "host_invalid", ":": "host_invalid", "[::1": "host_invalid", "[::1]x": "host_invalid",
		"[fe80::1%25eth0]": "host_invalid", "[127.0.0.1]": "host_invalid", "a test": "host_invalid", "a.test\x00": "host_invalid", "\xc3\xa9.test": "host_invalid",
		strings.Repeat("a", 64) + ".test": "host_invalid", strings.Repeat("a.", 150) + "test": "host_invalid",
	} {
		if got := r.answer(t, ask(withRoute("plain"), withHost(host))); got.Reason != want {
			t.Errorf("host %q: %d %s, want %s", host, got.Code, got.Reason, want)
		}
	}
}

func TestCanonicalMethod(t *testing.T) {
	set := orders()
	set.Policies[1].Rules[0].To = []policy.Operation{{Methods: []string{"GET", "M-SEARCH"}}}
	r := newRig(t)
	r.Publish(set, 2)
	for method, want := range map[string]string{
		"GET": "allowed", "M-SEARCH": "allowed", "POST": "no_rule_matches", "QUERY": "no_rule_matches", "FOO": "no_rule_matches",
		"get": "method_invalid", "Get": "method_invalid", "": "method_invalid", "GET ": "method_invalid", "G\x00T": "method_invalid",
		strings.Repeat("A", 33): "method_invalid",
	} {
		if got := r.answer(t, ask(withRoute("plain"), withMethod(method))); got.Reason != want {
			t.Errorf("method %q: %d %s, want %s", method, got.Code, got.Reason, want)
		}
	}
}

// Whatever the target is: the answer is an allow or a refusal with a code, an allowed path decodes to plain segments, and asking twice gives
// the same.
func FuzzCanonical(f *testing.F) {
	for _, p := range []string{"/", "/admin", "/a/..;/b", "/%2e%2e", "/a%2fb", "//", "/a?b", "/%c3%a9/%zz"} {
		f.Add("GET", "a.test:80", p)
	}
	r := newRig(f, discard)
	f.Fuzz(func(t *testing.T, method, host, path string) {
		req := ask(withRoute("plain"), withMethod(method), withHost(host), withPath(path))
		first, second := r.answer(t, req), r.answer(t, req)
		if first != second {
			t.Fatalf("%+v, then %+v", first, second)
		}
		if first.Code != 200 {
			return
		}
		plain, _, _ := strings.Cut(path, "?")
		lower := strings.ToLower(plain)
		for _, bad := range []string{";", "%3b", "%2f", "%5c", "\\", "%00", "//", "/./", "/../", "%0a", "%0d", "#"} {
			if strings.Contains(lower, bad) {
				t.Fatalf("allowed a path with %q: %q", bad, path)
			}
		}
		if strings.HasSuffix(plain, "/..") || strings.HasSuffix(plain, "/.") || !strings.HasPrefix(plain, "/") || strings.ContainsAny(host, ",@/ ") {
			t.Fatalf("allowed %q %q", host, path)
		}
	})
}

func withQuery(q string) func(*authv3.AttributeContext) { return withPath("/orders/7?" + q) }
