package seal

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/credence-mesh/credence/store"
)

// Name is what an id or an index is called on disk.
type Name [sha256.Size]byte

const (
	idSize = 4
	// Overhead is by how many bytes a sealed value is longer.
	Overhead = idSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// secret is a key. It does not print.
type secret [chacha20poly1305.KeySize]byte

// Format implements fmt.Formatter: a key never gets into a message.
func (secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

type key struct {
	id      uint32
	created time.Time
	secret  secret
	aead    cipher.AEAD
}

// keys are never changed.
type keys struct {
	names secret
	// list has the newest first, which seals.
	list []key
}

// Ring is a set of keys in a file. All methods may be called at the same time.
type Ring struct {
	path string
	// changing holds Rotate and Forget apart.
	changing sync.Mutex
	keys     atomic.Pointer[keys]
}

// ID is the name of the entry id of kind.
func (r *Ring) ID(kind store.Kind, id string) Name { return r.name('i', kind, id) }

// Index is the name of the index of kind.
func (r *Ring) Index(kind store.Kind, index string) Name { return r.name('x', kind, index) }

func (r *Ring) name(sort byte, kind store.Kind, id string) Name {
	h := hmac.New(sha256.New, r.keys.Load().names[:])
	buf := make([]byte, 0, 128)
	buf = append(buf, sort)
	buf = append(append(buf, kind...), 0) // a kind has no NUL: nothing else reads the same
	h.Write(append(buf, id...))
	var n Name
	h.Sum(n[:0])
	return n
}

// Seal appends value, sealed together with what stands beside it, to dst.
func (r *Ring) Seal(dst, beside, value []byte) []byte {
	k := &r.keys.Load().list[0]
	dst = binary.BigEndian.AppendUint32(dst, k.id)
	start := len(dst)
	dst = append(dst, make([]byte, chacha20poly1305.NonceSizeX)...)
	nonce := dst[start:]
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return k.aead.Seal(dst, nonce, value, beside)
}

// Open returns the value that was sealed beside just this, or ErrCorrupt.
func (r *Ring) Open(beside, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("%w: a value is cut short", store.ErrCorrupt)
	}
	k := r.keys.Load().find(KeyID(sealed))
	if k == nil {
		return nil, fmt.Errorf("%w: a value is sealed with a key that %s does not have; restore the file that belongs to the store", store.ErrCorrupt, r.path)
	}
	nonce := sealed[idSize : idSize+chacha20poly1305.NonceSizeX]
	value, err := k.aead.Open(nil, nonce, sealed[idSize+len(nonce):], beside)
	if err != nil {
		return nil, fmt.Errorf("%w: a value was changed or moved, or is of another key ring than %s", store.ErrCorrupt, r.path)
	}
	return value, nil
}

// KeyID is the id of the key that sealed was made with; zero for what is too short.
func KeyID(sealed []byte) uint32 {
	if len(sealed) < idSize {
		return 0
	}
	return binary.BigEndian.Uint32(sealed)
}

// Current is the id of the key that seals, and when it was made.
func (r *Ring) Current() (uint32, time.Time) {
	k := r.keys.Load().list[0]
	return k.id, k.created
}

// Len is how many sealing keys there are.
func (r *Ring) Len() int { return len(r.keys.Load().list) }

func (k *keys) find(id uint32) *key {
	for i := range k.list {
		if k.list[i].id == id {
			return &k.list[i]
		}
	}
	return nil
}

// Rotate makes a new key that seals from now on. It is on disk before it is used; on error everything is as it was.
func (r *Ring) Rotate(now time.Time) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	old := r.keys.Load()
	k, err := newKey(old, now)
	if err != nil {
		return err
	}
	return r.change(&keys{names: old.names, list: append([]key{k}, old.list...)})
}

// Forget drops every key but the one that seals. The caller knows that nothing is sealed with the others any more.
func (r *Ring) Forget() error {
	r.changing.Lock()
	defer r.changing.Unlock()
	old := r.keys.Load()
	if len(old.list) == 1 {
		return nil
	}
	return r.change(&keys{names: old.names, list: old.list[:1:1]})
}

// change is called with the lock held.
func (r *Ring) change(next *keys) error {
	if err := write(r.path, next); err != nil {
		return err
	}
	r.keys.Store(next)
	return nil
}

func newKey(old *keys, now time.Time) (key, error) {
	k := key{created: now.UTC().Truncate(time.Second)}
	_, _ = rand.Read(k.secret[:])
	// A random id: a ring that was restored and rotated again must not call another key by the same.
	for k.id == 0 || old.find(k.id) != nil {
		var b [idSize]byte
		_, _ = rand.Read(b[:])
		k.id = binary.BigEndian.Uint32(b[:])
	}
	return k, k.prepare()
}

func (k *key) prepare() (err error) {
	k.aead, err = chacha20poly1305.NewX(k.secret[:])
	return err
}
