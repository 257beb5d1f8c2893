//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
)

// rawCall is a call without a library for gRPC between the test and the wire.
type rawCall struct {
	// addr is the gateway's plain listener unless it is set; host is shopHost.
	addr, host     string
	http1          bool
	method, id     string
	token, content string
	header         map[string]string
}

// rawReply holds trailers among the headers where gRPC has them either way.
type rawReply struct {
	status  int
	proto   string
	headers http.Header
	body    []byte
	after   http.Header
}

func (r rawReply) trailer(name string) string {
	if v := r.after.Get(name); v != "" {
		return v
	}
	return r.headers.Get(name)
}

// frame is one message of gRPC (gRPC over HTTP/2, "Length-Prefixed-Message").
func frame(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
}

func (s *shop) raw(t *testing.T, c rawCall) rawReply {
	t.Helper()
	if c.addr == "" {
		c.addr = fmt.Sprintf("127.0.0.1:%d", s.plain)
	}
	if c.host == "" {
		c.host = shopHost
	}
	if c.content == "" {
		c.content = "application/grpc"
	}
	body := frame(t, &shoppb.GetOrderRequest{Id: c.id})
	if strings.HasPrefix(c.content, "application/grpc-web-text") {
		body = []byte(base64.StdEncoding.EncodeToString(body))
	}
	var protocols http.Protocols
	protocols.SetHTTP1(c.http1)
	protocols.SetUnencryptedHTTP2(!c.http1)
	transport := &http.Transport{Protocols: &protocols, DisableKeepAlives: c.http1, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.addr+c.method, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = c.host
	req.Header.Set("content-type", c.content)
	req.Header.Set("te", "trailers")
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	if c.token != "" {
		req.Header.Set("authorization", "Bearer "+c.token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rawReply{status: resp.StatusCode, proto: resp.Proto, headers: resp.Header, body: data, after: resp.Trailer}
}

// TestGRPCWire: what a refusal is on the wire, for gRPC, for both forms of gRPC-Web, and for what is no call of gRPC at all.
func TestGRPCWire(t *testing.T) {
	s, e := startShop(t)
	good, weak := e.Token(audience, "read"), e.Token(audience, "other")
	for _, web := range []string{"application/grpc-web+proto", "application/grpc-web", "application/grpc-web-text"} {
		for _, http1 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, HTTP/1.1 %t", web, http1), func(t *testing.T) {
				call := rawCall{http1: http1, method: "/shop.v1.Orders/GetOrder", id: "7", content: web, token: good, header: map[string]string{"accept": web}}
				r := s.raw(t, call)
				body := r.body
				if strings.HasPrefix(web, "application/grpc-web-text") {
					body = decodeText(t, body)
				}
				if r.status != 200 || !bytes.Contains(body, []byte("alice")) || !bytes.Contains(body, []byte("grpc-status:0")) || !strings.HasPrefix(r.headers.Get("content-type"), "application/grpc-web") {
					t.Errorf("allowed: %d %v %q", r.status, r.headers, body)
				}
				for _, d := range []struct{ token, status, message string }{
					{"", "16", "a token is needed: Authorization: Bearer TOKEN"}, {weak, "7", "the token lacks a scope: read"}, {"bad", "16", "the token is not valid here"},
				} {
					before := s.app.calls.Load()
					call.token = d.token
					r := s.raw(t, call)
					if r.status != 200 || r.headers.Get("grpc-status") != d.status || r.headers.Get("grpc-message") != d.message || r.headers.Get("www-authenticate") == "" ||
						!strings.HasPrefix(r.headers.Get("content-type"), "application/grpc-web") || len(r.body) != 0 {
						t.Errorf("denied: %d %v %q", r.status, r.headers, r.body)
					}
					if n := s.app.calls.Load() - before; n != 0 {
						t.Errorf("%d calls reached the application", n)
					}
				}
			})
		}
	}
	for _, c := range []struct {
		name, content string
		http1         bool
		token         string
		status        int
		grpc          string
	}{
		{"gRPC with a codec", "application/grpc+proto", false, weak, 200, "7"},
		{"gRPC with a parameter", "application/grpc;charset=utf-8", false, weak, 200, "7"},
		{"not gRPC", "application/json", false, weak, 403, ""},
		{"not gRPC, HTTP/1.1", "application/json", true, "", 401, ""},
		{"a type that only begins like it", "application/grpcx", true, weak, 403, ""},
		{"a type that says two things", "application/grpc, application/json", true, weak, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.app.calls.Load()
			r := s.raw(t, rawCall{http1: c.http1, method: "/shop.v1.Orders/GetOrder", id: "7", content: c.content, token: c.token})
			if r.status != c.status || r.trailer("grpc-status") != c.grpc || c.grpc == "" && r.headers.Get("content-type") != "application/problem+json" {
				t.Errorf("%d %v %q", r.status, r.headers, r.body)
			}
			if n := s.app.calls.Load() - before; n != 0 {
				t.Errorf("%d calls reached the application", n)
			}
		})
	}
}

// decodeText reads grpc-web-text: base64, padded after each part.
func decodeText(t *testing.T, body []byte) []byte {
	t.Helper()
	var out []byte
	for part := range bytes.SplitAfterSeq(body, []byte("=")) {
		part = bytes.Trim(part, "=")
		data, err := base64.RawStdEncoding.DecodeString(string(part))
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		out = append(out, data...)
	}
	return out
}
