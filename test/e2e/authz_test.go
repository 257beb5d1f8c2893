//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// authzExample is examples/authz with its ports and places made the test's own.
type authzExample struct {
	t *testing.T
	// work holds everything; bin is the built credence.
	work, bin string
	// port is Envoy's; issuer, admin and check are those of `credence authz`.
	port, upstream, issuer, admin, check int
	cmd                                  *exec.Cmd
	log                                  *safeBuffer
}

func newAuthzExample(t *testing.T) *authzExample {
	t.Helper()
	ports := testport.Free(t, 5)
	x := &authzExample{t: t, work: testenv.WorkDir(t), port: ports[0], upstream: ports[1], issuer: ports[2], admin: ports[3], check: ports[4]}
	x.bin = filepath.Join(x.work, "credence")
	build := exec.Command("go", "build", "-o", x.bin, "./cmd/credence")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := filepath.Join(x.work, "manifests")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mesh.yaml", "routes.yaml", "policies.yaml"} {
		testenv.Replace(t, filepath.Join(dir, name), x.own(filepath.Join("manifests", name)))
	}
	t.Cleanup(x.stop)
	return x
}

// own is a file of the example with the test's ports and places.
func (x *authzExample) own(name string) string {
	x.t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/authz", name))
	if err != nil {
		x.t.Fatal(err)
	}
	return strings.NewReplacer(
		"127.0.0.1:18390", fmt.Sprintf("127.0.0.1:%d", x.issuer), "10080", fmt.Sprint(x.port), "10081", fmt.Sprint(x.upstream),
		"19001", fmt.Sprint(x.check), "/tmp/credence-check.sock", x.socket(), "/tmp/credence-tls", x.work,
	).Replace(string(text))
}

func (x *authzExample) socket() string { return filepath.Join(x.work, "check.sock") }

// start runs `credence authz` with more flags and waits until it is ready.
func (x *authzExample) start(flags ...string) {
	x.t.Helper()
	args := append([]string{
		"authz", "-f", filepath.Join(x.work, "manifests"), "--state-dir", filepath.Join(x.work, "state"), "--run-dir", filepath.Join(x.work, "run"),
		"--admin-address", fmt.Sprintf("127.0.0.1:%d", x.admin),
	}, flags...)
	x.log = &safeBuffer{}
	x.cmd = exec.Command(x.bin, args...)
	x.cmd.Stdout, x.cmd.Stderr = x.log, x.log
	if err := x.cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.await("readiness", func() string {
		code, _, body := x.do(x.admin, "GET", "localhost", "/readyz")
		if code == http.StatusOK {
			return ""
		}
		return fmt.Sprint(code, body)
	})
}

// stop ends it as Ctrl-C does.
func (x *authzExample) stop() {
	if x.cmd == nil {
		return
	}
	_ = x.cmd.Process.Signal(os.Interrupt)
	if err := x.cmd.Wait(); err != nil {
		x.t.Errorf("credence authz: %v\n%s", err, x.log.text())
	}
	x.cmd = nil
}

// kill ends it as a crash does.
func (x *authzExample) kill() {
	_ = x.cmd.Process.Kill()
	_ = x.cmd.Wait()
	x.cmd = nil
}

func (x *authzExample) token(scopes string) string {
	x.t.Helper()
	out, err := exec.Command(x.bin, "token", "mint", "--state-dir", filepath.Join(x.work, "state"), "--sub", "alice", "--scope", scopes, "--aud", "https://shop.localhost").Output()
	if err != nil {
		x.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// do sends one request on a connection of its own; headers are "name: value". The status is 0 where nobody answers.
func (x *authzExample) do(port int, method, host, path string, headers ...string) (int, http.Header, string) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		x.t.Fatal(err)
	}
	req.Host, req.Close = host, true
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return resp.StatusCode, resp.Header, string(body)
}

// get is what Envoy answers, as "status reason": the reason of a refusal.
func (x *authzExample) get(host, path string, headers ...string) string {
	x.t.Helper()
	code, _, body := x.do(x.port, "GET", host, path, headers...)
	_, reason, ok := strings.Cut(body, `"reason":"`)
	if !ok {
		return fmt.Sprint(code)
	}
	reason, _, _ = strings.Cut(reason, `"`)
	return fmt.Sprint(code, " ", reason)
}

func (x *authzExample) await(what string, try func() string) {
	x.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-tick.C {
		if last = try(); last == "" {
			return
		}
	}
	x.t.Fatalf("waiting for %s: %s\n%s", what, last, x.log.text())
}

