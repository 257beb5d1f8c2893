//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGatewaySettings sends requests through gateways with settings of their own (testdata/settings).
func TestGatewaySettings(t *testing.T) {
	m := startMesh(t, "settings", "UP")
	front, hops := map[string]string{}, map[string]string{}
	t.Run("trusted proxies", func(t *testing.T) { trustedProxies(t, m, front) })
	t.Run("trusted hops", func(t *testing.T) { trustedHops(t, m, hops) })
	t.Run("redirects behind a proxy", func(t *testing.T) { redirectsBehind(t, m) })
	t.Run("headers with underscores", func(t *testing.T) { underscores(t, m) })
	t.Run("health path", func(t *testing.T) { healthPath(t, m) })
	t.Run("HTTP/1.0", func(t *testing.T) { oldHTTP(t, m) })
	t.Run("limits", func(t *testing.T) { limits(t, m) })
	t.Run("clients in access logs", func(t *testing.T) {
		m.clients(t, "front", front)
		m.clients(t, "hops", hops)
	})
	t.Run("a proxy that is trusted no more", func(t *testing.T) { trustEnds(t, m) })
	t.Run("settings that are gone", func(t *testing.T) { settingsGone(t, m) })
}

// exchange is one request from an address, and what came of it.
type exchange struct {
	reply
	seen *seen
}

