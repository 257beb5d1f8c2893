package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity"
)

// hello answers with who called.
func hello(src *identity.Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := src.Peer(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, id.String())
	})
}

// serve runs h behind src.Listen and returns its URL.
func serve(t testing.TB, src *identity.Source, a identity.Authorizer, h http.Handler) string {
	t.Helper()
	l, err := src.Listen(t.Context(), "127.0.0.1:0", a)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, h)
	return "https://" + l.Addr().String()
}

func serveOn(t testing.TB, l net.Listener, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
}

func get(t testing.TB, c *http.Client, target string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// rawTLS shows a credential, whatever it is worth, and takes any server: what a Source would never do.
func rawTLS(c credential) *tls.Config {
	cert := tls.Certificate{PrivateKey: c.key}
	for _, one := range c.chain {
		cert.Certificate = append(cert.Certificate, one.Raw)
	}
	return &tls.Config{
		InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &cert, nil
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
		ClientAuth:     tls.RequestClientCert,
	}
}

type bad struct {
	name string
	c    func(t *testing.T, ca authority) credential
}

func issued(id string, change ...func(*x509.Certificate)) func(*testing.T, authority) credential {
	return func(t *testing.T, ca authority) credential { return ca.issue(t, id, change...) }
}

// refusedCredentials are of peers that no Source talks to, at either end, whatever the Authorizer says.
func refusedCredentials(t *testing.T) []bad {
	foreign := newAuthority(t, "td")
	return []bad{
		{"X5-13 another CA of the same name", func(t *testing.T, _ authority) credential { return foreign.issue(t, payments) }},
		{"X5-13 another trust domain, signed by ours", issued("spiffe://other/ns/default/wl/payments")},
		{"X5-2 two URI names", issued(payments, func(c *x509.Certificate) { c.URIs = append(c.URIs, uri(t, batch)) })},
		{"X5-1 no URI name", issued(payments, func(c *x509.Certificate) { c.URIs = nil; c.DNSNames = []string{"payments"} })},
		{"X5-3 root path", issued("spiffe://td")},
		{"X5-3 root path with a slash", issued("spiffe://td/")},
		{"X5-7 a CA certificate", issued(payments, func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign })},
		{"X5-11 no digitalSignature", issued(payments, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })},
		{"X5-12 serverAuth alone", issued(payments, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })},
		{"X5-12 clientAuth alone", issued(payments, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] })},
		{"expired", issued(payments, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })},
		{"not valid yet", issued(payments, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Hour)
			c.NotAfter = time.Now().Add(2 * time.Hour)
		})},
		{"X5-14 another scheme", issued(payments, func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, "https://td/ns/default/wl/payments")} })},
		{"expired certificate beside a good one", func(t *testing.T, ca authority) credential {
			c := ca.issue(t, payments)
			stale := ca.issue(t, payments, func(c *x509.Certificate) {
				c.IsCA, c.KeyUsage, c.URIs = true, x509.KeyUsageCertSign, nil
				c.NotAfter = time.Now().Add(-time.Second)
			})
			c.chain = append(c.chain, stale.chain...)
			return c
		}},
	}
}

