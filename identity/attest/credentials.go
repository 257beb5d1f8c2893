package attest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

const protocol = "unix-peer"

// Credentials returns gRPC server credentials for unix sockets: every connection is bound to the process that opened it. A connection whose process
// can't be told is refused, as are more than 512 of one user at a time; a connection ends when its process does. There is no encryption, and a client needs no credentials
// (SPIFFE Workload Endpoint §3.1, §5).
func Credentials() credentials.TransportCredentials {
	return &transport{hashes: newHashes()}
}

type transport struct {
	hashes *hashes
	users  users
}

var _ credentials.TransportCredentials = (*transport)(nil)

// info is what gRPC keeps for a connection.
type info struct {
	credentials.CommonAuthInfo

	process *Process
}

func (info) AuthType() string { return protocol }

// FromContext returns the process behind a request that is being served. It is open until its connection ends. The error is ErrNoProcess.
func FromContext(ctx context.Context) (*Process, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, ErrNoProcess
	}
	i, ok := p.AuthInfo.(info)
	if !ok || i.process == nil {
		return nil, ErrNoProcess
	}
	return i.process, nil
}

func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uc, ok := raw.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("attest the peer: a connection of type %T, expected a unix socket", raw)
	}
	p, err := newProcess(uc, t.hashes)
	if err != nil {
		return nil, nil, fmt.Errorf("attest the peer: %w", err)
	}
	if !t.users.enter(p.uid) {
		p.close()
		return nil, nil, fmt.Errorf("attest the peer: %w (uid %d)", errTooMany, p.uid)
	}
	c := &conn{UnixConn: uc, process: p, leave: func() { t.users.leave(p.uid) }}
	c.watch.Go(func() {
		// The socket may outlive the process: handed to another or inherited.
		if p.wait() {
			_ = uc.Close()
		}
	})
	return c, info{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, process: p}, nil
}

func (t *transport) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("attest: these credentials are for servers")
}

func (t *transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: protocol}
}

func (t *transport) Clone() credentials.TransportCredentials { return t }

func (t *transport) OverrideServerName(string) error { return nil }

// conn owns its Process: closed with it, and Close returns after the watch has ended.
type conn struct {
	*net.UnixConn

	process *Process
	leave   func()
	watch   sync.WaitGroup
	once    sync.Once
	err     error
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.err = c.UnixConn.Close()
		if errors.Is(c.err, net.ErrClosed) { // by the watch
			c.err = nil
		}
		c.process.close()
		c.watch.Wait()
		c.leave()
	})
	return c.err
}
