package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/policy"
)

// runDir holds the sockets of one running product:
//
//	workload/api.sock        Workload API and SDS: 0755/0666, attestation is the guard
//	proxies/<hash>/          one proxy: agent.sock (ADS, ext_authz) and bootstrap, 0600, its user's; the directory is ours, 0711
//	proxies/<hash>/own/      its admin.sock; 0700, its user's
//	workloads/<hash>/        boundary user: outbound.sock and <port>.sock; 0700, the workload's user's
//	admin/admin.sock         admin API: 0700, ours
type runDir struct{ path string }

// defaultRunDir is below /run/credence for root, else below $XDG_RUNTIME_DIR, /run/user/<uid>, or a private directory in the temporary
// one; its last element stands for the state directory, so that two meshes do not meet.
func defaultRunDir(state string) (string, error) {
	sum := sha256.Sum256([]byte(state))
	name := hex.EncodeToString(sum[:4])
	if os.Geteuid() == 0 {
		return filepath.Join("/run/credence", name), nil
	}
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", os.Geteuid())} {
		if filepath.IsAbs(base) && checkOwner(base, 0o077) == nil {
			return filepath.Join(base, "credence", name), nil
		}
	}
	base := filepath.Join(os.TempDir(), fmt.Sprintf("credence-%d", os.Geteuid()))
	if err := os.Mkdir(base, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("making a directory for sockets: %w", err)
	}
	if err := checkOwner(base, 0o077); err != nil {
		return "", fmt.Errorf("directory for sockets: %w", err)
	}
	return filepath.Join(base, name), nil
}

// openRunDir empties and makes the directory. The caller holds the lock of the state directory, so nobody else uses it.
func openRunDir(path string) (*runDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // other users pass through it
		return nil, fmt.Errorf("making the directory for sockets: %w", err)
	}
	if err := checkOwner(path, 0o022); err != nil {
		return nil, fmt.Errorf("directory for sockets: %w", err)
	}
	r := &runDir{path: path}
	for _, sub := range []struct {
		name string
		mode os.FileMode
	}{{"workload", 0o755}, {"proxies", 0o711}, {workloadsDir, 0o711}, {"admin", 0o700}} {
		dir := filepath.Join(path, sub.name)
		// What lies in workloads/ belongs to applications that may have outlived an earlier run: their sockets stay.
		if sub.name != workloadsDir {
			if err := os.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("clearing the directory for sockets: %w", err)
			}
		}
		if err := os.Mkdir(dir, sub.mode); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("making the directory for sockets: %w", err)
		}
		if err := os.Chmod(dir, sub.mode); err != nil { // umask
			return nil, fmt.Errorf("making the directory for sockets: %w", err)
		}
	}
	return r, envoy.CheckSocketPath(r.proxyAdminSocket("gateway/x/y"))
}

const workloadsDir = "workloads"

// remove leaves nothing behind but the sockets on which applications still listen.
func (r *runDir) remove() error {
	var errs []error
	for _, sub := range []string{"workload", "proxies", "admin"} {
		errs = append(errs, os.RemoveAll(filepath.Join(r.path, sub)))
	}
	workloads := filepath.Join(r.path, workloadsDir)
	entries, err := os.ReadDir(workloads)
	errs = append(errs, err)
	for _, e := range entries {
		dir := filepath.Join(workloads, e.Name())
		_ = os.Remove(filepath.Join(dir, xds.OutboundSocket))
		_ = os.Remove(dir) // only when empty
	}
	_ = os.Remove(workloads)
	_ = os.Remove(r.path) // only when empty
	return errors.Join(errs...)
}

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

func (r *runDir) workloadSocket() string { return filepath.Join(r.path, "workload", "api.sock") }
func (r *runDir) adminSocket() string    { return filepath.Join(r.path, "admin", "admin.sock") }
func (r *runDir) proxyDir(id policy.ProxyID) string {
	return filepath.Join(r.path, "proxies", short(string(id)))
}

func (r *runDir) proxyAdminSocket(id policy.ProxyID) string {
	return filepath.Join(r.proxyDir(id), "own", "admin.sock")
}

func (r *runDir) workloadDir(n policy.Name) string {
	return filepath.Join(r.path, workloadsDir, short(n.String()))
}

// ownDir makes a 0700 directory, in one that is ours, and gives it to user. One that was another user's is made anew: what lies in it
// is that user's, and so may be its mode.
func ownDir(dir string, user *envoy.User) error {
	uid, gid := os.Geteuid(), os.Getegid()
	if user != nil {
		uid, gid = int(user.UID), int(user.GID)
	}
	if checkOwnedBy(dir, uid, 0o077) != nil {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clearing %s: %w", dir, err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	if user == nil {
		return nil
	}
	if err := os.Lchown(dir, uid, gid); err != nil {
		return fmt.Errorf("giving %s to the user %d: %w", dir, uid, err)
	}
	return nil
}

// listenUnix listens on path with the given mode, and gives the socket to user. The directory must be one that only we may write.
func listenUnix(ctx context.Context, path string, mode os.FileMode, user *envoy.User) (net.Listener, error) {
	if err := envoy.CheckSocketPath(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("clearing %s: %w", path, err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("listening on %s: %w", path, err), l.Close())
	}
	if user != nil {
		if err := os.Lchown(path, int(user.UID), int(user.GID)); err != nil {
			return nil, errors.Join(fmt.Errorf("giving %s to the user %d: %w", path, user.UID, err), l.Close())
		}
	}
	return l, nil
}

// joined is one net.Listener over a changing set of listeners: a gRPC server accepts from all of them, so that a proxy that appears
// later gets a socket of its own.
type joined struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu   sync.Mutex
	wg   sync.WaitGroup
	open map[string]net.Listener
}

func newJoined() *joined {
	return &joined{accepted: make(chan net.Conn), closed: make(chan struct{}), open: map[string]net.Listener{}}
}

// add starts to accept from l under the name.
func (j *joined) add(name string, l net.Listener) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open[name] = l
	j.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed by drop or Close
			}
			select {
			case j.accepted <- c:
			case <-j.closed:
				_ = c.Close()
				return
			}
		}
	})
}

func (j *joined) has(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open[name] != nil
}

// keep closes every listener whose name is not wanted.
func (j *joined) keep(wanted map[string]bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, l := range j.open {
		if !wanted[name] {
			_ = l.Close()
			delete(j.open, name)
		}
	}
}

func (j *joined) Accept() (net.Conn, error) {
	select {
	case c := <-j.accepted:
		return c, nil
	case <-j.closed:
		return nil, net.ErrClosed
	}
}

func (j *joined) Close() error {
	j.once.Do(func() { close(j.closed) })
	j.keep(nil)
	j.wg.Wait()
	return nil
}

func (j *joined) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "proxies"} }
