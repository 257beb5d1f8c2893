package envoy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// prepare makes the proxy's directories and its bootstrap file. The user of a proxy is a workload: whoever writes, renames or
// changes owners with our rights in a directory of that user can be led to any file by a link. So all that we write is in Dir, which is ours.
func prepare(p Proxy) (string, error) {
	body, err := Bootstrap(p.Node)
	if err != nil {
		return "", err
	}
	mode := fs.FileMode(0o700)
	if p.User != nil {
		mode = 0o711
	}
	if err := os.MkdirAll(p.Dir, mode); err != nil {
		return "", fmt.Errorf("directory of %s: %w", p.Node.ID, err)
	}
	if err := oursAlone(p.Dir); err != nil {
		return "", fmt.Errorf("directory of %s: %w", p.Node.ID, err)
	}
	if err := ownDirectory(p); err != nil {
		return "", fmt.Errorf("directory of %s: %w", p.Node.ID, err)
	}
	config := filepath.Join(p.Dir, "bootstrap.json")
	if err := writeNew(config, body, p.User); err != nil {
		return "", fmt.Errorf("bootstrap of %s: %w", p.Node.ID, err)
	}
	return config, nil
}

// oursAlone refuses a directory that somebody else can change.
func oursAlone(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s must be a directory that only its owner, the user %d who runs credence, may write", dir, os.Geteuid())
	}
	return nil
}

// ownDirectory makes the one directory that the proxy may write, for its admin socket.
func ownDirectory(p Proxy) error {
	own := filepath.Dir(p.Node.AdminSocket)
	if p.User == nil && own == filepath.Clean(p.Dir) {
		return nil
	}
	if filepath.Dir(own) != filepath.Clean(p.Dir) {
		return fmt.Errorf("the admin socket %s is not in a directory of its own in %s", p.Node.AdminSocket, p.Dir)
	}
	if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if p.User == nil {
		return nil
	}
	return os.Lchown(own, int(p.User.UID), int(p.User.GID))
}

// writeNew writes a file for user alone, always a new one: what may stand there is not written to.
func writeNew(path string, body []byte, user *User) (err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if user != nil {
		if err := f.Chown(int(user.UID), int(user.GID)); err != nil {
			return err
		}
	}
	_, err = f.Write(body)
	return err
}
