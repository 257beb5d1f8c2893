package attest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxProcFile = 64 << 10
	startField  = 22 - 3 // counted after the command's closing parenthesis: the next field is the third
	uidFields   = 5      // "Uid:" real, effective, saved, file system
)

// open opens a file of the held directory.
func (p *Process) open(name string) (*os.File, error) {
	raw, err := p.dir.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, openErr := -1, error(nil)
	err = raw.Control(func(dir uintptr) {
		fd, openErr = unix.Openat(int(dir), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err = errors.Join(err, openErr); err != nil {
		return nil, fmt.Errorf("open /proc/%d/%s: %w", p.pid, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (p *Process) read(name string) ([]byte, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProcFile))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read /proc/%d/%s: %w", p.pid, name, err)
	}
	return data, nil
}

func (p *Process) readStart() (uint64, error) {
	stat, err := p.read("stat")
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return parseStart(stat)
}

func startTimeOf(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return parseStart(stat)
}

// parseStart reads field 22 of stat. The command may hold parentheses and spaces: the last parenthesis ends it.
func parseStart(stat []byte) (uint64, error) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, errors.New("read stat: no command")
	}
	fields := bytes.Fields(stat[i+1:])
	if len(fields) <= startField {
		return 0, fmt.Errorf("read stat: %d fields", len(fields))
	}
	start, err := strconv.ParseUint(string(fields[startField]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read stat: start time: %w", err)
	}
	return start, nil
}

// effectiveIDs reads the effective user and group of status.
func effectiveIDs(status []byte) (uid, gid uint32, err error) {
	found := 0
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != uidFields || (fields[0] != "Uid:" && fields[0] != "Gid:") {
			continue
		}
		n, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return 0, 0, fmt.Errorf("read status: %w", err)
		}
		found++
		if fields[0] == "Uid:" {
			uid = uint32(n)
		} else {
			gid = uint32(n)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, fmt.Errorf("read status: %w", err)
	}
	if found != 2 {
		return 0, 0, errors.New("read status: no user and group")
	}
	return uid, gid, nil
}
