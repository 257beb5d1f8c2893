package testenv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Request is one GET request on a connection of its own: a kept one would prove nothing after a change.
type Request struct {
	// Addr is "ip:port"; Host is the Host header, empty: any.example.
	Addr, Host, Path string
	// Token becomes "Authorization: Bearer <token>".
	Token string
	// TLS is used where it is set.
	TLS *tls.Config
	// Proxy is the outbound listener of a sidecar ("ip:port") through which Host is called; Addr is not used then.
	Proxy string
}

// Reply is what came back.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// Get sends r.
func Get(ctx context.Context, r Request) (Reply, error) {
	if r.Host == "" {
		r.Host = "any.example"
	}
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: r.TLS,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if r.Proxy == "" {
				addr = r.Addr
			}
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		},
	}
	defer transport.CloseIdleConnections()
	if r.Proxy != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: r.Proxy})
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.Host+r.Path, nil)
	if err != nil {
		return Reply{}, err
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		return Reply{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return Reply{resp.StatusCode, resp.Header, string(body)}, errors.Join(err, resp.Body.Close())
}

// Application serves on 127.0.0.1:port until the test ends: every answer is 200 with its name.
func Application(t testing.TB, name string, port int) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name) // a client that is gone
	})}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
