package jwks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// filePoll is how often a file is read again: content, not times, tells of a change (a ConfigMap changes by swapping a link).
const filePoll = time.Second

// loadLocal reads what needs no network. A failure keeps what was there.
func (k *Keys) loadLocal(s *Source) {
	switch {
	case s.from.Inline != "":
		k.settle(s, []byte(s.from.Inline), nil)
	case s.from.File != "":
		k.loadFile(s)
	case s.from.Development:
		var raw []byte
		err := errors.New("no development issuer runs in this process")
		if k.opts.Development != nil {
			raw, err = k.opts.Development(s.issuer())
		}
		k.settle(s, raw, err)
	case s.remote(): // Run fetches it
	default:
		k.fail(s, errors.New("the issuer has no key source"))
	}
}

func (k *Keys) loadFile(s *Source) {
	raw, err := readFile(s.from.File)
	k.settle(s, raw, err)
}

// settle ends a read of local keys.
func (k *Keys) settle(s *Source, raw []byte, err error) {
	if err == nil {
		err = k.accept(s, loaded{raw: raw, at: k.opts.Now()})
	}
	if err != nil {
		k.fail(s, err)
		return
	}
	k.succeeded(s)
}

// readFile reads a regular file only: a pipe would hold up every edit that comes after it.
func readFile(path string) ([]byte, error) { return readBounded(path, MaxBytes) }

func readBounded(path string, limit int64) (_ []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read file: %s is not a regular file", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("read file: %s is over %d bytes", path, limit)
	}
	return raw, nil
}
