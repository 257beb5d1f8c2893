//go:build e2e

package e2e_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/credence-mesh/credence/internal/testenv"
)

const apiKey = "0123456789abcdef0123456789abcdef"

// kindsSite is a gateway whose routes accept tokens, passwords and keys: /user for users, /optional for anybody, /narrow for tokens alone by a rule;
// /none reads nothing, /split accepts tokens at the Gateway's level and passwords at its own.
func kindsSite(t *testing.T) (*site, *testenv.Env) {
	t.Helper()
	s := newSite(t, "lobby")
	return s, s.startKinds(t)
}

// startKinds starts it with the workload lobby that s has.
func (s *site) startKinds(t *testing.T) *testenv.Env {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(apiKey))
	credentials := fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: people}
spec:
  basic: {users: [{name: alice, hash: '%s'}]}
---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: keys}
spec:
  apiKeys: {keys: [{sha256: %s, subject: robot}]}
`, hash, hex.EncodeToString(sum[:]))
	const all = "{issuers: [dev], basic: [people], apiKeys: [{credentials: keys, header: X-API-Key, bearer: true, query: api_key}]}"
	route := func(name, authentication, rule string) string {
		return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: plain}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /%[1]s}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: lobby, port: %[2]d}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %[1]s}]
  %[3]s
  rules: [{name: who%[4]s}]
`, name, s.workloads["lobby"].port, authentication, rule)
	}
	m := s.manifests(
		route("user", "authentication: "+all, ""), route("optional", "authentication: "+all, ", authentication: [anonymous]"),
		route("narrow", "authentication: "+all, ", authentication: [bearer]"), route("none", "", ", authentication: [anonymous]"),
	)
	m["credentials.yaml"] = credentials
	// What the gateway does not read, the workload's own proxy does not either.
	m["lobby.yaml"] = strings.Replace(m["lobby.yaml"], "  authentication: {issuers: [dev]}\n", "", 1)
	return testenv.Start(t, testenv.Options{Manifests: m})
}

// sendLines writes one GET with these header lines on a connection of its own, and has the status, the reason and the body.
func sendLines(t *testing.T, addr, path string, lines ...string) (int, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n"
	for _, l := range lines {
		request += l + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, string(body)
}

// sendCredentials splits "?parameter" from header lines.
func (s *site) sendCredentials(t *testing.T, path string, credentials ...string) (int, string) {
	t.Helper()
	var lines, query []string
	for _, c := range credentials {
		if p, ok := strings.CutPrefix(c, "?"); ok {
			query = append(query, p)
		} else {
			lines = append(lines, c)
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return sendLines(t, s.frontAddr(), path, lines...)
}

func basicOf(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Every kind of credential on real Envoy: exactly one is taken, a bad one never falls through, and nothing is asked for where nothing is read.
func TestOneCredentialPerRequest(t *testing.T) {
	s, env := kindsSite(t)
	token := env.Token(audience)
	good := map[string]string{
		"bearer": "Authorization: Bearer " + token, "basic": basicOf("alice", "correct horse"), "key in a header": "X-API-Key: " + apiKey,
		"key as a bearer value": "Authorization: Bearer " + apiKey, "key in the query": "?api_key=" + apiKey,
	}
	bad := map[string]string{
		"bearer": "Authorization: Bearer " + token[:len(token)-8] + "AAAAAAAA", "basic": basicOf("alice", "wrong"), "key in a header": "X-API-Key: " + strings.ToUpper(apiKey),
		"key in the query": "?api_key=" + strings.ToUpper(apiKey),
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range good {
			if !yield(n) {
				return
			}
		}
	})
	expect := func(t *testing.T, want int, reason, path string, credentials ...string) {
		t.Helper()
		status, body := s.sendCredentials(t, path, credentials...)
		if status != want || !strings.Contains(body, reason) {
			t.Errorf("%s with %d credentials: %d %q, want %d %s", path, len(credentials), status, body, want, reason)
		}
	}
	t.Run("each kind alone", func(t *testing.T) {
		for _, n := range names {
			for _, path := range []string{"/user", "/optional", "/none"} {
				t.Run(n+path, func(t *testing.T) { expect(t, 200, "lobby", path, good[n]) })
			}
		}
		expect(t, 200, "lobby", "/narrow", good["bearer"])
		expect(t, 401, "credential_not_accepted", "/narrow", good["basic"])
	})
	t.Run("nobody", func(t *testing.T) {
		expect(t, 401, "token_missing", "/user")
		expect(t, 200, "lobby", "/optional")
		expect(t, 200, "lobby", "/none")
	})
	t.Run("two credentials", func(t *testing.T) {
		for _, a := range names {
			for _, b := range names {
				for _, path := range []string{"/user", "/optional"} {
					t.Run(a+" and "+b+path, func(t *testing.T) { expect(t, 400, "credentials_ambiguous", path, good[a], good[b]) })
				}
			}
		}
	})
	t.Run("a bad credential on an optional route", func(t *testing.T) {
		for n, c := range bad {
			t.Run(n, func(t *testing.T) {
				expect(t, 401, "_invalid", "/optional", c)
				expect(t, 401, "_invalid", "/user", c)
				expect(t, 200, "lobby", "/none", c)
				expect(t, 400, "credentials_ambiguous", "/optional", c, good["basic"])
			})
		}
		expect(t, 400, "credential_malformed", "/optional", "?api%5fkey="+apiKey)
		expect(t, 400, "credential_malformed", "/optional", "X-API-Key:")
	})
	for line := range strings.Lines(env.Log()) {
		if strings.Contains(line, apiKey) || strings.Contains(line, token) {
			t.Errorf("the log has a credential: %s", line)
		}
	}
}
