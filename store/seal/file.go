package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/credence-mesh/credence/internal/durable"
	"github.com/credence-mesh/credence/store"
)

const fileVersion = 1

// file is what is on disk.
type file struct {
	Version int       `json:"version"`
	Names   []byte    `json:"names"`
	Keys    []fileKey `json:"keys"`
}

type fileKey struct {
	ID      uint32    `json:"id"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

// Create makes a ring with new keys and writes it to path, mode 0600. It replaces what is there: the caller has looked.
func Create(path string, now time.Time) (*Ring, error) {
	all := &keys{}
	_, _ = rand.Read(all.names[:])
	k, err := newKey(all, now)
	if err != nil {
		return nil, err
	}
	all.list = []key{k}
	r := &Ring{path: path}
	return r, r.change(all)
}

// Load reads the ring at path. An error wraps fs.ErrNotExist where there is none, and ErrCorrupt where there is something else.
func Load(path string) (*Ring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the store's keys: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the store's keys in %s can be read by others (mode %04o): they must be a file with mode 0600", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the store's keys: %w", err)
	}
	all, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s is no key ring (%w); restore the file that belongs to the store", store.ErrCorrupt, path, err)
	}
	r := &Ring{path: path}
	r.keys.Store(all)
	return r, nil
}

func parse(data []byte) (*keys, error) {
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, errors.New("not the expected JSON") // the decoder's message may quote a key
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its end")
	}
	all := &keys{}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("version %d, not %d", f.Version, fileVersion)
	}
	if len(f.Keys) == 0 || len(f.Names) != len(all.names) {
		return nil, errors.New("a key is missing or has the wrong length")
	}
	copy(all.names[:], f.Names)
	for _, fk := range f.Keys {
		k := key{id: fk.ID, created: fk.Created}
		if len(fk.Key) != len(k.secret) || fk.ID == 0 || all.find(fk.ID) != nil {
			return nil, errors.New("a key has the wrong length or another's id")
		}
		copy(k.secret[:], fk.Key)
		if err := k.prepare(); err != nil {
			return nil, err
		}
		all.list = append(all.list, k)
	}
	return all, nil
}

func write(path string, all *keys) error {
	f := file{Version: fileVersion, Names: all.names[:]}
	for i := range all.list {
		k := &all.list[i]
		f.Keys = append(f.Keys, fileKey{ID: k.id, Created: k.created, Key: k.secret[:]})
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the store's keys: %w", err)
	}
	if err := durable.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the store's keys: %w", err)
	}
	return nil
}
