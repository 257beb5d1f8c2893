package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"time"
)

// What an operation fails with. Any other error is that of the engine (no disk, no network, the context): after it a change may have been
// made or not, as its answer may have been lost. Whoever asks must refuse.
var (
	// ErrNotFound: there is no such entry, or it has expired or been taken.
	ErrNotFound = errors.New("no such entry")
	// ErrExists: PutIfAbsent met an entry that lives.
	ErrExists = errors.New("the entry exists")
	// ErrFull: nothing has been kept, as there is no room. What was acknowledged before is never evicted for it.
	ErrFull = errors.New("the store is full")
	// ErrCorrupt: what is kept, or the key ring, is damaged, was changed by someone else or belongs to something else. The message says
	// what an operator can do.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrInUse: another process has it.
	ErrInUse = errors.New("the store is in use")
	// ErrInvalid: the caller's Item is outside of the limits below.
	ErrInvalid = errors.New("not a valid entry")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the store is closed")
)

// Limits of an Item.
const (
	// MaxValue bounds Value, in bytes.
	MaxValue = 64 << 10
	// MaxID bounds ID and each index, in bytes.
	MaxID = 4 << 10
	// MaxIndexes bounds Indexes.
	MaxIndexes = 8
)

// Kind is a name space of entries: lower-case letters, digits and hyphens, 32 at most.
type Kind string

// Item is an entry to keep.
type Item struct {
	Kind Kind
	// ID names the entry. It is not kept, only its keyed hash: whoever needs it again puts it into Value.
	ID string
	// Value is what is kept, sealed. It is not changed, and may be reused after the call.
	Value []byte
	// Expires is when the entry ends, to the next millisecond; zero: never.
	Expires time.Time
	// Indexes are further names, which several entries may have, such as "sub:alice". They are hashed like ID.
	Indexes []string
}

// Store is what an engine does. All methods may be called at the same time; a change is on disk when its call returns nil, and from then on
// every call sees it. An entry is gone once Expires is reached, whether or not it has been swept. Values that are returned are the caller's.
type Store interface {
	// Put keeps item in place of what has its ID, indexes included.
	Put(ctx context.Context, item Item) error
	// PutIfAbsent keeps item unless there is one that lives: ErrExists.
	PutIfAbsent(ctx context.Context, item Item) error
	// Replace keeps item in place of one that lives, or fails with ErrNotFound: what was deleted meanwhile does not come back.
	Replace(ctx context.Context, item Item) error
	// Get returns the value, or ErrNotFound.
	Get(ctx context.Context, kind Kind, id string) ([]byte, error)
	// Take returns the value and removes the entry. Of all who try, at most one gets it; the others get ErrNotFound.
	Take(ctx context.Context, kind Kind, id string) ([]byte, error)
	// Delete removes the entry, if there is one.
	Delete(ctx context.Context, kind Kind, id string) error
	// Lookup yields the values of the entries with that index, in no order. It ends after the first error that it yields. What is changed
	// meanwhile may be seen or not. The loop may call the Store.
	Lookup(ctx context.Context, kind Kind, index string) iter.Seq2[[]byte, error]
	// DeleteIndexed removes the entries with that index and tells how many lived.
	DeleteIndexed(ctx context.Context, kind Kind, index string) (int, error)
	// All yields the values of all entries of the kind, as Lookup does.
	All(ctx context.Context, kind Kind) iter.Seq2[[]byte, error]
}

var validKind = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Validate tells whether k is a kind, by ErrInvalid.
func (k Kind) Validate() error {
	if !validKind.MatchString(string(k)) {
		return fmt.Errorf("%w: %q is no kind", ErrInvalid, string(k))
	}
	return nil
}

// Validate tells whether i is within the limits, by ErrInvalid.
func (i *Item) Validate() error {
	if err := i.Kind.Validate(); err != nil {
		return err
	}
	if err := ValidateID(i.ID); err != nil {
		return err
	}
	if len(i.Value) > MaxValue {
		return fmt.Errorf("%w: a value of %d bytes, more than %d", ErrInvalid, len(i.Value), MaxValue)
	}
	if len(i.Indexes) > MaxIndexes {
		return fmt.Errorf("%w: %d indexes, more than %d", ErrInvalid, len(i.Indexes), MaxIndexes)
	}
	for _, x := range i.Indexes {
		if err := ValidateID(x); err != nil {
			return err
		}
	}
	if !i.Expires.IsZero() && i.Expires.UnixMilli() <= 0 {
		return fmt.Errorf("%w: it ends before 1970", ErrInvalid)
	}
	return nil
}

// ValidateID tells whether id may be that of an entry, or an index, by ErrInvalid. What is too long is not shown: it may be a secret.
func ValidateID(id string) error {
	if id == "" || len(id) > MaxID {
		return fmt.Errorf("%w: an id or index of %d bytes; 1 to %d are allowed", ErrInvalid, len(id), MaxID)
	}
	return nil
}
