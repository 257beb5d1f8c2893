//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestAttacks: what clients try at a gateway that keeps all that can be kept (testdata/attack).
func TestAttacks(t *testing.T) {
	t.Parallel()
	m := startMesh(t, "attack", "MERGES", "KEEPS")
	t.Run("one message that holds another", func(t *testing.T) { smuggled(t, m) })
	t.Run("an upgrade that the application does not make", func(t *testing.T) { notUpgraded(t, m) })
	t.Run("paths that the gateway keeps and the sidecar does not", func(t *testing.T) { keptAndMerged(t, m) })
	t.Run("names that some server reads as ours", func(t *testing.T) { forgedNames(t, m) })
	t.Run("an upgrade of another method", func(t *testing.T) { upgradeOfPost(t, m) })
	t.Run("settings that are broken by an edit", func(t *testing.T) { settingsBroken(t, m) })
}

// shout writes all of text and returns all that is said until the other side is silent or closes.
func shout(ctx context.Context, addr, text string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	var said strings.Builder
	in := bufio.NewReader(c)
	for {
		if err := c.SetReadDeadline(time.Now().Add(250 * time.Millisecond)); err != nil {
			return "", err
		}
		line, err := in.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			if !errors.Is(err, io.EOF) && !isTimeout(err) && !strings.Contains(err.Error(), "reset") {
				return "", err
			}
			return said.String(), nil
		}
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

const forgedRequest = "GET /strict/smuggled HTTP/1.1\r\nHost: a.test\r\nX-Credence-Subject: root\r\n\r\n"

func smuggled(t *testing.T, m *apiMesh) {
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	body := fmt.Sprintf("Content-Length: %d\r\n", len(forgedRequest))
	chunked := "Transfer-Encoding: chunked\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(forgedRequest), forgedRequest)
	for name, text := range map[string]string{
		"websocket":                     "GET /merges/ws HTTP/1.1\r\nHost: a.test\r\n" + upgrade + "\r\n" + forgedRequest,
		"websocket with a body":         "GET /merges/ws HTTP/1.1\r\nHost: a.test\r\n" + upgrade + body + "\r\n" + forgedRequest,
		"websocket with chunks":         "GET /merges/ws HTTP/1.1\r\nHost: a.test\r\n" + upgrade + chunked + "\r\n" + chunk,
		"denied websocket":              "GET /strict/ws HTTP/1.1\r\nHost: a.test\r\n" + upgrade + "\r\n" + forgedRequest,
		"websocket with Expect":         "GET /merges/ws HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n" + upgrade + "\r\n" + forgedRequest,
		"POST websocket":                "POST /merges/ws HTTP/1.1\r\nHost: a.test\r\n" + upgrade + body + "\r\n" + forgedRequest,
		"h2c":                           "GET /merges/ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n" + forgedRequest,
		"tls":                           "GET /merges/ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n" + forgedRequest,
		"CONNECT":                       "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n" + forgedRequest,
		"health with a body":            "POST /healthz HTTP/1.1\r\nHost: a.test\r\n" + body + "\r\n" + forgedRequest,
		"health with chunks":            "POST /healthz HTTP/1.1\r\nHost: a.test\r\n" + chunked + "\r\n" + chunk,
		"health in 1.0":                 "POST /healthz HTTP/1.0\r\nConnection: keep-alive\r\n" + body + "\r\n" + forgedRequest,
		"health in 1.0, chunks":         "POST /healthz HTTP/1.0\r\nConnection: keep-alive\r\n" + chunked + "\r\n" + chunk,
		"health in 1.0, no body":        "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + forgedRequest,
		"health as an upgrade":          "GET /healthz HTTP/1.1\r\nHost: a.test\r\n" + upgrade + "\r\n" + forgedRequest,
		"health with Expect":            "POST /healthz HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n" + body + "\r\n" + forgedRequest,
		"preflight with a body":         "OPTIONS /cors/x HTTP/1.1\r\nHost: a.test\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n" + body + "\r\n" + forgedRequest,
		"preflight as an upgrade":       "OPTIONS /cors/x HTTP/1.1\r\nHost: a.test\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n" + upgrade + "\r\n" + forgedRequest,
		"preflight of a GET match":      "OPTIONS /corsget/x HTTP/1.1\r\nHost: a.test\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n" + chunked + "\r\n" + chunk,
		"denied, Expect":                "POST /strict HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n" + body + "\r\n" + forgedRequest,
		"the same length twice":         "POST /keeps/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0, 0\r\n\r\n" + forgedRequest,
		"a length with a sign":          "POST /keeps/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: -0\r\n\r\n" + forgedRequest,
		"chunked twice":                 "POST /keeps/hang HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + forgedRequest,
		"chunked, in a list":            "POST /keeps/hang HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + forgedRequest,
		"chunked, not last":             "POST /keeps/hang HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + forgedRequest,
		"a vertical tab":                "POST /keeps/hang HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + forgedRequest,
		"a chunk extension with a line": "POST /keeps/hang HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n" + forgedRequest,
		"a folded header":               "GET /keeps/x HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\n X-Credence-Subject: root\r\n\r\n",
		"a bare line feed":              "GET /keeps/x HTTP/1.1\r\nHost: a.test\r\nX-A: b\nX-Credence-Subject: root\r\n\r\n",
		"a bare carriage return":        "GET /keeps/x HTTP/1.1\r\nHost: a.test\r\nX-A: b\rX-Credence-Subject: root\r\n\r\n",
		"a space before the colon":      "GET /keeps/x HTTP/1.1\r\nHost: a.test\r\nX-Credence-Subject : root\r\n\r\n",
		"a body of HTTP/1.0":            "POST /keeps/x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n" + body + "\r\n" + forgedRequest,
		"two lengths by an underscore":  "POST /keeps/ws HTTP/1.1\r\nHost: a.test\r\ncontent_length: 3\r\ntransfer_encoding: chunked\r\nContent-Length: 0\r\n\r\n" + forgedRequest,
	} {
		t.Run(name, func(t *testing.T) {
			m.upstreams.take()
			said, err := shout(t.Context(), m.addr("EDGE"), text)
			if err != nil {
				t.Fatal(err)
			}
			all := m.upstreams.take()
			for _, s := range all {
				if strings.Contains(s.target, "smuggled") || s.header["X-Credence-Subject"] != nil {
					t.Errorf("the upstream got %v; the client %q", s, said)
				}
			}
		})
	}
}

func upgradeOfPost(t *testing.T, m *apiMesh) {
	for _, head := range []string{
		"POST /post HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
		"POST /post HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nContent-Length: 0\r\n",
		"POST /post HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
	} {
		e := m.exchange(t, "", "EDGE", "-", head)
		if e.seen != nil && e.seen.method != "POST" {
			t.Errorf("judged as POST, and the upstream got %v", *e.seen)
		}
		if e.status != 400 {
			t.Errorf("%q: %d", head, e.status)
		}
	}
}

// notUpgraded: an application that answers an upgrade with 200 goes on to read HTTP on that connection; nothing of what the client sends
// after its request may reach it there.
func notUpgraded(t *testing.T, m *apiMesh) {
	for _, target := range []string{"/keeps/drip", "/keeps/drip/100", "/keeps/drip/102", "/keeps/drip/103", "/keeps/hang", "/keeps/x"} {
		head := "GET " + target + " HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		for _, texts := range [][]string{{head, forgedRequest}, {head + forgedRequest, forgedRequest}} {
			m.upstreams.take()
			said, err := converse(t.Context(), m.addr("EDGE"), texts...)
			if err != nil {
				t.Fatal(err)
			}
			if all := m.upstreams.take(); len(all) != 1 {
				t.Errorf("%s: the client got %q, the upstream %v", target, said, all)
			}
		}
	}
}