func TestServerRefuses(t *testing.T) {
	ca := newAuthority(t, "td")
	src, _ := source(t, ca, ledger)
	target := serve(t, src, identity.AnyOf("td"), hello(src))
	call := func(cfg *tls.Config) (int, string, error) {
		tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DisableKeepAlives: true}
		defer tr.CloseIdleConnections()
		return get(t, &http.Client{Transport: tr}, target)
	}
	for _, protos := range [][]string{{"h2"}, {"http/1.1"}, nil} {
		cfg := rawTLS(ca.issue(t, payments))
		cfg.NextProtos = protos
		if status, body, err := call(cfg); err != nil || status != 200 || body != payments {
			t.Errorf("a good SVID with ALPN %v: %d %q %v", protos, status, body, err)
		}
	}
	for _, b := range refusedCredentials(t) {
		t.Run(b.name, func(t *testing.T) {
			if status, body, err := call(rawTLS(b.c(t, ca))); err == nil {
				t.Errorf("served: %d %q", status, body)
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		if status, body, err := call(&tls.Config{InsecureSkipVerify: true}); err == nil {
			t.Errorf("served: %d %q", status, body)
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		cfg := rawTLS(ca.issue(t, payments))
		cfg.MaxVersion = tls.VersionTLS12
		if status, body, err := call(cfg); err == nil {
			t.Errorf("served: %d %q", status, body)
		}
	})
	t.Run("plain HTTP", func(t *testing.T) {
		tr := &http.Transport{DisableKeepAlives: true}
		defer tr.CloseIdleConnections()
		if status, body, err := get(t, &http.Client{Transport: tr}, "http"+target[len("https"):]); err == nil && status != 400 {
			t.Errorf("served: %d %q", status, body)
		}
	})
}

func TestClientRefuses(t *testing.T) {
	ca := newAuthority(t, "td")
	src, _ := source(t, ca, ledger)
	client := src.Client(identity.AnyOf("td"))
	defer client.CloseIdleConnections()
	against := func(t *testing.T, c credential) (int, string, error) {
		t.Helper()
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
		srv.TLS = rawTLS(c)
		shown, err := srv.TLS.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		srv.TLS.Certificates = []tls.Certificate{*shown} // else httptest brings its own
		srv.EnableHTTP2 = true
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		srv.StartTLS()
		defer srv.Close()
		return get(t, client, srv.URL)
	}
	if status, body, err := against(t, ca.issue(t, payments)); err != nil || status != 200 || body != "secret" {
		t.Errorf("a good SVID: %d %q %v", status, body, err)
	}
	for _, b := range refusedCredentials(t) {
		t.Run(b.name, func(t *testing.T) {
			if status, body, err := against(t, b.c(t, ca)); err == nil {
				t.Errorf("answered: %d %q", status, body)
			}
		})
	}
	t.Run("http", func(t *testing.T) {
		srv := httptest.NewServer(http.NotFoundHandler())
		defer srv.Close()
		if status, _, err := get(t, client, srv.URL); err == nil {
			t.Errorf("answered: %d", status)
		}
	})
}

// Both ends ask their Authorizer; none that is empty, nil or misspelt allows anybody.
func TestAuthorizers(t *testing.T) {
	ca := newAuthority(t, "td")
	server, _ := source(t, ca, ledger)
	caller, _ := source(t, ca, payments)
	pass := func(spiffeid.ID) error { return nil }
	tests := []struct {
		name   string
		server identity.Authorizer
		client identity.Authorizer
		ok     bool
	}{
		{"exact", identity.Only(batch, payments), identity.Only(ledger), true},
		{"any of the mesh", identity.AnyOf("td"), identity.AnyOf("td"), true},
		{"a function", pass, pass, true},
		{"another caller", identity.Only(batch), identity.Only(ledger), false},
		{"another server", identity.Only(payments), identity.Only(batch), false},
		{"only, of nobody", identity.Only(), identity.Only(ledger), false},
		{"nil at the server", nil, identity.Only(ledger), false},
		{"nil at the client", identity.Only(payments), nil, false},
		{"an ID that is none beside a good one", identity.Only(payments, "spiffe://td"), identity.Only(ledger), false},
		{"no prefixes", identity.Only("spiffe://td/ns/default"), identity.Only(ledger), false},
		{"another trust domain", identity.AnyOf("t"), identity.Only(ledger), false},
		{"an empty trust domain", identity.AnyOf(""), identity.Only(ledger), false},
		{"an ID for a trust domain", identity.AnyOf("spiffe://td"), identity.Only(ledger), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := caller.Client(tt.client)
			defer client.CloseIdleConnections()
			status, body, err := get(t, client, serve(t, server, tt.server, hello(server)))
			if (err == nil) != tt.ok {
				t.Fatalf("%d %q %v, want ok %v", status, body, err, tt.ok)
			}
			if err == nil && body != payments {
				t.Errorf("the server saw %q", body)
			}
		})
	}
}

// A session is never resumed: a client that brings a cache gets no ticket, by Listen or by ServerTLS, whose configuration all connections share.
func TestNoResumption(t *testing.T) {
	ca, other := newAuthority(t, "td"), newAuthority(t, "td")
	for name, listen := range map[string]func(*identity.Source, net.Listener) net.Listener{
		"Listen": func(s *identity.Source, l net.Listener) net.Listener { return s.Listener(l, identity.AnyOf("td")) },
		"ServerTLS": func(s *identity.Source, l net.Listener) net.Listener {
			return tls.NewListener(l, s.ServerTLS(identity.AnyOf("td")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, api := source(t, ca, ledger)
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			serveOn(t, listen(server, l), hello(server))
			cfg := rawTLS(ca.issue(t, payments))
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			for range 3 {
				if resumed, err := resumes(t, l.Addr().String(), cfg); err != nil || resumed {
					t.Fatalf("resumed %v, %v", resumed, err)
				}
			}
			// The authority of the client leaves the bundle: what was a session before is a stranger now.
			api.serve(t, other.issue(t, ledger), other)
			eventually(t, "the client whose CA has left the bundle is refused", func() bool {
				_, err := resumes(t, l.Addr().String(), cfg)
				return err != nil
			})
		})
	}
}

// resumes asks once on a new connection and tells whether its session was one from the cache.
func resumes(t *testing.T, address string, cfg *tls.Config) (bool, error) {
	t.Helper()
	c, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: cfg}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return false, err
	}
	if _, err := io.ReadAll(c); err != nil { // a ticket would come before the answer
		return false, err
	}
	conn, ok := c.(*tls.Conn)
	return ok && conn.ConnectionState().DidResume, nil
}
