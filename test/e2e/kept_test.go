//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestKeptPaths holds for gateways and sidecars that keep escaped slashes or empty segments what TestCorpus holds for the default: the
// same verdict for Envoy, Check and upstream, and no reading of what the upstream gets that a deny rule is for. A path that is kept stays
// with the route that Envoy's own text comparison chose.
func TestKeptPaths(t *testing.T) {
	tables := readCorpus(t)
	m := startMesh(t, "kept", "ESCAPED", "EMPTY", "BOTH")
	for section, kind := range map[string]string{"Escaped slashes kept": "ESCAPED", "Empty segments kept": "EMPTY", "Both kept": "BOTH"} {
		if len(tables[section]) == 0 {
			t.Fatalf("the table %s has no rows", section)
		}
		for _, row := range tables[section] {
			t.Run(rowName(strings.ToLower(kind), row.sent), func(t *testing.T) {
				s := m.verdict(t, kind+"_FRONT", row.status, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", row.sent))
				if s != nil {
					want := "rest"
					if row.got == "/files" || strings.HasPrefix(row.got, "/files/") {
						want = "files"
					}
					if got := s.header.Get("X-Route"); s.target != row.got || got != want {
						t.Errorf("the upstream got %q by route %q, want %q by %q", s.target, got, row.got, want)
					}
				}
				m.overHTTP2(t, kind+"_FRONT", row, "a.test")
				head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: up:%d\r\n\r\n", row.sent, m.ports[kind])
				if s := m.verdict(t, "UP_OUT", row.status, head); s != nil && s.target != row.got {
					t.Errorf("between workloads: the upstream got %q, want %q", s.target, row.got)
				}
			})
		}
	}
	t.Run("more slashes than anybody can read in time", func(t *testing.T) {
		for _, kind := range []string{"ESCAPED", "EMPTY", "BOTH"} {
			m.verdict(t, kind+"_FRONT", 400, "GET "+strings.Repeat("/%2Fa", 1200)+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
		}
	})
}
