package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/identity"
)

func newRequest(target string) (*http.Request, error) {
	return http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
}

// endless streams until its connection ends, and tells when it has.
func endless(ended chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	})
}

// A stream ends with the SVID of its peer, and when an update takes the peer's authority away: at both ends, whichever hears of it.
func TestTrustEndsConnections(t *testing.T) {
	ca, other := newAuthority(t, "td"), newAuthority(t, "td")
	short := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Second) }
	tests := []struct {
		name           string
		server, client []func(*x509.Certificate)
		end            func(server, client *api, t *testing.T)
	}{
		{"the client's SVID expires", nil, []func(*x509.Certificate){short}, func(_, _ *api, _ *testing.T) {}},
		{"the server's SVID expires", []func(*x509.Certificate){short}, nil, func(_, _ *api, _ *testing.T) {}},
		{"the client's authority leaves the server's bundle", nil, nil, func(s, _ *api, t *testing.T) { s.serve(t, other.issue(t, ledger), other) }},
		{"the server's authority leaves the client's bundle", nil, nil, func(_, c *api, t *testing.T) { c.serve(t, other.issue(t, payments), other) }},
	}
	for _, proto := range []string{"h2", "http/1.1"} {
		for _, tt := range tests {
			if proto == "http/1.1" && strings.HasPrefix(tt.name, "the server's") {
				continue // the client of that protocol has ClientTLS alone, which checks at the handshake
			}
			t.Run(proto+" "+tt.name, func(t *testing.T) {
				sa, csa := newAPI(t), newAPI(t)
				sa.serve(t, ca.issue(t, ledger, tt.server...), ca)
				csa.serve(t, ca.issue(t, payments, tt.client...), ca)
				server, caller := open(t, sa), open(t, csa)
				ended := make(chan struct{})
				client := caller.Client(identity.Only(ledger))
				if tr, ok := client.Transport.(*http.Transport); ok && proto == "http/1.1" {
					tr.ForceAttemptHTTP2 = false
					tr.DialTLSContext, tr.TLSClientConfig = nil, caller.ClientTLS(identity.Only(ledger))
					tr.DialContext = nil
					tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
				}
				defer client.CloseIdleConnections()
				req, err := newRequest(serve(t, server, identity.Only(payments), endless(ended)))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				begun := time.Now()
				tt.end(sa, csa, t)
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Error("the stream ended well")
				}
				t.Logf("the client saw the end after %v", time.Since(begun).Round(time.Millisecond))
				select {
				case <-ended:
				case <-time.After(20 * time.Second):
					t.Error("the server's handler still runs")
				}
			})
		}
	}
}

// With ServerTLS alone connections stay; Handler and Peer refuse at the next request, and the connection is not used again.
func TestHandlerChecksEachRequest(t *testing.T) {
	ca, other := newAuthority(t, "td"), newAuthority(t, "td")
	server, a := source(t, ca, ledger)
	caller, _ := source(t, ca, payments)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: server.Handler(identity.Only(payments), hello(server)), TLSConfig: server.ServerTLS(identity.AnyOf("td")), ReadHeaderTimeout: 5 * time.Second,
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	target := "https://" + l.Addr().String()
	client := caller.Client(identity.Only(ledger))
	defer client.CloseIdleConnections()
	status, body, err := get(t, client, target)
	if err != nil || status != 200 || body != payments {
		t.Fatalf("%d %q %v", status, body, err)
	}
	a.serve(t, other.issue(t, ledger), other)
	eventually(t, "the kept connection's next request is refused", func() bool {
		status, body, err = get(t, client, target)
		return err == nil && status == http.StatusForbidden && strings.Contains(body, "peer_not_trusted")
	})
	eventually(t, "the connection ends", func() bool { _, _, err := get(t, client, target); return err != nil })
}

