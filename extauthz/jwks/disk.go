package jwks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/credence-mesh/credence/internal/durable"
)

const (
	// diskFormat is the layout of a saved file.
	diskFormat = 1
	// maxSaved is the size of a saved file: the document, quoted, and what is known of it.
	maxSaved = 4 * MaxBytes
	// keepSaved is how long the file of an issuer that is gone stays: longer than keys are ever trusted.
	keepSaved = 8 * 24 * time.Hour
	// saveEvery is how much younger than the file says its keys may be.
	saveEvery = 5 * time.Minute
)

// saved is the last good document of a source on disk.
type saved struct {
	Format   int    `json:"format"`
	Identity string `json:"identity"`
	// Fetched is when the issuer answered with it.
	Fetched time.Time `json:"fetched"`
	// Named is the issuer that the metadata named, empty without metadata.
	Named string `json:"named,omitempty"`
	// Sum is the SHA-256 of Document, in hex.
	Sum      string `json:"sum"`
	Document string `json:"document"`
}

func (k *Keys) savedPath(s *Source) string {
	return filepath.Join(k.opts.Dir, hex.EncodeToString(s.identity[:16])+".json")
}

func sum(document []byte) string {
	h := sha256.Sum256(document)
	return hex.EncodeToString(h[:])
}

// restore takes the keys that an earlier process had from the same place. What can't be used is left alone: the issuer is asked anyway.
func (k *Keys) restore(s *Source) {
	if k.opts.Dir == "" {
		return
	}
	path := k.savedPath(s)
	raw, err := readBounded(path, maxSaved)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var f saved
	if err == nil {
		err = json.Unmarshal(raw, &f, json.RejectUnknownMembers(true))
	}
	switch now := k.opts.Now(); {
	case err != nil:
	case f.Format != diskFormat:
		err = fmt.Errorf("format %d, this credence knows %d", f.Format, diskFormat)
	case f.Identity != hex.EncodeToString(s.identity[:]):
		err = errors.New("it belongs to another issuer")
	case f.Sum != sum([]byte(f.Document)):
		err = errors.New("it is damaged")
	default:
		at := f.Fetched
		if at.After(now) { // a clock that went back must not make keys last longer
			at = now
		}
		err = k.accept(s, loaded{raw: []byte(f.Document), named: f.Named, at: at, restored: true})
	}
	if err != nil {
		k.opts.Log.Warn("saved keys of issuer are not used", "issuer", s.name.String(), "file", path, "err", err.Error())
	}
}

// restoreClock writes the file anew where the time in it lies ahead: else each start would count from its own.
func (f *fetcher) restoreClock() {
	l := f.source.current.Load()
	if l == nil || !l.restored {
		return
	}
	f.lastSaved = l.raw
	_ = f.write(l)
}

// save writes the last good document, unless the disk knows it and heard not long ago.
func (f *fetcher) save() {
	l := f.source.current.Load()
	known := f.lastSaved != nil && bytes.Equal(f.lastSaved, l.raw)
	if known && l.at.Sub(f.saved) < min(saveEvery, f.source.maxStale/10) {
		return
	}
	if !f.write(l) && !known {
		// What is there may hold a key that the issuer has taken back. A full disk does not keep it from being removed.
		_ = os.Remove(f.keys.savedPath(f.source))
	}
}

// write tells whether the file is l now.
func (f *fetcher) write(l *loaded) bool {
	k := f.keys
	if k.opts.Dir == "" {
		return true
	}
	text, err := json.Marshal(saved{
		Format: diskFormat, Identity: hex.EncodeToString(f.source.identity[:]), Fetched: l.at, Named: l.named, Sum: sum(l.raw),
		Document: string(l.raw),
	})
	if err == nil {
		err = os.MkdirAll(k.opts.Dir, 0o700)
	}
	if err == nil {
		err = durable.WriteFile(k.savedPath(f.source), append(text, '\n'), 0o600)
	}
	if err != nil {
		k.opts.Log.Warn("keys of issuer can't be saved: a restart without the issuer will not have them", "issuer", f.source.name.String(), "err", err.Error())
		return false
	}
	f.saved, f.lastSaved = l.at, l.raw
	return true
}

// prune removes files of issuers that are gone for long. Only what has the form of our names is touched.
func (k *Keys) prune() {
	if k.opts.Dir == "" {
		return
	}
	entries, err := os.ReadDir(k.opts.Dir)
	if err != nil {
		return // there is none yet, or saving will say what is wrong
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if _, err := hex.DecodeString(name); !ok || err != nil || len(name) != 32 {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && k.opts.Now().Sub(info.ModTime()) > keepSaved {
			_ = os.Remove(filepath.Join(k.opts.Dir, e.Name())) // tried again at the next start
		}
	}
}
