//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// extended is an HTTP/2 connection with one stream opened by an extended CONNECT (RFC 8441).
type extended struct {
	net.Conn
	*http2.Framer
}

// openExtended asks for a WebSocket at path. The server must have said that it takes extended CONNECT.
func openExtended(ctx context.Context, addr, path, token string) (*extended, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	x := &extended{c, http2.NewFramer(c, c)}
	x.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := x.open(addr, path, token); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return x, nil
}

func (x *extended) open(addr, path, token string) error {
	if err := x.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(x.Conn, http2.ClientPreface); err != nil {
		return err
	}
	if err := x.WriteSettings(); err != nil {
		return err
	}
	frame, err := x.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		return fmt.Errorf("frame %T instead of settings", frame)
	}
	if v, ok := settings.Value(http2.SettingEnableConnectProtocol); !ok || v != 1 {
		return errors.New("the server takes no extended CONNECT")
	}
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"},
		{Name: ":protocol", Value: "websocket"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: addr},
		{Name: "sec-websocket-version", Value: "13"},
		{Name: "origin", Value: "https://app.test"},
	}
	if token != "" {
		fields = append(fields, hpack.HeaderField{Name: "authorization", Value: "Bearer " + token})
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		if err := enc.WriteField(f); err != nil {
			return err
		}
	}
	return x.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
}

// status waits for the answer's head.
func (x *extended) status() (int, error) {
	for {
		frame, err := x.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return strconv.Atoi(f.PseudoValue("status"))
		case *http2.RSTStreamFrame:
			return 0, fmt.Errorf("stream reset: %v", f.ErrCode)
		case *http2.GoAwayFrame:
			return 0, fmt.Errorf("gone away: %v", f.ErrCode)
		}
	}
}

// connect2 is the status of an extended CONNECT.
func connect2(ctx context.Context, addr, path, token string) (int, error) {
	x, err := openExtended(ctx, addr, path, token)
	if err != nil {
		return 0, err
	}
	status, err := x.status()
	return status, errors.Join(err, x.Close())
}

// webSocket2 says hello over a WebSocket on HTTP/2 and returns the echo.
func webSocket2(ctx context.Context, addr, path, token string) (string, error) {
	x, err := openExtended(ctx, addr, path, token)
	if err != nil {
		return "", err
	}
	defer func() { _ = x.Close() }()
	if status, err := x.status(); err != nil || status != 200 {
		return "", fmt.Errorf("status %d: %w", status, err)
	}
	// A final text frame, masked with zeros (RFC 6455 §5.2).
	if err := x.WriteData(1, false, append([]byte{0x81, 0x80 | 5, 0, 0, 0, 0}, "hello"...)); err != nil {
		return "", err
	}
	var got []byte
	for len(got) < 7 {
		frame, err := x.ReadFrame()
		if err != nil {
			return "", err
		}
		if data, ok := frame.(*http2.DataFrame); ok {
			got = append(got, data.Data()...)
		}
	}
	if got[0] != 0x81 || got[1] != 5 {
		return "", fmt.Errorf("frame % x", got)
	}
	return string(got[2:7]), nil
}
