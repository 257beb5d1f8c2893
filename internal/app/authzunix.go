package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/policy"
)

// UnixOptions of a unix socket.
type UnixOptions struct {
	// Path of the socket; its directory must be one that no other user may write, or sticky. In a sticky one another user can put a socket
	// of their own there while we are away, and proxies would believe it.
	Path string
	// Mode of the socket; 0: 0600, or 0666 where UIDs names others, because then their uid is the guard.
	Mode os.FileMode
	// UIDs may call, besides our own user and root.
	UIDs []uint32
}

// maxSocketPath is the longest path of a unix socket in bytes (unix(7)).
const maxSocketPath = 107

// listen makes the socket. It takes the place of a socket on which nobody listens, and of nothing else.
func (o UnixOptions) listen(ctx context.Context) (net.Listener, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the socket %s has %d bytes and at most %d are possible: choose a shorter --socket", path, len(path), maxSocketPath)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("the socket %s: %w", path, err)
	}
	if st, ok := dir.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("the directory of the socket %s belongs to another user, who could put another socket in its place: choose another one", path)
	}
	if dir.Mode().Perm()&0o022 != 0 && dir.Mode()&os.ModeSticky == 0 {
		return nil, fmt.Errorf("others may write the directory of the socket %s, and put another socket in its place: run chmod go-w on it, or choose another one", path)
	}
	switch old, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("the socket %s: %w", path, err)
	case old.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket: choose another path", path)
	default:
		// One that is too busy to answer, or lets nobody in, is no dead one.
		if err := reach(path); !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, errors.Join(fmt.Errorf("another process listens on the socket %s: end it, or choose another path", path), err)
		}
	}
	mode := o.Mode
	if mode == 0 {
		mode = 0o600
		if slices.ContainsFunc(o.UIDs, func(uid uint32) bool { return uid != 0 && int(uid) != os.Geteuid() }) {
			mode = 0o666
		}
	}
	return listenUnix(ctx, path, mode, nil)
}

// exposed: others may make files beside the socket (a sticky directory, such as /tmp).
func (o UnixOptions) exposed() bool {
	dir, err := os.Stat(filepath.Dir(o.Path))
	return err != nil || dir.Mode().Perm()&0o022 != 0
}

// caller is who is on the other end of a connection whose handshake has let it in.
type caller struct {
	credentials.CommonAuthInfo
	name string
	// still is asked before every Check; nil: once let in is enough.
	still func() error
}

// AuthType implements credentials.AuthInfo.
func (caller) AuthType() string { return "credence" }

// permittedCallers implements extauthz.Callers for connections that newUnixCallers or newTLSCallers let in.
type permittedCallers struct{}

// Caller implements extauthz.Callers.
func (permittedCallers) Caller(ctx context.Context) (policy.ProxyID, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", status.Error(codes.PermissionDenied, "the connection has no peer")
	}
	c, ok := p.AuthInfo.(caller)
	if !ok {
		return "", status.Error(codes.PermissionDenied, "the caller is not known")
	}
	if c.still != nil {
		if err := c.still(); err != nil {
			return "", status.Error(codes.PermissionDenied, err.Error())
		}
	}
	return policy.ProxyID(c.name), nil
}

// serverOnly is a credentials.TransportCredentials for servers.
type serverOnly struct {
	protocol  string
	handshake func(net.Conn) (net.Conn, credentials.AuthInfo, error)
}

func (s serverOnly) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

func (s serverOnly) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return s.handshake(c)
}

func (s serverOnly) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: s.protocol}
}
func (s serverOnly) Clone() credentials.TransportCredentials { return s }
func (serverOnly) OverrideServerName(string) error           { return nil }

// newUnixCallers lets in whom the kernel knows as one of uids, as us or as root (SO_PEERCRED): the user that connected, whatever the
// process has become since.
func newUnixCallers(uids []uint32) credentials.TransportCredentials {
	return serverOnly{"unix", func(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
		uid, err := connectedUID(c)
		if err == nil && uid != 0 && int(uid) != os.Geteuid() && !slices.Contains(uids, uid) {
			err = fmt.Errorf("the user %d may not ask: let it with --allow-uid %d", uid, uid)
		}
		if err != nil {
			return nil, nil, errors.Join(err, c.Close())
		}
		return c, caller{
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, name: fmt.Sprintf("uid/%d", uid),
		}, nil
	}}
}

func connectedUID(c net.Conn) (uint32, error) {
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
