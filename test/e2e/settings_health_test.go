//go:build e2e

package e2e_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checksSince are the Checks that have been logged since before.
func (m *apiMesh) checksSince(before int) int {
	return strings.Count(m.Log()[before:], " msg=check ")
}

func healthPath(t *testing.T, m *apiMesh) {
	for _, c := range []struct {
		listener, head string
		status         int
	}{
		{"HEALTH", "GET /healthz/live HTTP/1.1\r\nHost: a.test\r\n", 200},
		{"HEALTH", "HEAD /healthz/live HTTP/1.1\r\nHost: a.test\r\n", 200},
		{"HEALTH", "GET /healthz/live HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n", 200},
		{"HEALTH", "GET /healthz/live HTTP/1.1\r\nHost: \r\n", 200},
		{"HEALTH", "GET /healthz/live HTTP/1.1\r\nHost: a,b\r\n", 200},
		{"HEALTH", "GET /healthz/live HTTP/1.0\r\n", 200},
		{"HEALTH", "GET /healthz/live HTTP/1.0\r\nHost: a.test\r\n", 200},
		{"HEALTH", "GET /x/../healthz/live HTTP/1.1\r\nHost: a.test\r\n", 200},
		{"HEALTH_NAMED", "GET /healthz/live HTTP/1.1\r\nHost: other.test\r\n", 200},
		{"HEALTH_NAMED", "GET /healthz/live HTTP/1.0\r\n", 200},
	} {
		before := len(m.Log())
		if e := m.exchange(t, "", c.listener, "-", c.head); e.status != c.status || e.seen != nil || e.body != "" {
			t.Errorf("%s %q: %d %q, the upstream got %v", c.listener, c.head, e.status, e.body, e.seen)
		}
		if n := m.checksSince(before); n != 0 {
			t.Errorf("%q: %d Checks", c.head, n)
		}
	}
	// Neighbours are requests like any other.
	for _, target := range []string{"/healthz/live/", "/healthz/live/x", "/healthz", "/healthz/live?x", "/healthz/livex", "/healthz/live%20", "/HEALTHZ/live"} {
		before := len(m.Log())
		if e := m.exchange(t, "", "HEALTH", "-", "GET "+target+" HTTP/1.1\r\nHost: a.test\r\n"); e.seen == nil || m.checksSince(before) != 2 {
			t.Errorf("%s: %d, %d Checks", target, e.status, m.checksSince(before))
		}
	}
	if e := m.exchange(t, "", "FRONT", "-", "GET /healthz/live HTTP/1.1\r\nHost: a.test\r\n"); e.seen == nil {
		t.Errorf("a gateway without a health path answers by itself: %d", e.status)
	}
}

