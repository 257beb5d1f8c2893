package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	logLimit = 16 << 20
	// logPoll is how often sizes are looked at: a log exceeds its limit by what a proxy writes in that time.
	logPoll = time.Second
)

// A proxy writes to its log file itself. A pipe through this process would bound it exactly, but a proxy would then wait for us to read,
// and lose its log with our death. Envoy opens /dev/stdout anew, for appending, so the file can be cut to nothing under its hands.

// openLog begins the log file of p anew the first time, and continues it when p is restarted.
func (s *Supervisor) openLog(p Proxy) (*os.File, error) {
	s.mu.Lock()
	first := !s.begun[p.LogFile]
	s.begun[p.LogFile] = true
	s.mu.Unlock()
	if first {
		if err := os.Rename(p.LogFile, previous(p.LogFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	f, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil || p.User == nil {
		return f, err
	}
	// Opening /dev/stdout anew asks for the rights of the file, not of the descriptor.
	if err := f.Chown(int(p.User.UID), int(p.User.GID)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func previous(log string) string { return log + ".1" }

// boundLogs cuts log files that have grown too long, until ctx ends.
func (s *Supervisor) boundLogs(ctx context.Context) {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	failed := map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, file := range s.logFiles() {
			why := ""
			if err := boundLog(file, s.opts.LogLimit); err != nil {
				why = err.Error()
			}
			if why != "" && failed[file] != why {
				s.opts.Log.Error("the log of a proxy can't be kept short", "error", why)
			}
			failed[file] = why
		}
	}
}

func (s *Supervisor) logFiles() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := make([]string, 0, len(s.wanted))
	for _, p := range s.wanted {
		files = append(files, p.LogFile)
	}
	slices.Sort(files)
	return files
}

// boundLog moves the last limit bytes of a file that has more to the file beside it, and empties it. Lines that are written between
// the two steps are lost.
func boundLog(file string, limit int64) (err error) {
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Size() <= limit {
		return err
	}
	from, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if _, err := from.Seek(info.Size()-limit, io.SeekStart); err != nil {
		return err
	}
	to, err := os.OpenFile(previous(file), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.LimitReader(from, 2*limit))
	if err = errors.Join(err, to.Close()); err != nil {
		// Even then it must not fill the disk.
		return errors.Join(fmt.Errorf("keeping the end of %s: %w", file, err), from.Truncate(0))
	}
	return from.Truncate(0)
}
