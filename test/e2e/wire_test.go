//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen is one request as an upstream read it from the wire, before any library has made something else of it.
type seen struct {
	upstream, method, target string
	header                   textproto.MIMEHeader
}

// recorder is a set of upstreams that keep what they get. They answer 200 with "<name> <method> <target>"; a target that begins with
// /hang is answered never.
type recorder struct {
	mu       sync.Mutex
	requests []seen
	conns    map[net.Conn]bool
	wait     sync.WaitGroup
}

func newRecorder(t *testing.T, upstreams map[string]int) *recorder {
	t.Helper()
	r := &recorder{conns: map[net.Conn]bool{}}
	t.Cleanup(r.wait.Wait) // the last one to run
	for name, port := range upstreams {
		var lc net.ListenConfig
		l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		r.wait.Go(func() { r.accept(name, l) })
		t.Cleanup(func() { _ = l.Close() })
	}
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for c := range r.conns {
			_ = c.Close()
		}
		r.conns = nil
	})
	return r
}

func (r *recorder) accept(name string, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.conns == nil {
			_ = c.Close()
		} else {
			r.conns[c] = true
			r.wait.Go(func() { r.serve(name, c) })
		}
		r.mu.Unlock()
	}
}

func (r *recorder) serve(name string, c net.Conn) {
	defer func() { _ = c.Close() }()
	in := textproto.NewReader(bufio.NewReader(c))
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		header, err := in.ReadMIMEHeader()
		if err != nil {
			return
		}
		method, rest, _ := strings.Cut(line, " ")
		target := strings.TrimSuffix(rest, " HTTP/1.1")
		r.mu.Lock()
		r.requests = append(r.requests, seen{name, method, target, header})
		r.mu.Unlock()
		if strings.HasPrefix(target, "/hang") {
			_, _ = io.Copy(io.Discard, c) // until the proxy gives up
			return
		}
		if code, ok := strings.CutPrefix(target, "/drip"); ok {
			if err := drip(c, in.R, code); err != nil {
				return
			}
			continue
		}
		body := name + " " + method + " " + target
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-from: upstream\r\nx-gone: upstream\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

// drip answers without a length, until something more has come; after "/103" and the like it says that first.
func drip(c net.Conn, in *bufio.Reader, code string) error {
	if code != "" {
		if _, err := io.WriteString(c, "HTTP/1.1 "+strings.TrimPrefix(code, "/")+" Wait\r\n\r\n"); err != nil {
			return err
		}
		// What this lets through comes now, or not at all.
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := in.Peek(1); err != nil && !isTimeout(err) {
			return err
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndrip\r\n"); err != nil {
		return err
	}
	if _, err := in.Peek(1); err != nil {
		return err
	}
	_, err := io.WriteString(c, "0\r\n\r\n")
	return err
}

// take returns what has arrived since the last call.
func (r *recorder) take() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.requests
	r.requests = nil
	return out
}

// reply is an answer as it stands on the wire.
type reply struct {
	status int
	header http.Header
	body   string
}

// send writes these bytes on a connection of its own and reads one answer: no client library cleans a target. TLS is spoken where
// sni is not "-".
func send(ctx context.Context, addr, sni, head string) (reply, error) {
	return sendFrom(ctx, "", addr, sni, head)
}

// sendFrom is send from this loopback address.
func sendFrom(ctx context.Context, from, addr, sni, head string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = c.Close() }()
	if end, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(end); err != nil {
			return reply{}, err
		}
	}
	if sni != "-" {
		secure := tls.Client(c, &tls.Config{ServerName: sni, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return reply{}, err
		}
		c = secure
	}
	if _, err := io.WriteString(c, head); err != nil {
		return reply{}, err
	}
	method, _, _ := strings.Cut(head, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(body)}, errors.Join(err, res.Body.Close())
}
