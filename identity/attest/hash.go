package attest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

const (
	maxExe    = 1 << 30 // bytes of an executable that are hashed
	maxHashes = 1024
	hashBlock = 1 << 20
)

// fileID changes whenever the content of a file does: ctime can't be set.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func identityOf(f *os.File) (fileID, error) {
	info, err := f.Stat()
	if err != nil {
		return fileID{}, fmt.Errorf("stat the executable: %w", err)
	}
	id, ok := identityOfInfo(info)
	if !ok {
		return fileID{}, errors.New("stat the executable: no inode")
	}
	return id, nil
}

func identityOfInfo(info os.FileInfo) (fileID, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return fileID{}, false
	}
	return fileID{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, true
}

// hashes caches the hashes of executables.
type hashes struct {
	turns turns
	mu    sync.Mutex
	sums  map[fileID]string
}

func newHashes() *hashes { return &hashes{sums: map[fileID]string{}} }

// sum returns the hash of an open file, or a note why there is none. Of each user one file at a time is hashed.
func (h *hashes) sum(ctx context.Context, f *os.File, id fileID, uid uint32) (sum, note string, err error) {
	if id.size > maxExe {
		return "", fmt.Sprintf("its executable has %d bytes; more than %d are not hashed", id.size, maxExe), nil
	}
	if sum, ok := h.known(id); ok {
		return sum, "", nil
	}
	done, err := h.turns.take(ctx, uid)
	if err != nil {
		return "", "", err
	}
	defer done()
	if sum, ok := h.known(id); ok {
		return sum, "", nil
	}
	digest := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", "", err
		}
		n, err := io.CopyN(digest, f, hashBlock)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", "", fmt.Errorf("hash the executable after %d bytes: %w", n, err)
		}
	}
	after, err := identityOf(f)
	if err != nil {
		return "", "", err
	}
	if after != id {
		return "", "", fmt.Errorf("%w: its executable was written to", ErrChanged)
	}
	sum = hex.EncodeToString(digest.Sum(nil))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sums) >= maxHashes {
		clear(h.sums)
	}
	h.sums[id] = sum
	return sum, "", nil
}

func (h *hashes) known(id fileID) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum, ok := h.sums[id]
	return sum, ok
}
