// Package service is what the services of the quickstart have in common: where they listen, how they call each other, and what they
// answer. None of them knows of TLS, tokens or identities: their sidecars do that.
package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Answer is the body of every reply: who served, for whom, called by whom, and what the next service answered.
type Answer struct {
	Service string `json:"service"`
	User    string `json:"user,omitempty"`
	Caller  string `json:"caller,omitempty"`
	Scopes  string `json:"scopes,omitempty"`
	// Identity are all x-credence-* headers and others that a client may have tried to forge, and the credentials that have come: the
	// internal token and nothing else. A service of yours would never answer with it.
	Identity map[string]string `json:"identity,omitempty"`
	Status   int               `json:"status,omitempty"`
	Next     json.RawMessage   `json:"next,omitempty"`
}

// For describes the request r as the service name sees it.
func For(name string, r *http.Request) Answer {
	a := Answer{
		Service: name, User: r.Header.Get("X-Credence-Subject"), Caller: r.Header.Get("X-Credence-Peer"),
		Scopes: r.Header.Get("X-Credence-Scopes"), Identity: map[string]string{},
	}
	for h, v := range r.Header {
		if l := strings.ToLower(h); strings.HasPrefix(l, "x-credence-") || l == "txn-token" || l == "authorization" || l == "x-forwarded-client-cert" || l == "x-real-ip" {
			a.Identity[l] = strings.Join(v, ",")
		}
	}
	return a
}

// Serve answers on $LISTEN (ip:port, or the path of a unix socket) until SIGTERM.
func Serve(h http.Handler) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := Listen(ctx, "LISTEN")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// Listen opens the address in an environment variable: ip:port, or the path of a unix socket.
func Listen(ctx context.Context, variable string) (net.Listener, error) {
	network, addr := "tcp", os.Getenv(variable)
	if filepath.IsAbs(addr) {
		network = "unix"
		if err := os.Remove(addr); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, network, addr)
}

// Client calls through the sidecar's outbound listener at $OUTBOUND (ip:port, or the path of a unix socket).
func Client() *http.Client {
	out := os.Getenv("OUTBOUND")
	t := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: out})}
	if filepath.IsAbs(out) {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", out)
		}
	}
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// Call gets target for the user of the internal token, which travels along; empty: for nobody but the service itself.
func Call(ctx context.Context, c *http.Client, target, token string) (int, json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Txn-Token", token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, nil, err
	}
	if !json.Valid(body) {
		body, err = json.Marshal(string(body))
	}
	return resp.StatusCode, body, err
}

// Reply writes a as JSON.
func Reply(w http.ResponseWriter, status int, a Answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(a); err != nil {
		log.Print(fmt.Errorf("answering: %w", err))
	}
}

// Forward answers with what the next service says to the same user.
func Forward(name, target string, c *http.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a := For(name, r)
		status, next, err := Call(r.Context(), c, target, r.Header.Get("Txn-Token"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		a.Status, a.Next = status, next
		Reply(w, status, a)
	}
}
