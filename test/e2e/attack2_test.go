//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// fields2 is send2 with any fields at all, data, and trailers.
func fields2(ctx context.Context, addr string, fields [][2]string, data string, trailers [][2]string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if end, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(end); err != nil {
			return 0, err
		}
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	write := func(fields [][2]string) error {
		block.Reset()
		for _, h := range fields {
			if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
				return err
			}
		}
		return nil
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return 0, err
	}
	last := data == "" && len(trailers) == 0
	if err := errors.Join(write(fields), f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: last,
	})); err != nil {
		return 0, err
	}
	if !last {
		if err := f.WriteData(1, len(trailers) == 0, []byte(data)); err != nil {
			return 0, err
		}
	}
	if len(trailers) > 0 {
		if err := errors.Join(write(trailers), f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})); err != nil {
			return 0, err
		}
	}
	return readStatus(f)
}

// TestAttacksOverHTTP2: what HTTP/2 can say and HTTP/1.1 cannot.
func TestAttacksOverHTTP2(t *testing.T) {
	t.Parallel()
	m := startMesh(t, "attack", "MERGES", "KEEPS")
	pseudo := func(method, host, path string, more ...[2]string) [][2]string {
		return append([][2]string{{":method", method}, {":scheme", "http"}, {":authority", host}, {":path", path}}, more...)
	}
	for _, c := range []struct {
		name     string
		fields   [][2]string
		data     string
		trailers [][2]string
	}{
		{"host beside authority", pseudo("GET", "a.test", "/x", [2]string{"host", "secret.test"}), "", nil},
		{"host before authority", [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/x"}, {"host", "secret.test"}, {":authority", "a.test"}}, "", nil},
		{"host alone", [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/x"}, {"host", "secret.test"}}, "", nil},
		{"two authorities", pseudo("GET", "a.test", "/x", [2]string{":authority", "secret.test"}), "", nil},
		{"two paths", pseudo("GET", "a.test", "/x", [2]string{":path", "/strict"}), "", nil},
		{"two methods", pseudo("POST", "a.test", "/post", [2]string{":method", "GET"}), "", nil},
		{"user info", pseudo("GET", "u@secret.test", "/x"), "", nil},
		{"a space in the authority", pseudo("GET", "a.test secret.test", "/x"), "", nil},
		{"a line in the path", pseudo("GET", "a.test", "/x HTTP/1.1\r\nHost: secret.test\r\nX: y"), "", nil},
		{"a line in the method", pseudo("GET /strict HTTP/1.1\r\nX: ", "a.test", "/x"), "", nil},
		{"a line in a value", pseudo("GET", "a.test", "/x", [2]string{"x-a", "b\r\nx-credence-subject: root"}), "", nil},
		{"a line in a name", pseudo("GET", "a.test", "/x", [2]string{"x-a: b\r\nx-credence-subject", "root"}), "", nil},
		{"upper case", pseudo("GET", "a.test", "/x", [2]string{"X-Credence-Subject", "root"}), "", nil},
		{"a tab in a name", pseudo("GET", "a.test", "/x", [2]string{"x-credence-subject\t", "root"}), "", nil},
		{"connection", pseudo("GET", "a.test", "/x", [2]string{"connection", "x-credence-decision"}), "", nil},
		{"framing", pseudo("POST", "a.test", "/x", [2]string{"transfer-encoding", "chunked"}), forgedRequest, nil},
		{"a length that is less", pseudo("POST", "a.test", "/x", [2]string{"content-length", "0"}), forgedRequest, nil},
		{"a length that is more", pseudo("POST", "a.test", "/x", [2]string{"content-length", "9999"}), forgedRequest, nil},
		{"an upgrade header", pseudo("POST", "a.test", "/keeps/x", [2]string{"upgrade", "websocket"}, [2]string{"connection", "upgrade"}), forgedRequest, nil},
		{"an upgrade header alone", pseudo("POST", "a.test", "/keeps/x", [2]string{"upgrade", "websocket"}), forgedRequest, nil},
		{"extended CONNECT, of POST only", [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/post"}}, forgedRequest, nil},
		{"extended CONNECT, another protocol", [][2]string{{":method", "CONNECT"}, {":protocol", "connect-udp"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/x"}}, forgedRequest, nil},
		{"extended CONNECT, denied", [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/strict/x"}}, forgedRequest, nil},
		{"extended CONNECT with early data", [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/keeps/drip"}}, forgedRequest, nil},
		{"protocol without CONNECT", pseudo("GET", "a.test", "/strict", [2]string{":protocol", "websocket"}), "", nil},
		{"CONNECT", [][2]string{{":method", "CONNECT"}, {":authority", "a.test:80"}}, forgedRequest, nil},
		{"trailers", pseudo("POST", "a.test", "/x"), "body", [][2]string{{"x-credence-subject", "root"}, {"x.credence.subject", "root"}, {"authorization", "Bearer root"}}},
		{"pseudo trailers", pseudo("POST", "a.test", "/x"), "body", [][2]string{{":path", "/strict"}, {"x-credence-subject", "root"}}},
		{"names", pseudo("GET", "a.test", "/x", [2]string{"x-credence-subject", "root"}, [2]string{"x_credence_subject", "root"}, [2]string{"x.credence.subject", "root"}), "", nil},
		{"health with data", pseudo("POST", "a.test", "/healthz"), forgedRequest, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.upstreams.take()
			before := len(m.Log())
			status, err := fields2(t.Context(), m.addr("EDGE"), c.fields, c.data, c.trailers)
			if err != nil && !isTimeout(err) {
				t.Fatal(err)
			}
			all := m.upstreams.take()
			if status >= 500 {
				t.Errorf("%d", status)
			}
			judged := judgedPaths(t, m.Log()[before:])
			for _, s := range all {
				text := fmt.Sprint(s)
				if strings.Contains(text, "root") || strings.Contains(text, "secret") || strings.Contains(s.target, "strict") || s.target == "/post" {
					t.Errorf("the upstream got %s", text)
				}
			}
			if len(all) > 0 && len(judged) == 0 {
				t.Errorf("the upstream got %v without a Check", all)
			}
		})
	}
}