func (x *authzExample) expect(what, got, want string) {
	x.t.Helper()
	if got != want {
		x.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// TestAuthzExample walks through examples/authz: an Envoy with a static configuration, and the Check server over a unix socket.
func TestAuthzExample(t *testing.T) {
	t.Parallel()
	x := newAuthzExample(t)
	file := filepath.Join(x.work, "envoy.yaml")
	testenv.Replace(t, file, x.own("envoy.yaml"))
	runEnvoyFile(t, file, x.port)
	x.expect("before credence runs", x.get("shop.localhost", "/"), "503")
	x.start("--socket", x.socket())
	x.await("Envoy to find the Check server", func() string {
		if got := x.get("shop.localhost", "/"); got != "200" {
			return got
		}
		return ""
	})
	read, other := "Authorization: Bearer "+x.token("orders:read"), "Authorization: Bearer "+x.token("other")
	for _, c := range []struct {
		what, host, path string
		headers          []string
		want             string
	}{
		{"public", "shop.localhost", "/public/x", nil, "200"},
		{"public, with a port", "SHOP.localhost:8080", "/public/x", nil, "200"},
		{"public, with a dot", "shop.localhost.", "/", nil, "200"},
		{"no token", "shop.localhost", "/orders", nil, "401 token_missing"},
		{"a bad token", "shop.localhost", "/orders", []string{"Authorization: Bearer x"}, "401 token_invalid"},
		{"two tokens", "shop.localhost", "/orders", []string{read, other}, "400 credentials_ambiguous"},
		{"a token without the scope", "shop.localhost", "/orders", []string{other}, "403 insufficient_scope"},
		{"a token with the scope", "shop.localhost", "/orders", []string{read}, "200"},
		{"another spelling", "shop.localhost", "/public/../%6frders", []string{read}, "200"},
		{"another spelling, no token", "shop.localhost", "/public/../%6frders", nil, "401 token_missing"},
		{"nothing for this path", "shop.localhost", "/other", []string{read}, "403 no_rule_matches"},
		{"a host that the manifests do not know", "other.localhost", "/", nil, "403 route_unknown"},
		{"a host that nobody knows", "none.localhost", "/", nil, "404"},
		{"a path parameter", "shop.localhost", "/public;x/orders", nil, "400 path_parameter"},
		{"an encoded slash", "shop.localhost", "/public%2F..%2Forders", nil, "400"},
	} {
		x.expect(c.what, x.get(c.host, c.path, c.headers...), c.want)
	}
	x.identityHeaders(read)
	// An edit takes effect.
	policies := filepath.Join(x.work, "manifests", "policies.yaml")
	text, err := os.ReadFile(policies)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Replace(t, policies, strings.ReplaceAll(string(text), "/public/*", "/open/*"))
	x.await("the edit", func() string {
		if got := x.get("shop.localhost", "/public/x") + " " + x.get("shop.localhost", "/open/x"); got != "403 no_rule_matches 200" {
			return got
		}
		return ""
	})
	out, err := exec.Command(x.bin, "status", "--state-dir", filepath.Join(x.work, "state")).Output()
	if err != nil || !strings.Contains(string(out), "mesh cluster.local, generation 2, ready") || !strings.Contains(string(out), "check="+x.socket()) {
		t.Errorf("status: %v\n%s", err, out)
	}
	if code, _, body := x.do(x.admin, "GET", "localhost", "/metrics"); code != 200 || !strings.Contains(body, "credence_check_total") {
		t.Errorf("metrics: %d", code)
	}
	x.rpc(read)
	x.kill()
	x.expect("credence is killed", x.get("shop.localhost", "/"), "503")
	x.start("--socket", x.socket())
	x.await("Envoy to find it again", func() string {
		if got := x.get("shop.localhost", "/open/x"); got != "200" {
			return got
		}
		return ""
	})
}

// rpc adds a GRPCRoute: its calls are judged by service and method, and a refusal is a gRPC status.
func (x *authzExample) rpc(token string) {
	x.t.Helper()
	routes := filepath.Join(x.work, "manifests", "routes.yaml")
	text, err := os.ReadFile(routes)
	if err != nil {
		x.t.Fatal(err)
	}
	testenv.Replace(x.t, routes, strings.Replace(string(text), "hostname: shop.localhost", `hostname: "*.localhost"`, 1)+`
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: rpc}
spec:
  parentRefs: [{name: edge}]
  hostnames: [other.localhost]
  rules: [{name: orders, matches: [{method: {service: shop.v1.Orders}}]}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: rpc}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: GRPCRoute, name: rpc}]
  authentication: {issuers: [dev]}
  rules:
    - name: read
      to: [{grpc: [{service: shop.v1.Orders, methods: [GetOrder]}]}]
      require: {scopes: {allOf: ["orders:read"]}}
`)
	call := func(method string, headers ...string) string {
		_, h, _ := x.do(x.port, "POST", "other.localhost", method, append(headers, "Content-Type: application/grpc", "TE: trailers")...)
		if subject := h.Get("seen-subject"); subject != "" {
			return subject // the stand-in for a service speaks no gRPC: what it has seen counts
		}
		return h.Get("grpc-status")
	}
	x.await("the GRPCRoute", func() string {
		if got := call("/shop.v1.Orders/GetOrder", token); got != "alice" {
			return got
		}
		return ""
	})
	x.expect("a call without a token", call("/shop.v1.Orders/GetOrder"), "16")
	x.expect("a call of another method", call("/shop.v1.Orders/Delete", token), "7")
	x.expect("a call of another service", call("/shop.v1.Other/GetOrder", token), "7")
}

// identityHeaders: what a client forges does not arrive, in any of the six, with a token and without.
func (x *authzExample) identityHeaders(token string) {
	x.t.Helper()
	names := []string{"subject", "issuer", "scopes", "client", "peer", "decision"}
	var forged []string
	for _, n := range names {
		forged = append(forged, "x-credence-"+n+": mallory", "X-Credence-"+n+": eve")
	}
	for _, c := range []struct {
		path, token string
		want        map[string]string
	}{
		{"/", "", map[string]string{}},
		{"/orders", token, map[string]string{
			"subject": "alice", "issuer": fmt.Sprintf("http://127.0.0.1:%d", x.issuer), "scopes": "orders:read", "client": "credence-dev",
		}},
	} {
		headers := forged
		if c.token != "" {
			headers = append(headers, c.token)
		}
		code, got, _ := x.do(x.port, "GET", "shop.localhost", c.path, headers...)
		if code != 200 {
			x.t.Errorf("%s: %d", c.path, code)
		}
		for _, n := range names {
			value := got.Get("seen-" + n)
			if n == "decision" && value != "" && !strings.Contains(value, "mallory") && !strings.Contains(value, "eve") {
				continue // a new one each time
			}
			if value != c.want[n] {
				x.t.Errorf("%s: x-credence-%s is %q, want %q", c.path, n, value, c.want[n])
			}
		}
	}
}

// TestAuthzEnvoyThatNormalisesNothing: what the other Envoy leaves to others costs answers, and lets nobody around a rule.
func TestAuthzEnvoyThatNormalisesNothing(t *testing.T) {
	t.Parallel()
	x := newAuthzExample(t)
	text := x.own("envoy.yaml")
	for _, line := range []string{
		"normalize_path: true", "merge_slashes: true", "path_with_escaped_slashes_action: REJECT_REQUEST", "strip_trailing_host_dot: true",
		"encode_raw_headers: true", "validate_mutations: true", "include_peer_certificate: true", "clear_route_cache: false",
	} {
		if !strings.Contains(text, line) {
			t.Fatalf("envoy.yaml does not say %s", line)
		}
		text = strings.Replace(text, line, map[bool]string{true: "normalize_path: false", false: ""}[line == "normalize_path: true"], 1)
	}
	file := filepath.Join(x.work, "envoy.yaml")
	testenv.Replace(t, file, text)
	x.start("--socket", x.socket())
	runEnvoyFile(t, file, x.port)
	read := "Authorization: Bearer " + x.token("orders:read")
	for _, c := range []struct {
		what, target string
		headers      []string
		want         int
	}{
		{"public", "/public/x", nil, 200},
		{"a good token", "/orders", []string{read}, 200},
		{"a good token, another spelling", "/%6frders", []string{read}, 400},
		{"no token, another spelling", "/%6frders", nil, 400},
		{"two tokens", "/orders", []string{read, read}, 400},
		{"dot segments", "/public/../orders", nil, 400},
		{"dot segments, encoded", "/public/%2e%2e/orders", nil, 400},
		{"dot segments with parameters", "/public/..;/orders", nil, 400},
		{"encoded slashes", "/public%2F..%2Forders", nil, 400},
		{"a backslash", "/public\\..\\orders", nil, 400},
		{"an empty segment", "//orders", nil, 400},
		{"a host in the path", "//evil.test/public/x", nil, 400},
		{"absolute form", "http://shop.localhost/orders", nil, 401},
		{"absolute form of another host", "http://other.localhost/public/x", nil, 403},
	} {
		var b strings.Builder
		fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: shop.localhost\r\n", c.target)
		for _, h := range c.headers {
			fmt.Fprintf(&b, "%s\r\n", h)
		}
		client := &rawClient{addr: fmt.Sprintf("127.0.0.1:%d", x.port)}
		status, _, body := client.send(t, b.String()+"\r\n")
		client.close()
		if status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.what, status, c.want, body)
		}
	}
	x.identityHeaders(read)
}

