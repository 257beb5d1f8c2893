package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/credence-mesh/credence/internal/durable"
)

const recordsFormat = 1

// record is what tells a survivor from another process that got its pid: all of it must agree.
type record struct {
	ID         string `json:"id"`
	PID        int    `json:"pid"`
	StartTime  string `json:"startTime"`
	BootID     string `json:"bootID"`
	Executable string `json:"executable"`
}

// records is the file of running proxies. Safe for concurrent use.
type records struct {
	file string

	mu   sync.Mutex
	list []record
}

type recordsFile struct {
	Format  int      `json:"format"`
	Proxies []record `json:"proxies"`
}

func (r *records) add(id string, pid int, executable string) error {
	start, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("recording the process of %s: %w", id, err)
	}
	boot, err := bootID()
	if err != nil {
		return fmt.Errorf("recording the process of %s: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, record{ID: id, PID: pid, StartTime: start, BootID: boot, Executable: executable})
	return r.save()
}

func (r *records) remove(pid int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.list[:0]
	for _, rec := range r.list {
		if rec.PID != pid {
			kept = append(kept, rec)
		}
	}
	r.list = kept
	return r.save()
}

// save replaces the file as a whole, durably: a half-written one would hide survivors.
func (r *records) save() error {
	body, err := json.MarshalIndent(recordsFile{Format: recordsFormat, Proxies: r.list}, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(r.file, body, 0o600); err != nil {
		return fmt.Errorf("recording the proxies: %w", err)
	}
	return nil
}

// endSurvivors ends the proxies of an earlier run that still live and waits for their death: two Envoys on one port would silently
// split its traffic.
func (r *records) endSurvivors(ctx context.Context, log *slog.Logger) error {
	body, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the record of running proxies: %w", err)
	}
	var f recordsFile
	if err := json.Unmarshal(body, &f); err != nil {
		return fmt.Errorf("the record of running proxies %s is damaged (%w): end the envoy processes of this state directory by hand and delete the file", r.file, err)
	}
	if f.Format != recordsFormat {
		return fmt.Errorf("the record of running proxies %s has format %d and this credence knows %d: use the version that wrote it", r.file, f.Format, recordsFormat)
	}
	for _, rec := range f.Proxies {
		ended, err := endSurvivor(ctx, rec)
		if err != nil {
			return err
		}
		if ended {
			log.Warn("a proxy had survived an earlier run and was ended", "proxy", rec.ID, "pid", rec.PID)
		}
	}
	return r.save()
}

func endSurvivor(ctx context.Context, rec record) (bool, error) {
	fd, err := unix.PidfdOpen(rec.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at process %d: %w", rec.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The pidfd is held: from here on the pid can't come to mean another process unseen.
	if !rec.matches() {
		return false, nil
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
			return true, nil
		} else if err != nil {
			return false, fmt.Errorf("ending process %d, the surviving proxy of %s: %w", rec.PID, rec.ID, err)
		}
		if gone(ctx, fd) {
			return true, nil
		}
	}
	return false, fmt.Errorf("process %d, the surviving proxy of %s, does not end: end it by hand", rec.PID, rec.ID)
}

// gone waits up to stopPatience for the process behind fd to end (poll(2): a pidfd is readable then).
func gone(ctx context.Context, fd int) bool {
	deadline := time.Now().Add(stopPatience)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a file descriptor fits
		if n, err := unix.Poll(fds, 100); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// matches tells whether the process with the record's pid is the recorded one.
func (rec record) matches() bool {
	boot, err := bootID()
	if err != nil || boot != rec.BootID {
		return false
	}
	start, err := startTime(rec.PID)
	if err != nil || start != rec.StartTime {
		return false
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", rec.PID))
	if err != nil {
		return false
	}
	if sh, err := filepath.EvalSymlinks("/bin/sh"); err == nil && exe == sh {
		return true // it still waits at the gate
	}
	want, err := filepath.EvalSymlinks(rec.Executable)
	if err != nil {
		want = rec.Executable
	}
	return strings.TrimSuffix(exe, " (deleted)") == want
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(b)), err
}

// startTime is field 22 of /proc/<pid>/stat (proc(5)), counted from the last ")": the name before it may hold anything.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat is short", pid)
	}
	return string(fields[19]), nil
}
