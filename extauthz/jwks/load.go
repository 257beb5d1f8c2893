package jwks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
		k.accept(s, []byte(s.from.Inline), time.Time{})
	case s.from.File != "":
		k.loadFile(s)
	case s.from.Development:
		var raw []byte
		ok := false
		if k.opts.Development != nil {
			raw, ok = k.opts.Development(s.issuer)
		}
		if !ok {
			k.fail(s, errors.New("no development issuer runs at this address"))
			return
		}
		k.accept(s, raw, time.Time{})
	case s.from.URL != "": // Run fetches it
	default:
		k.fail(s, errors.New("the issuer has no key source"))
	}
}

func (k *Keys) loadFile(s *Source) {
	raw, err := readFile(s.from.File)
	if err != nil {
		k.fail(s, err)
		return
	}
	k.accept(s, raw, time.Time{})
}

// readFile reads a regular file only: a pipe would hold up every edit that comes after it.
func readFile(path string) (_ []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read keys: %s is not a regular file", path)
	}
	return readLimited(f)
}

func readLimited(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("read keys: over %d bytes", MaxBytes)
	}
	return raw, nil
}

// accept makes raw the source's keys, if it is a JWK Set; else what was there stays.
func (k *Keys) accept(s *Source, raw []byte, until time.Time) {
	old := s.current.Load()
	next := &loaded{raw: raw, at: k.opts.Now(), until: until}
	if old != nil && bytes.Equal(old.raw, raw) {
		next.set = old.set
	} else {
		set, err := Parse(raw, s.algorithms)
		if err != nil {
			k.fail(s, err)
			return
		}
		next.set = set
		k.opts.Log.Info("keys of issuer read", "issuer", s.name.String(), "keys", set.Len(), "skipped", set.skipped)
	}
	s.current.Store(next)
	s.failure.Store(nil)
}

// fail notes err; it is logged when it changes.
func (k *Keys) fail(s *Source, err error) {
	text := err.Error()
	if old := s.failure.Swap(&text); old == nil || *old != text {
		k.opts.Log.Warn("keys of issuer can't be read; the last good ones stay", "issuer", s.name.String(), "err", text)
	}
}

// watch owns the refreshing of one source until ctx ends.
func (k *Keys) watch(ctx context.Context, client *http.Client, s *Source) {
	f := fetcher{keys: k, client: client, source: s}
	for {
		wait := filePoll
		if s.from.URL != "" {
			wait = f.fetch(ctx)
		} else {
			k.loadFile(s)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