// converse writes each of texts once the other side has been silent for a while.
func converse(ctx context.Context, addr string, texts ...string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	var said strings.Builder
	buf := make([]byte, 4096)
	for _, text := range texts {
		if _, err := io.WriteString(c, text); err != nil {
			return said.String(), nil
		}
		for {
			if err := c.SetReadDeadline(time.Now().Add(250 * time.Millisecond)); err != nil {
				return "", err
			}
			n, err := c.Read(buf)
			said.Write(buf[:n])
			if isTimeout(err) {
				break
			}
			if err != nil {
				return said.String(), nil
			}
		}
	}
	return said.String(), nil
}

// keptAndMerged: a path that the gateway keeps must not become another behind it, where it would have been another route's.
func keptAndMerged(t *testing.T, m *apiMesh) {
	for target, status := range map[string]int{
		"/strict/x": 403, "//strict/x": 400, "/a//b": 400, "///strict": 400, "/%2Fstrict": 400, "/a%2Fb": 400, "/strict//x": 400, "/x": 200,
		"//secret.test/x": 400, "/keeps": 200, "/merges//x": 400, "/merges/x": 200, "/keeps//strict//x": 200, "/keeps//a%2Fb": 200, "/keeps/%2Fstrict": 200,
	} {
		s := m.exchange(t, "", "EDGE", "-", "GET "+target+" HTTP/1.1\r\nHost: a.test\r\n")
		if s.status != status || (s.seen != nil) != (status == 200) {
			t.Errorf("%s: %d, want %d; the upstream got %v", target, s.status, status, s.seen)
		}
	}
}

