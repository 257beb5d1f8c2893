package attest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes are what the kernel says of a process. An empty Path or SHA256 matches no selector.
type Attributes struct {
	// UID and GID are the effective ones.
	UID, GID uint32
	// Path of the executable, absolute, as this host's file system names the very file that runs.
	Path string
	// SHA256 of the executable in lower-case hex.
	SHA256 string
	// Note says why Path or SHA256 are empty; empty if neither is.
	Note string
}

// String is for messages: "uid 1000, gid 1000, path /usr/bin/orders, sha256 6f…".
func (a Attributes) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "uid %d, gid %d", a.UID, a.GID)
	if a.Path != "" {
		fmt.Fprintf(&b, ", path %s", a.Path)
	}
	if a.SHA256 != "" {
		fmt.Fprintf(&b, ", sha256 %s", a.SHA256)
	}
	if a.Note != "" {
		fmt.Fprintf(&b, " (%s)", a.Note)
	}
	return b.String()
}

// Attest reads the attributes now. It fails with ErrGone when the process or its connection has ended, and with ErrChanged when the process has
// taken other ids since it connected, or executes another program while it is looked at. The first hash of an executable takes time in
// proportion to its size; later ones are cached by inode, size and times.
func (p *Process) Attest(ctx context.Context) (Attributes, error) {
	if err := ctx.Err(); err != nil {
		return Attributes{}, err
	}
	if err := p.same(); err != nil {
		return Attributes{}, err
	}
	a := Attributes{UID: p.uid, GID: p.gid}
	exe, err := p.open("exe")
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		a.Note = "its executable may not be read by this user"
	case err != nil:
		return Attributes{}, fmt.Errorf("%w: %w", ErrGone, err)
	default:
		err = p.readExe(ctx, exe, &a)
		if err = errors.Join(err, exe.Close()); err != nil {
			return Attributes{}, err
		}
	}
	// Everything was read from one living process with the ids of the connection.
	if err := p.same(); err != nil {
		return Attributes{}, err
	}
	return a, ctx.Err()
}

func (p *Process) readExe(ctx context.Context, exe *os.File, a *Attributes) error {
	before, err := identityOf(exe)
	if err != nil {
		return err
	}
	a.Path, a.Note = p.path(before)
	sum, note, err := p.hashes.sum(ctx, exe, before, p.uid)
	if err != nil {
		return err
	}
	a.SHA256 = sum
	if a.Note == "" {
		a.Note = note
	}
	again, err := p.open("exe")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	after, err := identityOf(again)
	if err = errors.Join(err, again.Close()); err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("%w: it executes another program now", ErrChanged)
	}
	return nil
}

// path returns the name of the executable if that name leads to the same file here. A process in a mount namespace of its own may run any file
// under any name, and a replaced file keeps its name: neither may pass for what stands there now.
func (p *Process) path(exe fileID) (path, note string) {
	path, err := p.readlink("exe")
	if err != nil {
		return "", "its path can't be read"
	}
	f, err := os.Stat(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return "", fmt.Sprintf("its path %q is not a file of this host: replaced, deleted, or in another mount namespace", path)
	}
	here, ok := identityOfInfo(f)
	if !ok || here.dev != exe.dev || here.ino != exe.ino {
		return "", fmt.Sprintf("%q is another file on this host", path)
	}
	return path, ""
}

func (p *Process) readlink(name string) (string, error) {
	raw, err := p.dir.SyscallConn()
	if err != nil {
		return "", err
	}
	buf := make([]byte, unix.PathMax)
	n, linkErr := 0, error(nil)
	err = raw.Control(func(dir uintptr) { n, linkErr = unix.Readlinkat(int(dir), name, buf) })
	if err = errors.Join(err, linkErr); err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// same reports that the process lives, is the one that connected, and has the ids that it had.
func (p *Process) same() error {
	start, err := p.readStart()
	if err != nil {
		return err
	}
	if start != p.start {
		return fmt.Errorf("%w: the number %d was used again", ErrGone, p.pid)
	}
	status, err := p.read("status")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	uid, gid, err := effectiveIDs(status)
	if err != nil {
		return err
	}
	if uid != p.uid || gid != p.gid {
		return fmt.Errorf("%w: it has connected as uid %d, gid %d and is uid %d, gid %d now", ErrChanged, p.uid, p.gid, uid, gid)
	}
	if !p.Alive() {
		return ErrGone
	}
	return nil
}
