//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// corpusRow is one row of docs/conformance/paths.md.
type corpusRow struct {
	sent   string
	status int
	// got by the upstream, where status is 200 and the table says.
	got string
}

var (
	corpusLine   = regexp.MustCompile("^\\| `(.*)` +\\| ([0-9]{3})(?: `(.*)`)? +\\|$")
	corpusHeader = regexp.MustCompile(`^\| ([a-z]+ +\| answer|-+) `)
)

// readCorpus reads the tables, by heading. A line that is no row, or that is there twice, fails: nothing in a table goes untested.
func readCorpus(t *testing.T) map[string][]corpusRow {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root(t), "docs/conformance/paths.md"))
	if err != nil {
		t.Fatal(err)
	}
	out, section, known := map[string][]corpusRow{}, "", map[string]bool{}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(line, "|") || corpusHeader.MatchString(line) {
			continue
		}
		m := corpusLine.FindStringSubmatch(line)
		if m == nil || known[section+m[1]] {
			t.Fatalf("%q is no row of its own", line)
		}
		known[section+m[1]] = true
		var r corpusRow
		for i, into := range []*string{1: &r.sent, 3: &r.got} {
			if into == nil {
				continue
			}
			if *into, err = strconv.Unquote(`"` + strings.ReplaceAll(m[i], `"`, `\"`) + `"`); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		if r.status, err = strconv.Atoi(m[2]); err != nil {
			t.Fatal(err)
		}
		out[section] = append(out[section], r)
	}
	for _, s := range []string{"Paths", "Hosts", "Methods"} {
		if len(out[s]) == 0 {
			t.Fatalf("the table %s has no rows", s)
		}
	}
	return out
}

