package attest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is one process at the other end of a connection, held by pidfd: it never turns into another one that has got the same
// number. Safe for concurrent use.
type Process struct {
	pid      int
	uid, gid uint32
	start    uint64 // field 22 of /proc/<pid>/stat
	key      key
	hashes   *hashes

	pidfd *os.File // in the runtime's poller: readable once the process has ended
	dir   *os.File // /proc/<pid>
	gone  chan struct{}
	once  sync.Once
}

// PID in the namespace of this process. For messages only.
func (p *Process) PID() int { return p.pid }

// UID is the effective user at the time of connect.
func (p *Process) UID() uint32 { return p.uid }

// GID is the effective group at the time of connect.
func (p *Process) GID() uint32 { return p.gid }

// Done is closed when the process has ended. It stays open if the connection is closed before.
func (p *Process) Done() <-chan struct{} { return p.gone }

// Alive reports whether the process still runs; false as well once its connection is closed.
func (p *Process) Alive() bool {
	alive := false
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) { alive = pidfdAlive(int(fd)) })
	return err == nil && alive
}

func newProcess(c *net.UnixConn, h *hashes) (*Process, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var (
		cred   *unix.Ucred
		pidfd  int
		opened error
	)
	if err := raw.Control(func(fd uintptr) { cred, pidfd, opened = peerOf(int(fd)) }); err != nil {
		return nil, err
	}
	if opened != nil {
		return nil, opened
	}
	return hold(cred, pidfd, h)
}

// peerOf returns the peer of a socket; the caller owns pidfd.
func peerOf(fd int) (cred *unix.Ucred, pidfd int, err error) {
	cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, -1, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	// 0: a process of a foreign PID namespace. Nothing can be known of it.
	if cred.Pid <= 0 {
		return nil, -1, fmt.Errorf("the peer is in another PID namespace (uid %d)", cred.Uid)
	}
	pidfd, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err == nil {
		return cred, pidfd, nil
	}
	if !errors.Is(err, unix.ENOPROTOOPT) { // ENODATA, ESRCH: the process has ended
		return nil, -1, fmt.Errorf("%w: SO_PEERPIDFD: %w", ErrGone, err)
	}
	pidfd, err = openPidfd(int(cred.Pid))
	return cred, pidfd, err
}

// openPidfd is for kernels before 6.5 and for own children. The number may have been used again just before; the start time then tells.
func openPidfd(pid int) (int, error) {
	before, err := startTimeOf(pid)
	if err != nil {
		return -1, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("%w: pidfd_open: %w", ErrGone, err)
	}
	after, err := startTimeOf(pid)
	if err == nil && before != after {
		err = fmt.Errorf("%w: the number %d was used again", ErrGone, pid)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// hold takes pidfd over.
func hold(cred *unix.Ucred, pidfd int, h *hashes) (_ *Process, err error) {
	unix.CloseOnExec(pidfd)
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, errors.Join(err, unix.Close(pidfd))
	}
	p := &Process{pid: int(cred.Pid), uid: cred.Uid, gid: cred.Gid, hashes: h, gone: make(chan struct{})}
	inode := pidfsInode(pidfd)
	p.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	p.dir, err = os.OpenFile("/proc/"+strconv.Itoa(p.pid), unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	// Alive after the directory was opened: so the number was not free in between, and the directory is this process's.
	if !p.Alive() {
		return nil, ErrGone
	}
	p.start, err = p.readStart()
	if err != nil {
		return nil, err
	}
	p.key = keyOf(inode, p.pid, p.start)
	return p, nil
}

// wait blocks until the process has ended (true) or close was called (false).
func (p *Process) wait() bool {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool { return !pidfdAlive(int(fd)) })
	if err != nil {
		return false
	}
	close(p.gone)
	return true
}

func (p *Process) close() {
	p.once.Do(func() {
		_ = p.pidfd.Close()
		if p.dir != nil {
			_ = p.dir.Close()
		}
	})
}

func pidfdAlive(fd int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		return err == nil && n == 0
	}
}
