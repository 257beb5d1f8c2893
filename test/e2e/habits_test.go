//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
)

// TestHostAndPort: the application gets the Host that the client wrote, port and case included, at the gateway and between services.
func TestHostAndPort(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	for _, host := range []string{"shop.test", "shop.test:8443", "Shop.Test:80", "127.0.0.1:9", "[::1]:8443"} {
		if _, got := m.do(t, http.MethodGet, "/public/host", map[string]string{"Host": host}, nil); got != host {
			t.Errorf("gateway: Host %q arrives as %q", host, got)
		}
	}
	for _, host := range []string{fmt.Sprintf("app:%d", m.port), "app", "app.default", fmt.Sprintf("app.default:%d", m.port)} {
		transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: m.outbound}), DisableKeepAlives: true}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/host", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || string(got) != host || res.StatusCode != 200 {
			t.Errorf("between services: Host %q arrives as %q with %d, %v", host, got, res.StatusCode, err)
		}
	}
}

// TestRequestTrailers: what a client sends after the body has been judged by nobody, and does not arrive.
func TestRequestTrailers(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	got, err := send(t.Context(), m.front, "-", "POST /public/received HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n"+
		"Trailer: X-Credence-Subject\r\n\r\n4\r\nbody\r\n0\r\nX-Credence-Subject: root\r\nX-Sum: 42\r\n\r\n")
	if err != nil || got.status != http.StatusOK || !strings.HasPrefix(got.body, "body <nil> map[") || strings.Contains(got.body, "42") || strings.Contains(got.body, "root") {
		t.Errorf("HTTP/1.1: %d %q, %v", got.status, got.body, err)
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.front+"/public/received", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength, req.Trailer = -1, http.Header{"X-Credence-Subject": {"root"}, "X-Sum": {"42"}}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || res.ProtoMajor != 2 || !strings.HasPrefix(string(body), "body <nil> map[") ||
		strings.Contains(string(body), "42") || strings.Contains(string(body), "root") {
		t.Errorf("%s: %q, %v", res.Proto, body, err)
	}
}

// TestInformationalAndTrailers: what stands before and after an answer does not break it.
func TestInformationalAndTrailers(t *testing.T) {
	t.Parallel()
	m := streamsMesh(t)
	res, body := m.do(t, http.MethodGet, "/public/hints", nil, nil)
	if res.StatusCode != http.StatusOK || body != "hints" || res.Header.Get("Link") == "" {
		t.Errorf("after 103: %d %q %v", res.StatusCode, body, res.Header)
	}
	res, body = m.do(t, http.MethodGet, "/public/trailers", map[string]string{"TE": "trailers"}, nil)
	if res.StatusCode != http.StatusOK || body != "body" {
		t.Errorf("with trailers: %d %q", res.StatusCode, body)
	}
	if got := res.Trailer.Get("X-Sum"); got != "42" {
		t.Errorf("trailers: %v", textproto.MIMEHeader(res.Trailer))
	}
}
