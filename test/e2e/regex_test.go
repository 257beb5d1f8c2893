//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/internal/testport"
	"github.com/credence-mesh/credence/manifests/regex"
)

// chosenPatterns are at the edges of what regex.Check takes.
var chosenPatterns = []string{
	`/`, `/a`, `/a|/b`, `(/a|/b)/c`, `/a*`, `/a+`, `/a?`, `/a{2}`, `/a{2,}`, `/a{0,2}`, `/.`, `/.*`, `/.+?`, `(?s)/.*`, `/[ab]`, `/[^ab]`, `/[a-c0-9]+`, `/[^/]+`,
	`/\d+`, `/\D+`, `/\w+`, `/\W+`, `/\s`, `/\S+`, `/a\b.*`, `/a\B.*`, `\A/a\z`, `^/a$`, `(?m)^/a$`, `/a$b`, `/a^b`, `(?i)/A.K`, `/(?i:k)s`, `(?i)/[^k]`, `(?i)/[k-s]+`,
	`/[[:alpha:]]+`, `/[[:^digit:]]+`, `/[[:punct:]]`, `/[\d\-]+`, `/[]a]+`, `/[^]a]+`, `/a{,2}`, `/a{`, `/{`, `/}`, `/]`, `/a\.b`, `/a\/b`, `/\x41`, `/\x{41}`,
	`(?P<n>/a)`, `(?U)/a+`, `(?U)/a+?b`, `(|/a)`, `(/a|)`, `/(a|ab)(c|bcd)`, `(/a*)*`, `(/a*)+`, `((/a)|(/b))*`, `/a\tb`, `/%[0-9A-Fa-f]{2}`, `/a%2[cC]`, `.*`, `.+`,
	`[^\x00-\x20]+`, `[\x00-\x7f]*`, `\b/a`, `/\ba\b`, `/a.?\z`, `/(?-s:.)`, `/a-z`, `/[a-]`, `/[-a]`, `/\*`, `/\[a\]`, `(?i)(?-i:/a)B`, `/_`, `/a:b@c`,
}

// bigPatterns are close to the limit of regex.Check, made of what costs RE2 most.
func bigPatterns() []string {
	return []string{
		strings.Repeat("@", 1024), `[^a]{1000}[^b]{900}`, `[acegikmoqsuwy02468ACEGIKMOQSUWY!#%')+/;=?_]{700}`, `[^acegikmoqsuwy02468ACEGIKMOQSUWY]{600}`, `.{1000}.{900}`, `(?s).{999}`, `(?i)k{1000}s{999}`, `(\W{30}\D){33}`, `([^a]|[^b]){300}`, `[^a]{0,900}`,
		strings.Repeat("[^a]", 255), strings.Repeat(`\W`, 511), strings.Repeat(".|", 500) + ".",
	}
}

// somePatterns are made at random, from a fixed seed.
func somePatterns(n int) []string {
	r := rand.New(rand.NewPCG(4, 4))
	atoms := []string{"a", "b", "k", "S", "0", "/", `\.`, ".", "[ab]", "[^a]", "[^/k]", `\d`, `\w`, `\W`, `\b`, `\B`, "^", "$", `\z`, "@", "%41", "(?i:kS)", `[[:upper:]]`}
	var make1 func(depth int) string
	make1 = func(depth int) string {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			part := atoms[r.IntN(len(atoms))]
			if depth > 0 && r.IntN(3) == 0 {
				part = []string{"(", "(?:", "(?i:", "(?s:", "(?m:"}[r.IntN(5)] + make1(depth-1) + ")"
			}
			b.WriteString(part + []string{"", "", "", "*", "+", "?", "{2}", "{0,3}", "*?", "??"}[r.IntN(10)])
		}
		if depth > 0 && r.IntN(4) == 0 {
			return b.String() + "|" + make1(depth-1)
		}
		return b.String()
	}
	var out []string
	for len(out) < n {
		if p := make1(3); regex.Check(p) == nil {
			out = append(out, p)
		}
	}
	return out
}

// pathInputs are paths that Envoy's normalisation leaves alone; headerInputs are values of a header, with bytes beyond ASCII too.
func pathInputs() []string {
	out := []string{
		"/", "/a", "/b", "/A", "/ab", "/a/b", "/a/", "/aa", "/aaa", "/aaaa", "/a/c", "/b/c", "/abcd", "/k", "/K", "/ks", "/kS", "/KS", "/s", "/0", "/00", "/a0", "/0a", "/a-b",
		"/_", "/a_b", "/.a", "/a.b", "/a@b", "/a:b@c", "/a%2Cb", "/a%2cb", "/%2C", "/a*", "/*", "/+", "/a+b", "/a$b", "/[a]", "/]", "/a,b", "/ab/ab/ab", "/aab", "/b0S/k.a", "/S@0",
		"/" + strings.Repeat("a", 999), "/" + strings.Repeat("k", 1998), strings.Repeat("/a", 150),
	}
	return out
}

