//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// send2 is send for HTTP/2 with prior knowledge: these pseudo headers, as they are. Status 0: the stream or the connection was ended
// without an answer.
func send2(ctx context.Context, addr, method, host, path string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
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
	for _, h := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", host}, {":path", path}} {
		if err := enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return 0, err
		}
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return 0, err
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := errors.Join(f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
	})); err != nil {
		return 0, err
	}
	return readStatus(f)
}

func readStatus(f *http2.Framer) (int, error) {
	status := 0
	for {
		frame, err := f.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return status, nil
		}
		if err != nil {
			return 0, err
		}
		switch x := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status, err = strconv.Atoi(x.PseudoValue("status")); err != nil {
				return 0, err
			}
			if x.StreamEnded() {
				return status, nil
			}
		case *http2.DataFrame:
			if x.StreamEnded() {
				return status, nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status, nil
		}
	}
}

// overHTTP2 sends a row of the table of paths over HTTP/2 and holds the same.
func (m *apiMesh) overHTTP2(t *testing.T, listener string, row corpusRow, host string) {
	t.Helper()
	before := len(m.Log())
	m.upstreams.take()
	status, err := send2(t.Context(), m.addr(listener), "GET", host, row.sent)
	if err != nil {
		t.Fatal(err)
	}
	if status == 0 {
		if got := m.upstreams.take(); len(got) > 0 || row.status != 400 {
			t.Errorf("HTTP/2: no answer, want %d; the upstream got %v", row.status, got)
		}
		return
	}
	s := m.same(t, status, before, 2)
	switch {
	case row.status != status && (row.status != 400 || s == nil):
		t.Errorf("HTTP/2: status %d, want %d", status, row.status)
	case s != nil && row.status == 200 && s.target != row.got:
		t.Errorf("HTTP/2: the upstream got %q, want %q", s.target, row.got)
	}
}
