package tour

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// request is one HTTP request of the tour.
type request struct {
	// listener is "https" or "plain" of the gateway; or addr, "ip:port" or a unix socket, where it is set.
	listener, addr string
	host, path     string
	// token becomes "Authorization: Bearer <token>", internal "Txn-Token: <internal>"; header are further headers, sent as they are.
	token, internal string
	header          http.Header
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes a new connection for each request: a kept one would prove nothing after a change.
func (m *Mesh) send(ctx context.Context, r request) (reply, error) {
	scheme, addr := "http", r.addr
	if addr == "" {
		addr = m.Endpoints.Gateways["default/edge"].Listeners[r.listener]
	}
	if r.listener == "https" {
		scheme = "https"
	}
	network := "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		},
		// The gateway's certificate is self-signed in a development mesh, and the tour tests what is behind it.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: r.host}, //nolint:gosec // see above
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.host+r.path, nil)
	if err != nil {
		return reply{}, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.internal != "" {
		req.Header.Set("Txn-Token", r.internal)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return reply{resp.StatusCode, resp.Header, body}, errors.Join(err, resp.Body.Close())
}

func (m *Mesh) shop(ctx context.Context, path, token string) (reply, error) {
	return m.send(ctx, request{listener: "https", host: "shop.localhost", path: path, token: token})
}

var (
	challengeError = regexp.MustCompile(`error="([a-z_]+)"`)
	challengeScope = regexp.MustCompile(`scope="([^"]*)"`)
)

// String is what the table shows: the status, and the challenge of RFC 6750 or the reason in the body.
func (r reply) String() string {
	parts := []string{fmt.Sprint(r.status)}
	challenge := r.header.Get("Www-Authenticate")
	if e := challengeError.FindStringSubmatch(challenge); e != nil {
		parts = append(parts, e[1])
	} else if strings.HasPrefix(challenge, "Bearer") {
		parts = append(parts, "Bearer")
	} else if reason := r.reason(); reason != "" {
		parts = append(parts, reason)
	}
	if s := challengeScope.FindStringSubmatch(challenge); s != nil {
		parts = append(parts, s[1])
	} else if scope := r.refusal().Scope; scope != "" {
		parts = append(parts, scope)
	}
	return strings.Join(parts, " ")
}

func (r reply) reason() string { return r.refusal().Reason }

// refusal is what programs read in the body of one.
type refusal struct {
	Reason    string          `json:"reason"`
	Scope     string          `json:"scope"`
	DecidedBy string          `json:"decided_by"`
	Next      json.RawMessage `json:"next"`
}

// refusal is the innermost one, also where a service has wrapped it in its own answer.
func (r reply) refusal() (body refusal) {
	if json.Unmarshal(r.body, &body) == nil && body.Next != nil {
		return reply{body: body.Next}.refusal()
	}
	return body
}
