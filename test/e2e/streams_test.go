//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"
)

// streamsMesh serves everything below once for a user with a token, and once for everybody at /public.
func streamsMesh(t *testing.T) *appMesh {
	t.Helper()
	mux := http.NewServeMux()
	handle := func(path string, h http.Handler) {
		mux.Handle(path, h)
		mux.Handle("/public"+path, h)
	}
	handle("/ws", websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }})
	handle("/events", http.HandlerFunc(events))
	handle("/upload", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%d %v %q", n, err, r.Header.Get("Expect"))
	}))
	handle("/thing", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Thing", "a")
		_, _ = io.WriteString(w, "a thing")
	}))
	handle("/host", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	handle("/hints", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hints")
	}))
	handle("/received", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %v %v", body, err, r.Trailer)
	}))
	handle("/trailers", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	}))
	return startApp(t, join(
		rule("token", "matches: [{path: {type: PathPrefix, value: /}}]", "token"),
		rule("public", "matches: [{path: {type: PathPrefix, value: /public}}]", "public"),
		rule("post", "matches: [{path: {type: PathPrefix, value: /public/post}, method: POST}]\n"+
			"filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /ws}}}]", "public"),
		strings.Replace(rule("posts", "matches: [{path: {type: PathPrefix, value: /posts}}]\n"+
			"filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /ws}}}]", "public"),
			"authentication: [anonymous]}", "authentication: [anonymous], to: [{methods: [POST]}]}", 1),
	), mux)
}

// streamTime is how long a stream of events lasts: longer than the 15 s after which Envoy ends a request by default.
const streamTime = 17

func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range streamTime {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: tick\n\n", i); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// TestServerSentEvents: a stream passes gateway and sidecar event by event, for as long as it lasts.
func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.front+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+m.Token(audience, "read"))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	begin := time.Now()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	count, first := 0, time.Duration(0)
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "id: ") {
			if count == 0 {
				first = time.Since(begin)
			}
			count++
		}
	}
	if err := lines.Err(); err != nil {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if took := time.Since(begin); count != streamTime || took < 15*time.Second || first > took/2 {
		t.Errorf("%d events in %v, the first after %v; want %d, one a second", count, took, first, streamTime)
	}
}

// webSocket dials with an independent library and returns what an echo says.
func webSocket(m *appMesh, path, token string) (string, error) {
	config, err := websocket.NewConfig("ws://"+m.front+path, "https://app.test")
	if err != nil {
		return "", err
	}
	if token != "" {
		config.Header.Set("Authorization", "Bearer "+token)
	}
	c, err := websocket.DialConfig(config)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if err := websocket.Message.Send(c, "hello"); err != nil {
		return "", err
	}
	var echo string
	err = websocket.Message.Receive(c, &echo)
	return echo, err
}

func upgrade(path, token string) string {
	head := "GET " + path + " HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://app.test\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	return head + "\r\n"
}

// TestWebSocket: over HTTP/1.1 and HTTP/2, judged as the GET that it is before anything reaches the application.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	token := m.Token(audience, "read")
	for _, path := range []string{"/ws", "/public/ws"} {
		if echo, err := webSocket(m, path, token); err != nil || echo != "hello" {
			t.Errorf("%s: %q, %v", path, echo, err)
		}
		if echo, err := webSocket2(t.Context(), m.front, path, token); err != nil || echo != "hello" {
			t.Errorf("%s over HTTP/2: %q, %v", path, echo, err)
		}
	}
	before := m.arrived.Load()
	for _, r := range []struct {
		name, path, token string
		status            int
	}{
		{"no token", "/ws", "", 401},
		{"a token without the scope", "/ws", m.Token(audience, "other"), 403},
		{"a broken token", "/ws", token + "x", 401},
		{"a rule for POST", "/posts", "", 403},
		{"a match for POST", "/public/post", "", 404},
		{"an encoded slash", "/public%2fws", "", 400},
	} {
		got, err := send(t.Context(), m.front, "-", upgrade(r.path, r.token))
		if err != nil || got.status != r.status {
			t.Errorf("%s: status %d, want %d: %v", r.name, got.status, r.status, err)
		}
		if r.status == 401 && got.header.Get("Www-Authenticate") == "" {
			t.Errorf("%s: no challenge", r.name)
		}
		status, err := connect2(t.Context(), m.front, r.path, r.token)
		if err != nil || status != r.status {
			t.Errorf("%s over HTTP/2: status %d, want %d: %v", r.name, status, r.status, err)
		}
	}
	// The match for POST falls to /public, where the application has nothing at /public/post; no other reached it.
	if arrived := m.arrived.Load() - before; arrived != 2 {
		t.Errorf("%d requests arrived, want the 2 of /public/post", arrived)
	}
}

