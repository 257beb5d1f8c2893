package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"
)

// KeysPath is where services find the keys of internal tokens.
const KeysPath = "/.well-known/jwks.json"

// Probes serves /healthz (the process lives), /readyz (503 with the reasons, a line each, while anything is missing), /metrics, and at KeysPath
// the JWK Set that keys returns and how long it may be kept (RFC 7517 §8.5); nil: none.
func Probes(notReady func() []string, metrics prometheus.Gatherer, keys func() ([]byte, time.Duration)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := notReady(); len(why) > 0 {
			text(w, http.StatusServiceUnavailable, strings.Join(why, "\n"))
			return
		}
		text(w, http.StatusOK, "ready")
	})
	if keys != nil {
		mux.HandleFunc("GET "+KeysPath, func(w http.ResponseWriter, _ *http.Request) {
			document, keep := keys()
			w.Header().Set("Content-Type", "application/jwk-set+json")
			w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", keep/time.Second))
			_, _ = w.Write(document) // the client is gone, then
		})
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, body) //nolint:gosec // plain text, on a unix socket or without a word of the client
}

// Sources are what the API tells. Status is required; what is nil is not served.
type Sources struct {
	Status func() Status
	// Decision finds one of the last Checks by its id.
	Decision func(id string) (*Decision, bool)
	// Revocations are the ones that Checks are judged by.
	Revocations Revocations
}

// API serves GET /v1/status, GET /v1/decisions/{id}, and revocations: GET and POST /v1/revocations, DELETE /v1/revocations/{id}.
func API(from Sources) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client is gone, then
	}
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, from.Status()) })
	if from.Revocations != nil {
		serveRevocations(mux, from.Revocations)
	}
	if from.Decision != nil {
		mux.HandleFunc("GET /v1/decisions/{id}", func(w http.ResponseWriter, r *http.Request) {
			d, ok := from.Decision(r.PathValue("id"))
			if !ok {
				text(w, http.StatusNotFound, "no such decision is remembered")
				return
			}
			answer(w, d)
		})
	}
	return mux
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// OwnerOnly wraps a unix listener and closes at once what another user than ours or root has connected (SO_PEERCRED).
func OwnerOnly(l net.Listener) net.Listener { return ownerOnly{l} }

type ownerOnly struct{ net.Listener }

func (o ownerOnly) Accept() (net.Conn, error) {
	for {
		c, err := o.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(c); err == nil && (uid == 0 || int(uid) == os.Geteuid()) {
			return c, nil
		}
		_ = c.Close()
	}
}

func peerUID(c net.Conn) (uint32, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}

// ErrNotFound says that there is no such thing behind the socket.
var ErrNotFound = errors.New("not found")

// Fetch asks the product behind the socket for its status.
func Fetch(ctx context.Context, socket string) (Status, error) {
	var s Status
	return s, get(ctx, socket, "/v1/status", &s)
}

// FetchDecision asks the product behind the socket for one of its last decisions; ErrNotFound where it remembers none of that id.
func FetchDecision(ctx context.Context, socket, id string) (*Decision, error) {
	var d Decision
	return &d, get(ctx, socket, "/v1/decisions/"+url.PathEscape(id), &d)
}

func get(ctx context.Context, socket, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(resp.Body).Decode(into)
	case http.StatusNotFound:
		return fmt.Errorf("the admin API answered %s (%w)", resp.Status, ErrNotFound)
	}
	return fmt.Errorf("the admin API answered %s", resp.Status)
}