// oldHTTP: what the health path opens up in Envoy is HTTP/1.0; the Check serves it to nothing else. Envoy would take a chunked body of it.
func oldHTTP(t *testing.T, m *apiMesh) {
	for _, c := range []struct {
		listener, head string
		status         int
	}{
		{"HEALTH", "GET / HTTP/1.0\r\n", 400},
		{"HEALTH", "GET /admin/x HTTP/1.0\r\n", 400},
		{"HEALTH", "GET / HTTP/1.0\r\nHost:\r\n", 400},
		{"HEALTH", "GET /away HTTP/1.0\r\n", 400},
		{"HEALTH", "GET /x HTTP/1.0\r\nHost: a.test\r\n", 400},
		{"HEALTH", "GET /x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n", 400},
		{"HEALTH", "GET /admin/x HTTP/1.0\r\nHost: a.test\r\n", 400},
		{"HEALTH", "GET / HTTP/1.1\r\n", 400},
		{"HEALTH", "GET /healthz/live HTTP/1.1\r\n", 400},
		{"HEALTH", "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 400},
		{"HEALTH", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 400},
		{"HEALTH_NAMED", "GET / HTTP/1.0\r\n", 404},
		{"FRONT", "GET / HTTP/1.0\r\nHost: a.test\r\n", 426},
		{"FRONT", "GET / HTTP/1.0\r\n", 426},
	} {
		if e := m.exchange(t, "", c.listener, "-", c.head); e.status != c.status || e.seen != nil {
			t.Errorf("%s %q: %d, want %d; the upstream got %v", c.listener, c.head, e.status, c.status, e.seen)
		}
	}
}

// limits of the gateway health: connections idle 1 s, streams idle 1 s, streams 3 s.
func limits(t *testing.T, m *apiMesh) {
	open := func(head string) (net.Conn, *bufio.Reader) {
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", m.addr("HEALTH"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		return c, bufio.NewReader(c)
	}
	t.Run("an idle connection", func(t *testing.T) {
		t.Parallel()
		start := time.Now()
		_, in := open("GET /healthz/live HTTP/1.1\r\nHost: a.test\r\n\r\n")
		_, err := io.Copy(io.Discard, in)
		if took := time.Since(start); err != nil && !errors.Is(err, io.EOF) || took < 500*time.Millisecond {
			t.Errorf("it ended after %v: %v", took, err)
		}
	})
	t.Run("an idle stream", func(t *testing.T) {
		t.Parallel()
		_, in := open("GET /hang HTTP/1.1\r\nHost: a.test\r\n\r\n")
		line, err := in.ReadString('\n')
		if err != nil || !strings.Contains(line, "504") && !strings.Contains(line, "408") {
			t.Errorf("%q %v", line, err)
		}
	})
	t.Run("a stream that never rests", func(t *testing.T) {
		t.Parallel()
		start := time.Now()
		c, in := open("POST /hang HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n")
		done := make(chan struct{})
		go func() { // ends when the connection does
			defer close(done)
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}()
		_, err := io.Copy(io.Discard, in)
		took := time.Since(start)
		if cerr := c.Close(); err != nil && cerr != nil {
			t.Log(err, cerr)
		}
		<-done
		if took < 2*time.Second || took > 15*time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

// settingsGone: a gateway whose settings cannot be found denies everything, its health path too, until they are back.
func settingsGone(t *testing.T, m *apiMesh) {
	status := func() int {
		return m.exchange(t, "", "HEALTH", "-", "GET /gone HTTP/1.1\r\nHost: a.test\r\n").status
	}
	m.Edit("health.yaml", "")
	m.Await("the denial", func() string {
		if s := status(); s != 403 {
			return "still answered"
		}
		return ""
	})
	m.Await("the health path", func() string {
		if e := m.exchange(t, "", "HEALTH", "-", "GET /healthz/live HTTP/1.1\r\nHost: a.test\r\n"); e.status != 403 {
			return "still answered"
		}
		return ""
	})
	if e := m.exchange(t, "", "FRONT", "-", "GET / HTTP/1.1\r\nHost: a.test\r\n"); e.status != 200 {
		t.Errorf("another gateway: %d", e.status)
	}
	found := false
	for _, d := range m.Status().Diagnostics {
		found = found || strings.Contains(d.Message, "there is no GatewaySettings")
	}
	if !found {
		t.Errorf("the status does not say why: %+v", m.Status().Diagnostics)
	}
	m.Edit("health.yaml", "apiVersion: credence.mesh/v1alpha1\nkind: GatewaySettings\nmetadata: {name: health}\nspec: {healthPath: /up}\n")
	m.Await("the service", func() string {
		if s := status(); s != 200 {
			return "still denied"
		}
		return ""
	})
}

// trustEnds: an edit that trusts a proxy no more holds for its new connections at once, and for those that are open once Envoy has drained
// them (5 s).
func trustEnds(t *testing.T, m *apiMesh) {
	const head = "GET /trust HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Host: public.test\r\n"
	believed := func() bool {
		e := m.exchange(t, "127.0.0.2", "FRONT", "-", head)
		return e.seen != nil && e.seen.header.Get("X-Forwarded-Host") != ""
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	c, err := d.DialContext(t.Context(), "tcp", m.addr("FRONT"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	ask := func() error {
		if _, err := io.WriteString(c, head+"\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return errors.Join(err, res.Body.Close())
	}
	if err := ask(); err != nil || !believed() {
		t.Fatalf("before the edit: %v", err)
	}
	m.Edit("settings.yaml", strings.Replace(m.manifest(t, "settings.yaml"), "127.0.0.2/32", "127.0.0.9/32", 1))
	m.Await("new connections", func() string {
		if believed() {
			return "believed"
		}
		return ""
	})
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if err := ask(); err != nil {
			break
		}
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("an open connection was believed for %v", took)
	} else {
		t.Logf("an open connection ended after %v", took.Round(time.Millisecond))
	}
}

// manifest is what a file of the mesh says now.
func (m *apiMesh) manifest(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(m.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
