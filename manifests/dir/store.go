package dir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/credence-mesh/credence/manifests"
)

// lastGoodName is the file in Options.StateDir.
const lastGoodName = "last-good.json"

// lastGoodVersion is the format that this code writes, and the newest that it reads.
const lastGoodVersion = 1

// Errors of New about the last-good file. The file is left as it is.
var (
	// ErrCorrupt: the file is damaged or was edited.
	ErrCorrupt = errors.New("last-good file is corrupt")
	// ErrNewer: a newer version of Credence wrote it.
	ErrNewer = errors.New("last-good file is of a newer format")
)

// saved is one object in the last-good file.
type saved struct {
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	File      string `json:"file"` // relative to the directory
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Canonical string `json:"canonical"` // a string, not JSON: its bytes are what is compared
}

func (s saved) key() manifests.Key {
	return manifests.Key{Group: s.Group, Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
}

// named says that a file named an object when it was last read, whether or not that version is the one in force.
type named struct {
	File      string `json:"file"`
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (n named) key() manifests.Key {
	return manifests.Key{Group: n.Group, Kind: n.Kind, Namespace: n.Namespace, Name: n.Name}
}

// memory is what survives a restart.
type memory struct {
	Objects []saved `json:"objects"`
	Read    []named `json:"read"`
}

// load reads the last-good file. None is no error.
func load(stateDir string) (m memory, err error) {
	path := filepath.Join(stateDir, lastGoodName)
	data, err := os.ReadFile(path) // #nosec G304 -- the operator names the state directory
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read last-good objects: %w", err)
	}
	var head struct {
		Version int             `json:"version"`
		SHA256  string          `json:"sha256"`
		Memory  json.RawMessage `json:"memory"`
	}
	const advice = "move it away to start from the manifests alone"
	if err := json.Unmarshal(data, &head); err != nil {
		return m, fmt.Errorf("%s: %w (%w); %s", path, ErrCorrupt, err, advice)
	}
	if head.Version > lastGoodVersion {
		return m, fmt.Errorf("%s: %w (%d, this version reads %d); run the version that wrote it, or %s",
			path, ErrNewer, head.Version, lastGoodVersion, advice)
	}
	sum := sha256.Sum256(head.Memory)
	if head.Version != lastGoodVersion || head.SHA256 != hex.EncodeToString(sum[:]) {
		return m, fmt.Errorf("%s: %w (checksum or version is wrong); %s", path, ErrCorrupt, advice)
	}
	if err := json.Unmarshal(head.Memory, &m); err != nil {
		return m, fmt.Errorf("%s: %w (%w); %s", path, ErrCorrupt, err, advice)
	}
	return m, nil
}

// encode renders the last-good file; equal memories give equal bytes.
func (m memory) encode() ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode last-good objects: %w", err)
	}
	raw := bytes.TrimSpace(body.Bytes())
	sum := sha256.Sum256(raw)
	return fmt.Appendf(nil, "{\"version\":%d,\"sha256\":%q,\"memory\":%s}\n", lastGoodVersion, hex.EncodeToString(sum[:]), raw), nil
}

// replace writes a file by way of a synced temporary one in the same directory. os.CreateTemp makes it 0600.
func replace(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync())
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(path string) error {
	d, err := os.Open(path) // #nosec G304 -- the operator names the state directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