// TestAuthzUserOfEnvoy: the user that Envoy runs as must be let in by name.
func TestAuthzUserOfEnvoy(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	x := newAuthzExample(t)
	file := filepath.Join(x.work, "envoy.yaml")
	testenv.Replace(t, file, x.own("envoy.yaml"))
	const user = 23457
	if err := errors.Join(os.Chmod(file, 0o644), os.Chmod(x.work, 0o755)); err != nil {
		t.Fatal(err)
	}
	runEnvoyAs(t, file, x.port, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}})
	// The socket's mode alone lets anybody connect; who it is counts.
	x.start("--socket", x.socket(), "--socket-mode", "0666")
	x.expect("a user that is not named", x.get("shop.localhost", "/"), "503")
	x.stop()
	x.start("--socket", x.socket(), "--allow-uid", fmt.Sprint(user))
	x.await("the user that is named", func() string {
		if got := x.get("shop.localhost", "/"); got != "200" {
			return got
		}
		return ""
	})
}

// TestAuthzExampleTLS is the second Envoy of examples/authz: Checks over TCP, with a certificate that is named; no other client is heard.
func TestAuthzExampleTLS(t *testing.T) {
	t.Parallel()
	x := newAuthzExample(t)
	ca, foreign := newTestCA(t), newTestCA(t)
	ca.write(x.work, "ca.crt", "", "")
	ca.write(x.work, "", "tls", "credence.internal")
	file := filepath.Join(x.work, "envoy.yaml")
	testenv.Replace(t, file, x.own("envoy-tls.yaml"))
	flags := []string{
		"--address", fmt.Sprintf("127.0.0.1:%d", x.check), "--tls-cert", filepath.Join(x.work, "tls.crt"), "--tls-key", filepath.Join(x.work, "tls.key"),
		"--tls-client-ca", filepath.Join(x.work, "ca.crt"), "--allow-client", "spiffe://cluster.local/ns/gateways/sa/envoy",
	}
	x.start(flags...)
	for _, c := range []struct {
		what string
		ca   *testCA
		name string
		want string
	}{
		{"an identity that is not named", ca, "spiffe://cluster.local/ns/gateways/sa/other", "503"},
		{"a foreign CA", foreign, "spiffe://cluster.local/ns/gateways/sa/envoy", "503"},
		{"the identity that is named", ca, "spiffe://cluster.local/ns/gateways/sa/envoy", "200"},
	} {
		c.ca.write(x.work, "", "envoy", c.name)
		stop := runEnvoyAs(t, file, x.port, nil)
		if c.want == "200" {
			x.await(c.what, func() string {
				if got := x.get("shop.localhost", "/"); got != c.want {
					return got
				}
				return ""
			})
			x.identityHeaders("Authorization: Bearer " + x.token("orders:read"))
		} else {
			x.expect(c.what, x.get("shop.localhost", "/"), c.want)
		}
		stop()
	}
	// In clear text nobody is heard.
	plain := strings.Split(x.own("envoy-tls.yaml"), "      transport_socket:")
	after := plain[1][strings.Index(plain[1], "    - name: shop"):]
	testenv.Replace(t, file, plain[0]+after)
	runEnvoyFile(t, file, x.port)
	x.expect("clear text over TCP", x.get("shop.localhost", "/"), "503")
	x.stop()
	for what, flags := range map[string][]string{"without TLS": flags[:2], "without a list of clients": flags[:8]} {
		cmd := exec.Command(x.bin, append([]string{"authz", "-f", filepath.Join(x.work, "manifests"), "--state-dir", filepath.Join(x.work, "state")}, flags...)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !bytes.Contains(out, []byte("mTLS")) {
			t.Errorf("TCP %s: %v\n%s", what, err, out)
		}
	}
}

// testCA signs certificates for tests.
type testCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{t, cert, key}
}

// write puts the CA's certificate into file, and a pair for a name into pair.crt and pair.key; empty: not.
func (c *testCA) write(dir, file, pair, name string) {
	c.t.Helper()
	put := func(name, kind string, der []byte) {
		testenv.Replace(c.t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	if file != "" {
		put(file, "CERTIFICATE", c.cert.Raw)
	}
	if pair == "" {
		return
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if id, err := spiffeid.FromString(name); err == nil {
		tmpl.URIs = []*url.URL{id.URL()}
	} else {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, key.Public(), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	put(pair+".crt", "CERTIFICATE", der)
	put(pair+".key", "PRIVATE KEY", keyDER)
}

// safeBuffer is a log that is written and read at the same time.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(s.b.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