func headerInputs() []string {
	return []string{
		"a", "b", "k", "K", "S", "s", "kS", "KS", "ks", "ab", "aa", "/a", "/", "0", "00", "a b", "a\tb", "@", "%41", "A", "k0/S", "aaa", "bb", "k.k", "\"a\"", "~", "{a}", "|", "^", "\\", "`",
		"\xff", "a\xff", "\xc3\xa9", "a\xc3", "\xe2\x84\xaa", "k\xe2\x84\xaa", "\xc5\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "a\xc2\x80b", strings.Repeat("a", 1998),
	}
}

// TestRegexTheSame: whatever expression is taken, Envoy takes it too, and it matches exactly what Go says that it matches.
func TestRegexTheSame(t *testing.T) {
	t.Parallel()
	binary, err := envoy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	patterns := append(append(append([]string{}, chosenPatterns...), bigPatterns()...), somePatterns(250)...)
	values := make([]string, len(patterns))
	for i, p := range patterns {
		if err := regex.Check(p); err != nil {
			t.Fatalf("%.60q: %v", p, err)
		}
		if values[i], err = regex.ASCII(p); err != nil {
			t.Fatal(err)
		}
	}
	ask := startRegexEnvoy(t, binary.Path, patterns, values)
	wrong, matched, asked := 0, 0, 0
	compare := func(kind, pattern, input string, got bool) {
		asked++
		want := regexp.MustCompile("^(?:" + pattern + ")$").MatchString(input)
		if want {
			matched++
		}
		if got != want {
			if wrong++; wrong < 20 {
				t.Errorf("%s: %.80q on %.80q: Envoy says %t, Go says %t", kind, pattern, input, got, want)
			}
		}
	}
	for i := range patterns {
		for _, in := range pathInputs() {
			compare("path", patterns[i], in, ask(fmt.Sprintf("p%d.test", i), in, ""))
		}
		for _, in := range headerInputs() {
			compare("header", values[i], in, ask(fmt.Sprintf("h%d.test", i), "/", in))
		}
	}
	t.Logf("%d questions, %d matched, %d answered otherwise", asked, matched, wrong)
	if matched < asked/50 {
		t.Error("hardly anything matched: the test shows little")
	}
}

// startRegexEnvoy runs an Envoy with one virtual host for each pattern, p<i>.test for paths and h<i>.test for the header x, that answers
// 204 where it matches and 404 where not. The function asks it on one connection.
func startRegexEnvoy(t *testing.T, binary string, paths, values []string) func(host, path, header string) bool {
	t.Helper()
	port := testport.Free(t, 1)[0]
	type object = map[string]any
	var hosts []object
	route := func(name string, match object) {
		hosts = append(hosts, object{"name": name, "domains": []string{name}, "routes": []object{{"match": match, "direct_response": object{"status": 204}}}})
	}
	for i := range paths {
		route(fmt.Sprintf("p%d.test", i), object{"safe_regex": object{"regex": paths[i]}})
		route(fmt.Sprintf("h%d.test", i), object{"prefix": "/", "headers": []object{{"name": "x", "string_match": object{"safe_regex": object{"regex": values[i]}}}}})
	}
	const ext = "type.googleapis.com/envoy.extensions.filters."
	config := object{
		// As internal/envoy.Bootstrap has it.
		"layered_runtime": object{"layers": []object{{"name": "l", "static_layer": object{"re2.max_program_size.error_level": 1 << 16}}}},
		"static_resources": object{"listeners": []object{{
			"name": "l", "address": object{"socket_address": object{"address": "127.0.0.1", "port_value": port}},
			"filter_chains": []object{{"filters": []object{{
				"name": "envoy.filters.network.http_connection_manager",
				"typed_config": object{
					"@type": ext + "network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "r", "normalize_path": true, "merge_slashes": true,
					"route_config": object{"virtual_hosts": hosts, "ignore_path_parameters_in_path_matching": true},
					"http_filters": []object{{"name": "r", "typed_config": object{"@type": ext + "http.router.v3.Router"}}},
				},
			}}}},
		}}},
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "-c", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-ended
	})
	c := dialUntil(t, fmt.Sprintf("127.0.0.1:%d", port), ended, &out)
	in := bufio.NewReader(c)
	return func(host, path, header string) bool {
		head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
		if header != "" {
			head += "X: " + header + "\r\n"
		}
		if _, err := io.WriteString(c, head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 204 && res.StatusCode != 404 {
			t.Fatalf("%s %.60q %.60q: %v, %v", host, path, header, res, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode == 204
	}
}

// dialUntil connects as soon as the process listens.
func dialUntil(t *testing.T, addr string, ended chan error, out *bytes.Buffer) net.Conn {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Envoy ended: %v\n%.3000s", err, out.String())
		case <-limit:
			t.Fatalf("Envoy does not listen: %v", err)
		case <-tick.C:
		}
	}
}