// upload sends a POST by hand: the head, and the body only when asked for, or at once. It returns the statuses in their order, the last
// one's body, and how much of the request's body was sent when that came.
func upload(t *testing.T, m *appMesh, path, token string, expect bool, size int) (statuses []string, text string, sent int) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", m.front)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n", path, size)
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	if expect {
		head += "Expect: 100-continue\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, size)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	written := make(chan int, 1)
	write := func() {
		n, err := c.Write(body)
		_ = err // the proxy may have closed: the answer says why
		written <- n
	}
	if !expect {
		go write() // ends with the connection
	}
	in := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: after %v: %v", path, statuses, err)
		}
		statuses = append(statuses, res.Status)
		if res.StatusCode == http.StatusContinue {
			if !expect {
				t.Fatal("100 without having been asked for")
			}
			go write() // ends with the connection
			continue
		}
		answer, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_ = c.Close()
		if !expect || len(statuses) > 1 {
			sent = <-written
		}
		return statuses, string(answer), sent
	}
}

// TestExpectContinue: the body of an allowed request arrives whole, and that of a denied one is never asked for.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	const size = 10 << 20
	token := m.Token(audience, "read")
	statuses, text, _ := upload(t, m, "/upload", token, true, size)
	if want := []string{"100 Continue", "200 OK"}; !cmp.Equal(statuses, want) || !strings.HasPrefix(text, fmt.Sprintf("%d <nil>", size)) {
		t.Errorf("allowed: %v %q", statuses, text)
	}
	statuses, text, _ = upload(t, m, "/upload", token, false, size)
	if want := []string{"200 OK"}; !cmp.Equal(statuses, want) || !strings.HasPrefix(text, fmt.Sprintf("%d <nil>", size)) {
		t.Errorf("allowed, without Expect: %v %q", statuses, text)
	}
	before := m.arrived.Load()
	statuses, _, sent := upload(t, m, "/upload", "", true, size)
	if want := []string{"401 Unauthorized"}; !cmp.Equal(statuses, want) || sent != 0 {
		t.Errorf("denied: %v after %d bytes of the body", statuses, sent)
	}
	statuses, _, sent = upload(t, m, "/upload", "", false, size)
	if want := []string{"401 Unauthorized"}; !cmp.Equal(statuses, want) {
		t.Errorf("denied, without Expect: %v after %d bytes of the body", statuses, sent)
	}
	if m.arrived.Load() != before {
		t.Error("a denied request arrived")
	}
}

// TestDeniedBodyIsNoRequest: what follows a denied head is its body, or nothing, never the next request of the connection.
func TestDeniedBodyIsNoRequest(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		before := m.arrived.Load()
		inner := "GET /public/thing HTTP/1.1\r\nHost: app.test\r\n\r\n"
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", m.front)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n%s\r\n", len(inner), expect)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%q: %v, %v", expect, res, err)
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, inner); err == nil {
			if next, err := http.ReadResponse(in, nil); err == nil {
				t.Errorf("%q: the body was answered with %s", expect, next.Status)
				_ = next.Body.Close()
			}
		}
		if m.arrived.Load() != before {
			t.Errorf("%q: the body arrived as a request", expect)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHEAD: the answer is that of GET without its body, allowed and denied.
func TestHEAD(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	token := m.Token(audience, "read")
	for _, bearer := range []string{"Bearer " + token, ""} {
		header := map[string]string{"Authorization": bearer}
		if bearer == "" {
			delete(header, "Authorization")
		}
		get, body := m.do(t, http.MethodGet, "/thing", header, nil)
		head, none := m.do(t, http.MethodHead, "/thing", header, nil)
		if body == "" || none != "" || get.StatusCode != head.StatusCode {
			t.Errorf("GET %d %q, HEAD %d %q", get.StatusCode, body, head.StatusCode, none)
		}
		for _, h := range []*http.Response{get, head} {
			h.Header.Del("Date")
			h.Header.Del("X-Credence-Decision")
		}
		if diff := cmp.Diff(get.Header, head.Header); diff != "" {
			t.Errorf("headers (-GET +HEAD):\n%s", diff)
		}
	}
}
