package txntoken

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/credence-mesh/credence/internal/durable"
)

// ErrCorrupt means that the file of the keys exists and can't be used. Nothing was overwritten.
var ErrCorrupt = errors.New("corrupt file of internal token keys")

const (
	fileFormat = 1
	maxFile    = 1 << 20
)

// key signs from Starts until the next one does.
type key struct {
	ID     string    `json:"kid"`
	Seed   []byte    `json:"seed"`
	Starts time.Time `json:"starts"`
}

type keyFile struct {
	Format int   `json:"format"`
	Keys   []key `json:"keys"`
}

// load reads the keys, oldest first. No file: none, no error.
func load(path string) ([]key, error) {
	corrupt := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s %s; restore it from a backup, or remove it: new keys are made then, and internal tokens that are on their way are refused",
			ErrCorrupt, path, fmt.Sprintf(format, args...))
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the internal token keys: %w", err)
	case !info.Mode().IsRegular():
		return nil, corrupt("is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		return nil, corrupt("has mode %04o: others may read the keys; expected 0600", info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, corrupt("has %d bytes", info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the internal token keys: %w", err)
	}
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	// Neither error is repeated: it may quote what is in the file.
	if err := d.Decode(&f); err != nil || d.More() {
		return nil, corrupt("is not what credence wrote")
	}
	if f.Format != fileFormat || len(f.Keys) == 0 {
		return nil, corrupt("has format %d and %d keys", f.Format, len(f.Keys))
	}
	seen := map[string]bool{}
	for i := range f.Keys {
		k := &f.Keys[i]
		if k.ID == "" || seen[k.ID] || len(k.Seed) != ed25519.SeedSize || k.Starts.IsZero() || i > 0 && k.Starts.Before(f.Keys[i-1].Starts) {
			return nil, corrupt("has a key, the %d. of %d, that is not whole", i+1, len(f.Keys))
		}
		seen[k.ID] = true
	}
	return f.Keys, nil
}

func save(path string, keys []key) error {
	data, err := json.Marshal(keyFile{Format: fileFormat, Keys: keys})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'), 0o600)
}