// forgedNames: CGI and its heirs make one variable of many names (PHP behind FastCGI reads X.Credence.Subject as HTTP_X_CREDENCE_SUBJECT).
// None of the spellings of what only we may say arrives, from clients and from workloads, whatever joins or hides it.
func forgedNames(t *testing.T, m *apiMesh) {
	var head strings.Builder
	for _, name := range []string{"x-credence-subject", "x-credence-peer", "x-credence-new", "txn-token", "x-http-method-override", "x-original-url", "x-envoy-original-path"} {
		for _, joint := range []string{"-", "_", ".", "~", "+", "!", "'", "|"} {
			fmt.Fprintf(&head, "%s: root\r\n", strings.ReplaceAll(name, "-", joint))
		}
		first, rest, _ := strings.Cut(name, "-")
		fmt.Fprintf(&head, "%s.%s: root\r\n%s: root\r\n", first, rest, strings.ToUpper(first)+"-"+strings.ReplaceAll(rest, "-", "."))
	}
	for _, odd := range []string{"Connection: x-credence-peer, x-credence-decision, keep-alive\r\n", "Keep-Alive: x-credence-peer\r\n", "TE: x-credence-peer\r\n", ""} {
		for listener, host := range map[string]string{"EDGE": "a.test", "UP_OUT": fmt.Sprintf("up:%d", m.ports["MERGES"])} {
			e := m.exchange(t, "", listener, "-", "GET /x HTTP/1.1\r\nHost: "+host+"\r\nx.kept: 1\r\n"+head.String()+odd)
			if e.seen == nil {
				t.Fatalf("%s: %d", listener, e.status)
			}
			for name, values := range e.seen.header {
				if strings.Contains(strings.Join(values, " "), "root") {
					t.Errorf("%s: the upstream got %s: %q", listener, name, values)
				}
			}
			if e.seen.header.Get("X-Credence-Peer") == "" || e.seen.header.Get("X-Credence-Decision") == "" || e.seen.header.Get("X.Kept") == "" {
				t.Errorf("%s with %q: the upstream got %v", listener, odd, e.seen.header)
			}
		}
	}
}

// settingsBroken: what an edit makes of settings that cannot be taken changes nothing but the status; it never ends in the defaults.
func settingsBroken(t *testing.T, m *apiMesh) {
	text := m.manifest(t, "mesh.yaml")
	const ref = "group: credence.mesh, kind: GatewaySettings, name: edge}}"
	for _, c := range []struct{ name, from, to, told string }{
		{"a value out of range", "healthPath: /healthz", "healthPath: /x?y", "invalid-path"},
		{"an unknown field", "healthPath: /healthz", "healthPaths: /healthz", "unknown-field"},
		{"every client a proxy", "healthPath: /healthz", "healthPath: /healthz\n  clientAddress: {trustedProxies: [0.0.0.0/0]}", "invalid-value"},
		{"a reference of another group", ref, "group: gateway.networking.k8s.io, kind: GatewaySettings, name: edge}}", "unsupported-reference"},
		{"a reference to another namespace", ref, "group: credence.mesh, kind: GatewaySettings, name: other/edge}}", "invalid-name"},
		{"a reference of another kind", ref, "group: credence.mesh, kind: Mesh, name: edge}}", "unsupported-reference"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.Edit("mesh.yaml", strings.Replace(text, c.from, c.to, 1))
			m.Await("the diagnostic", func() string {
				for _, d := range m.Status().Diagnostics {
					if d.Code == c.told {
						return ""
					}
				}
				return fmt.Sprintf("%+v", m.Status().Diagnostics)
			})
			for target, status := range map[string]int{"/healthz": 200, "/keeps//a%2Fb": 200, "/strict/x": 403, "//strict": 400} {
				if e := m.exchange(t, "", "EDGE", "-", "GET "+target+" HTTP/1.1\r\nHost: a.test\r\nx_kept: 1\r\n"); e.status != status ||
					e.seen != nil && e.seen.header.Get("X_kept") == "" {
					t.Errorf("%s: %d, want %d; the upstream got %v", target, e.status, status, e.seen)
				}
			}
		})
	}
	// A reference to nothing is good in form: everything is denied.
	m.Edit("mesh.yaml", strings.Replace(text, ref, "group: credence.mesh, kind: GatewaySettings, name: gone}}", 1))
	m.Await("the denial", func() string {
		for target, status := range map[string]int{"/healthz": 403, "/x": 403, "/keeps/x": 403, "/cors/x": 403} {
			if e := m.exchange(t, "", "EDGE", "-", "GET "+target+" HTTP/1.1\r\nHost: a.test\r\n"); e.status != status {
				return fmt.Sprintf("%s: %d", target, e.status)
			}
		}
		return ""
	})
}