// TestCorpus sends every row of docs/conformance/paths.md and holds what that page promises.
func TestCorpus(t *testing.T) {
	tables := readCorpus(t)
	m := startMesh(t, "corpus", "UP")
	for _, row := range tables["Paths"] {
		t.Run(rowName("path", row.sent), func(t *testing.T) {
			for _, host := range []string{"rules.test", "routes.test"} {
				target := strings.ReplaceAll(row.sent, "HOST", host)
				head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host)
				if s := m.verdict(t, "PLAIN", row.status, head); s != nil && s.target != row.got {
					t.Errorf("%s: the upstream got %q, want %q", host, s.target, row.got)
				}
			}
			if strings.HasPrefix(row.sent, "/") {
				m.overHTTP2(t, "PLAIN", row, "rules.test")
				// From workload to workload nothing is normalised where a request leaves, and all of it where it arrives.
				if s := m.verdict(t, "UP_OUT", row.status, "GET "+row.sent+" HTTP/1.1\r\nHost: up\r\n\r\n"); s != nil && s.target != row.got {
					t.Errorf("between workloads: the upstream got %q, want %q", s.target, row.got)
				}
			}
		})
	}
	for _, row := range tables["Hosts"] {
		t.Run(rowName("host", row.sent), func(t *testing.T) {
			s := m.verdict(t, "PLAIN", row.status, fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", row.sent))
			if s != nil && (strings.Join(s.header["Host"], "|") != row.got || readsAsSecret(row.got)) {
				t.Errorf("the upstream got host %q, want %q", s.header["Host"], row.got)
			}
		})
	}
	for _, row := range tables["Methods"] {
		t.Run(rowName("method", row.sent), func(t *testing.T) {
			s := m.verdict(t, "PLAIN", row.status, fmt.Sprintf("%s / HTTP/1.1\r\nHost: a.test\r\ncontent-length: 0\r\n\r\n", row.sent))
			if s != nil && s.method != row.sent {
				t.Errorf("the upstream got method %q", s.method)
			}
		})
	}
	t.Run("dot segments without end", func(t *testing.T) {
		m.verdict(t, "PLAIN", 403, "GET /"+strings.Repeat("a/../", 5000)+"admin HTTP/1.1\r\nHost: rules.test\r\n\r\n")
	})
	t.Run("a path longer than all headers", func(t *testing.T) {
		m.verdict(t, "PLAIN", 431, "GET /"+strings.Repeat("a", 70_000)+" HTTP/1.1\r\nHost: rules.test\r\n\r\n")
	})
	t.Run("one message that is read as two", func(t *testing.T) {
		for _, h := range []string{"content-length: 4\r\ntransfer-encoding: chunked", "content-length: 4\r\ncontent-length: 5", "content-length : 4", "content-length: +4"} {
			m.verdict(t, "PLAIN", 400, "POST / HTTP/1.1\r\nHost: rules.test\r\n"+h+"\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: rules.test\r\n\r\n")
		}
	})
	t.Run("an upgrade is judged", func(t *testing.T) {
		m.verdict(t, "PLAIN", 403, "GET /x/../admin HTTP/1.1\r\nHost: rules.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	})
	t.Run("headers that some frameworks read instead of the request line", func(t *testing.T) { insteadOfTheLine(t, m) })
}

func rowName(what, sent string) string { return what + " " + strings.Trim(strconv.Quote(sent), `"`) }

// verdict sends head to a listener and returns what the upstream got; nil: nothing. It holds "same verdict" for it.
func (m *apiMesh) verdict(t *testing.T, listener string, status int, head string) *seen {
	t.Helper()
	before := len(m.Log())
	m.upstreams.take()
	got, err := send(t.Context(), m.addr(listener), "-", head)
	if err != nil {
		t.Fatal(err)
	}
	if got.status != status {
		t.Errorf("%s: %.60q: status %d, want %d", listener, head, got.status, status)
	}
	checks := 2 // the gateway's and the sidecar's
	if strings.HasSuffix(listener, "_OUT") {
		checks = 1
	}
	return m.same(t, got.status, before, checks)
}

// same holds that a request ended in one way for all: refused with nothing upstream, or judged by the path that the upstream got.
func (m *apiMesh) same(t *testing.T, status, before, checks int) *seen {
	t.Helper()
	all := m.upstreams.take()
	if status != 200 || len(all) != 1 {
		if len(all) > 0 || status < 400 || status > 499 {
			t.Errorf("status %d, and the upstream got %v", status, all)
		}
		return nil
	}
	s := all[0]
	path, _, _ := strings.Cut(s.target, "?")
	if r := readings(path); below(r, "admin") {
		t.Errorf("the upstream got %q: it can be read as %q", s.target, r)
	}
	judged := judgedPaths(t, m.Log()[before:])
	if len(judged) != checks {
		t.Errorf("%d Checks judged %q, want %d", len(judged), s.target, checks)
	}
	for _, p := range judged {
		if p != path {
			t.Errorf("judged %q, and the upstream got %q", p, path)
		}
	}
	return &s
}

var judgedPath = regexp.MustCompile(` path=("(?:[^"\\]|\\.)*"|\S+)`)

// judgedPaths of the decision log.
func judgedPaths(t *testing.T, log string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(log) {
		m := judgedPath.FindStringSubmatch(line)
		if !strings.Contains(line, " msg=check ") || m == nil {
			continue
		}
		path := m[1]
		if strings.HasPrefix(path, `"`) {
			var err error
			if path, err = strconv.Unquote(path); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, path)
	}
	return out
}

// readsAsSecret: whatever upstream reads host as secret.test, or below.
func readsAsSecret(host string) bool {
	h := strings.ToLower(host)
	for _, part := range strings.FieldsFunc(h, func(r rune) bool { return strings.ContainsRune(", @/;?#\\", r) }) {
		part, _, _ = strings.Cut(part, ":")
		part = strings.TrimRight(part, ".")
		if part == "secret.test" || strings.HasSuffix(part, ".secret.test") {
			return true
		}
	}
	return false
}

func insteadOfTheLine(t *testing.T, m *apiMesh) {
	names := []string{
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
		"X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Uri", "Forwarded", "X-Envoy-Original-Path",
	}
	head := "GET / HTTP/1.1\r\nHost: rules.test\r\n"
	for _, n := range names {
		head += n + ": /admin\r\n" + strings.ReplaceAll(n, "-", "_") + ": /admin\r\n"
	}
	s := m.verdict(t, "PLAIN", 200, head+"\r\n")
	if s == nil {
		return
	}
	for name, values := range s.header {
		if strings.Contains(strings.Join(values, ""), "admin") {
			t.Errorf("the upstream got %s: %q", name, values)
		}
	}
}