// A refusal names the service that refused; what only a sidecar may say is removed from what is served.
func TestHandler(t *testing.T) {
	ca := newAuthority(t, "td")
	server, _ := source(t, ca, ledger)
	seen := make(chan http.Header, 1)
	target := serve(t, server, identity.AnyOf("td"), server.Handler(identity.Only(payments), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Header
	})))
	for _, tt := range []struct {
		id   string
		want int
	}{{payments, 200}, {batch, 403}} {
		caller, _ := source(t, ca, tt.id)
		client := caller.Client(identity.Only(ledger))
		req, err := newRequest(target)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"X-Credence-Subject": {"root"}, "x-credence-PEER": {"x"}, "X-Other": {"kept"}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != tt.want {
			t.Errorf("%s: %d %q %v", tt.id, resp.StatusCode, body, err)
		}
		_ = resp.Body.Close()
		client.CloseIdleConnections()
		if tt.want == 200 {
			for name := range <-seen {
				if strings.HasPrefix(strings.ToLower(name), "x-credence-") {
					t.Errorf("the handler saw %s", name)
				}
			}
			continue
		}
		got := map[string]string{}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"error": "forbidden", "reason": "peer_not_allowed", "message": batch + " may not call this service", "decided_by": "the code of " + ledger,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	plain := httptest.NewServer(server.Handler(identity.AnyOf("td"), http.NotFoundHandler()))
	defer plain.Close()
	resp, err := plain.Client().Get(plain.URL) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("without TLS: %d", resp.StatusCode)
	}
}

// Whoever connects and says nothing, or half a handshake, does not keep the connection.
func TestSilentPeerIsClosed(t *testing.T) {
	ca, a := newAuthority(t, "td"), newAPI(t)
	a.serve(t, ca.issue(t, ledger), ca)
	server, err := identity.Open(t.Context(), identity.Options{Address: a.address, Log: quiet(), HandshakeTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	target := serve(t, server, identity.AnyOf("td"), hello(server))
	for _, sent := range []string{"", "\x16\x03\x01\x02\x00"} {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", target[len("https://"):])
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(4 * time.Second)); err != nil { // before the server's own limit for heads
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q the connection is still open", sent)
		}
		_ = c.Close()
	}
	caller, _ := source(t, ca, payments)
	client := caller.Client(identity.Only(ledger))
	defer client.CloseIdleConnections()
	first := time.Now()
	for time.Since(first) < 500*time.Millisecond { // a verified connection stays
		if _, _, err := get(t, client, target); err != nil {
			t.Fatal(err)
		}
	}
}

// halfway lets a client's records through up to its certificate, and never the proof of its key. Of a client of TLS 1.3 the first write is its
// hello; the second has all that follows.
type halfway struct {
	net.Conn
	writes int
}

func (h *halfway) Write(b []byte) (int, error) {
	if h.writes++; h.writes == 1 {
		return h.Conn.Write(b)
	}
	end := 0
	for end+5 <= len(b) { // records, RFC 8446 §5.1
		kind := b[end]
		end += 5 + int(b[end+3])<<8 + int(b[end+4])
		if kind == 23 {
			break
		}
	}
	if h.writes == 2 && end <= len(b) {
		if _, err := h.Conn.Write(b[:end]); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// A certificate is no secret. Whoever shows one that is allowed, and then does not prove its key, does not keep the connection.
func TestShownCertificateIsNoHandshake(t *testing.T) {
	ca, a := newAuthority(t, "td"), newAPI(t)
	a.serve(t, ca.issue(t, ledger), ca)
	server, err := identity.Open(t.Context(), identity.Options{Address: a.address, Log: quiet(), HandshakeTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	l, err := server.Listen(t.Context(), "127.0.0.1:0", identity.Only(payments))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	srv := &http.Server{Handler: hello(server)}
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	raw, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := tls.Client(&halfway{Conn: raw}, rawTLS(ca.issue(t, payments))).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err) // to a client of TLS 1.3 its own last words end the handshake
	}
	if _, err := io.ReadAll(raw); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open after 10 s")
	}
}

// An identity that has ended holds no connection, though the peer's has not.
func TestOwnEndEndsConnections(t *testing.T) {
	ca, sa := newAuthority(t, "td"), newAPI(t)
	sa.serve(t, ca.issue(t, ledger, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Second) }), ca)
	server, ended := open(t, sa), make(chan struct{})
	target := serve(t, server, identity.Only(payments), endless(ended))
	raw, err := (&tls.Dialer{Config: rawTLS(ca.issue(t, payments))}).DialContext(t.Context(), "tcp", target[len("https://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(raw, "GET / HTTP/1.1\r\nHost: ledger\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(raw); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the stream is still open after 10 s")
	}
}
