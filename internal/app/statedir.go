package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/internal/durable"
)

// stateFormat is the layout of the state directory.
const stateFormat = 1

// stateDir is the one directory that outlives the process: CA, last-good objects, records of proxies. One process holds it at a time.
type stateDir struct {
	path string
	lock *os.File
}

// DefaultStateDir is /var/lib/credence for root, else credence under $XDG_STATE_HOME or ~/.local/state.
func DefaultStateDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/credence", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "credence"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no home directory to keep the state in: name one with --state-dir: %w", err)
	}
	return filepath.Join(home, ".local", "state", "credence"), nil
}

// openStateDir makes or opens the directory and locks it. It changes nothing in a directory that it does not understand.
func openStateDir(path string) (*stateDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	if err := checkOwner(path, 0o022); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another credence uses the state directory %s: end it, or choose another one with --state-dir", path)
		}
		return nil, fmt.Errorf("locking the state directory %s: %w", path, err)
	}
	s := &stateDir{path: path, lock: lock}
	if err := s.checkFormat(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	s.tidy()
	return s, nil
}

// tidy removes what a kill in mid-write has left behind: it may hold keys that have been replaced since. What can't be removed harms nothing.
func (s *stateDir) tidy() {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return
	}
	for _, e := range entries {
		for _, name := range []string{"format", storeFile + ".keys", txntoken.KeysFile, EndpointsFile, "proxies.json"} {
			if isLeftover(e, name) {
				_ = os.Remove(s.file(e.Name()))
			}
		}
	}
}

// isLeftover tells whether e is a temporary file that package durable makes for name.
func isLeftover(e fs.DirEntry, name string) bool {
	digits, ok := strings.CutPrefix(e.Name(), "."+name+"-")
	return ok && e.Type().IsRegular() && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func (s *stateDir) checkFormat() error {
	file := s.file("format")
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(s.path)
		if err != nil {
			return fmt.Errorf("reading the state directory: %w", err)
		}
		for _, e := range entries {
			if e.Name() != "lock" && !isLeftover(e, "format") {
				return fmt.Errorf("the state directory %s holds %s but no file named format: it is not credence's, or it is damaged; choose another one with --state-dir, or restore the file from a backup", s.path, e.Name())
			}
		}
		return durable.WriteFile(file, []byte(strconv.Itoa(stateFormat)+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("reading the format of the state directory: %w", err)
	}
	format, err := strconv.Atoi(strings.TrimSpace(string(body)))
	switch {
	case err != nil:
		return fmt.Errorf("%s says %.20q, which is no format: the state directory is damaged; restore it from a backup, or choose another one with --state-dir", file, body)
	case format != stateFormat:
		return fmt.Errorf("the state directory %s has format %d and this credence knows format %d: use the version that wrote it, or choose another one with --state-dir; nothing was changed", s.path, format, stateFormat)
	}
	return nil
}

// file is a path in the directory.
func (s *stateDir) file(elem ...string) string {
	return filepath.Join(append([]string{s.path}, elem...)...)
}

func (s *stateDir) Close() error { return s.lock.Close() }

// checkOwner refuses a directory that another user owns or that others may write (mode & forbidden).
func checkOwner(path string, forbidden fs.FileMode) error {
	return checkOwnedBy(path, os.Geteuid(), forbidden)
}

func checkOwnedBy(path string, uid int, forbidden fs.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	if int(st.Uid) != uid {
		return fmt.Errorf("%s belongs to the user %d and not to %d, who runs credence: choose another directory", path, st.Uid, uid)
	}
	if info.Mode().Perm()&forbidden != 0 {
		return fmt.Errorf("%s has mode %04o: others may change it; run chmod go-w on it", path, info.Mode().Perm())
	}
	return nil
}