func (m *apiMesh) exchange(t *testing.T, from, listener, sni, head string) exchange {
	t.Helper()
	m.upstreams.take()
	got, err := sendFrom(t.Context(), from, m.addr(listener), sni, head+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	out := exchange{reply: got}
	switch all := m.upstreams.take(); len(all) {
	case 0:
	case 1:
		out.seen = &all[0]
	default:
		t.Errorf("%q: %d requests arrived: %v", head, len(all), all)
	}
	return out
}

// arrived compares headers as the upstream got them; "" is none.
func (e *exchange) arrived(t *testing.T, want map[string]string) {
	t.Helper()
	if e.seen == nil {
		t.Errorf("status %d, and nothing arrived", e.status)
		return
	}
	for name, value := range want {
		if got := strings.Join(e.seen.header[name], "|"); got != value {
			t.Errorf("the upstream got %s: %q, want %q", name, got, value)
		}
	}
}

// clients compares the client's address in a gateway's access log, by path, and the connection's beside it. Envoy writes it every 10 s.
func (m *apiMesh) clients(t *testing.T, gateway string, want map[string]string) {
	t.Helper()
	m.Await("the access log of "+gateway, func() string {
		body, err := os.ReadFile(filepath.Join(m.State, "log", "gateway_default_"+gateway+".log"))
		if err != nil {
			return err.Error()
		}
		found := 0
		for line := range strings.Lines(string(body)) {
			var entry struct{ Path, Client, Connection string }
			if json.Unmarshal([]byte(line), &entry) != nil || want[entry.Path] == "" {
				continue
			}
			found++
			if !strings.HasPrefix(entry.Client, want[entry.Path]+":") || !strings.HasPrefix(entry.Connection, "127.0.0.") {
				t.Errorf("%s: the client is %s on the connection of %s, want %s", entry.Path, entry.Client, entry.Connection, want[entry.Path])
			}
		}
		if found < len(want) {
			return fmt.Sprintf("%d of %d lines", found, len(want))
		}
		return ""
	})
}

// forwarded is what a front proxy may send, and what it must not.
const forwarded = "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 127.0.0.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public.test\r\n" +
	"X-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-User: root\r\nX-Forwarded-Client-Cert: URI=spiffe://settings.test/x\r\n" +
	"X-Forwarded-Uri: /admin\r\nForwarded: for=6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\nX-Envoy-External-Address: 6.6.6.6\r\nX-Credence-Subject: root\r\n"

func trustedProxies(t *testing.T, m *apiMesh, clients map[string]string) {
	believed := map[string]string{
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "public.test", "X-Forwarded-Port": "443", "X-Forwarded-Prefix": "/p",
		"X-Forwarded-User": "", "X-Forwarded-Uri": "", "Forwarded": "", "X-Real-Ip": "", "X-Envoy-External-Address": "", "X-Credence-Subject": "",
	}
	dropped := map[string]string{
		"X-Forwarded-Host": "", "X-Forwarded-Port": "", "X-Forwarded-Prefix": "",
		"X-Forwarded-User": "", "X-Forwarded-Uri": "", "Forwarded": "", "X-Real-Ip": "", "X-Envoy-External-Address": "", "X-Credence-Subject": "",
	}
	for i, c := range []struct {
		from, listener, sni, host string
		trusted                   bool
	}{
		{"127.0.0.2", "FRONT", "-", "a.test", true},
		{"127.0.0.4", "FRONT", "-", "a.test", true},
		{"127.0.0.5", "FRONT_SECURE", "a.test", "a.test", true},
		{"127.0.0.2", "FRONT_SECURE", "x.b.test", "x.b.test", true},
		{"127.0.0.7", "FRONT", "-", "a.test", false},
		{"127.0.0.3", "FRONT", "-", "a.test", false},
		{"127.0.0.6", "FRONT_SECURE", "a.test", "a.test", false},
		{"127.0.0.3", "FRONT_SECURE", "x.b.test", "x.b.test", false},
	} {
		path := fmt.Sprintf("/client/%d", i)
		e := m.exchange(t, c.from, c.listener, c.sni, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s", path, c.host, forwarded))
		client, want, proto := c.from, dropped, "http"
		if c.sni != "-" {
			proto = "https"
		}
		if c.trusted {
			client, want = "203.0.113.7", believed
		}
		clients[path] = client
		e.arrived(t, want)
		e.arrived(t, map[string]string{"X-Forwarded-For": xff(c.trusted, c.from)})
		if !c.trusted {
			e.arrived(t, map[string]string{"X-Forwarded-Proto": proto})
		}
	}
	// All of them proxies; nobody; no address.
	for i, c := range [][2]string{
		{"127.0.0.4, 127.0.0.5", "127.0.0.4"},
		{"", "127.0.0.2"},
		{"unknown", "127.0.0.2"},
		{"203.0.113.7, x, 127.0.0.4", "127.0.0.2"},
		{"203.0.113.7:4711, 127.0.0.4", "127.0.0.2"},
		{"6.6.6.6\r\nX-Forwarded-For: 203.0.113.7", "203.0.113.7"},
		{"2001:db8::1", "[2001:db8::1]"},
		// Envoy reads 20 addresses at most.
		{strings.Repeat("6.6.6.6, ", 18) + "203.0.113.7, 127.0.0.5", "203.0.113.7"},
		{strings.Repeat("6.6.6.6, ", 19) + "203.0.113.7, 127.0.0.5", "127.0.0.2"},
		{"203.0.113.7, ::ffff:127.0.0.4", "[::ffff:127.0.0.4]"},
		{"203.0.113.7, 127.0.0.4, ,", "127.0.0.2"},
		{"127.1", "127.0.0.2"},
	} {
		path := fmt.Sprintf("/chain/%d", i)
		m.exchange(t, "127.0.0.2", "FRONT", "-", fmt.Sprintf("GET %s HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: %s\r\n", path, c[0]))
		clients[path] = c[1]
	}
	// "::" takes IPv4 too, by its own addresses.
	for from, want := range map[string]map[string]string{"127.0.0.2": believed, "127.0.0.3": dropped} {
		e := m.exchange(t, from, "DUAL", "-", "GET /dual HTTP/1.1\r\nHost: a.test\r\n"+forwarded)
		e.arrived(t, want)
		e.arrived(t, map[string]string{"X-Forwarded-For": xff(want["X-Forwarded-Port"] != "", from)})
	}
	if e := m.exchange(t, "127.0.0.2", "FRONT", "-", "GET /admin/x HTTP/1.1\r\nHost: a.test\r\n"+forwarded); e.status != 403 || e.seen != nil {
		t.Errorf("a trusted proxy's request is judged: %d, the upstream got %v", e.status, e.seen)
	}
}

func xff(trusted bool, from string) string {
	if trusted {
		return "6.6.6.6, 203.0.113.7, 127.0.0.4," + from
	}
	return from
}

func trustedHops(t *testing.T, m *apiMesh, clients map[string]string) {
	e := m.exchange(t, "127.0.0.7", "HOPS", "-", "GET /hops HTTP/1.1\r\nHost: a.test\r\n"+forwarded)
	e.arrived(t, map[string]string{
		"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 127.0.0.4,127.0.0.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "public.test",
		"X-Forwarded-Port": "443", "X-Forwarded-User": "", "X-Real-Ip": "", "X-Credence-Subject": "",
	})
	// Fewer addresses than hops: somebody came around the proxies.
	m.exchange(t, "127.0.0.7", "HOPS", "-", "GET /hops/few HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\n")
	m.exchange(t, "127.0.0.7", "HOPS", "-", "GET /hops/none HTTP/1.1\r\nHost: a.test\r\n")
	clients["/hops"], clients["/hops/few"], clients["/hops/none"] = "203.0.113.7", "127.0.0.7", "127.0.0.7"
}

func redirectsBehind(t *testing.T, m *apiMesh) {
	for _, c := range []struct{ from, listener, target, location string }{
		{"127.0.0.2", "FRONT", "/moved/x", "https://a.test/new/x"},
		{"127.0.0.2", "FRONT", "/away", "https://other.test/away"},
		{"127.0.0.1", "FRONT", "/moved/x", "http://a.test/new/x"},
		{"127.0.0.1", "FRONT", "/away", "http://other.test/away"},
		{"127.0.0.1", "HOPS", "/moved/x", "https://a.test/new/x"},
	} {
		e := m.exchange(t, c.from, c.listener, "-", fmt.Sprintf("GET %s HTTP/1.1\r\nHost: a.test\r\n%s", c.target, forwarded))
		if e.status != 302 || e.header.Get("Location") != c.location {
			t.Errorf("%+v: %d %q", c, e.status, e.header.Get("Location"))
		}
	}
}

func underscores(t *testing.T, m *apiMesh) {
	const head = "x_trace_id: 1\r\nX_Credence_Subject: root\r\nx-credence_subject: root\r\nx_credence-peer: root\r\nX_Envoy_Original_Path: /admin\r\n" +
		"txn_token: t\r\nx_forwarded_for: 6.6.6.6\r\nx-forwarded_host: evil\r\nX_Original_URL: /admin\r\nx_http_method_override: DELETE\r\n" +
		"proxy_authorization: x\r\nx_real_ip: 6.6.6.6\r\nContent_Length: 5\r\ntransfer_encoding: chunked\r\nx_credence_: y\r\nx_request-id: 7\r\n"
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		e := m.exchange(t, from, "FRONT", "-", "GET / HTTP/1.1\r\nHost: a.test\r\n"+head)
		if e.seen == nil {
			t.Fatalf("status %d", e.status)
		}
		var kept []string
		for name := range e.seen.header {
			if strings.Contains(name, "_") {
				kept = append(kept, strings.ToLower(name))
			}
		}
		if len(kept) != 2 || strings.Contains(strings.Join(kept, " "), "credence") {
			t.Errorf("from %s the upstream got %q, want x_trace_id and x_request-id alone", from, kept)
		}
	}
	if e := m.exchange(t, "127.0.0.1", "HOPS", "-", "GET / HTTP/1.1\r\nHost: a.test\r\nx_trace_id: 1\r\n"); e.status != 400 || e.seen != nil {
		t.Errorf("rejected: %d, the upstream got %v", e.status, e.seen)
	}
	e := m.exchange(t, "127.0.0.1", "HEALTH", "-", "GET / HTTP/1.1\r\nHost: a.test\r\nx_trace_id: 1\r\n")
	e.arrived(t, map[string]string{"X_trace_id": ""})
}
