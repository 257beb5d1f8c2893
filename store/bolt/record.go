package bolt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

const (
	recordVersion = 1
	nameSize      = len(seal.Name{})
	// A record is version, expiry in milliseconds (0: never), number of indexes, their names, then the sealed value.
	fixedSize = 1 + 8 + 1
	// pageCost is what bbolt adds to each key with its value.
	pageCost = 16
)

// record is what is kept of an item. Its slices may point into the file: they end with the transaction.
type record struct {
	expires int64
	indexes []seal.Name
	// head is everything before sealed.
	head, sealed []byte
}

// makeHead is the part of the record of i that is not hidden.
func makeHead(r *seal.Ring, i *store.Item) record {
	var out record
	if !i.Expires.IsZero() {
		out.expires = ceilMilli(i.Expires)
	}
	for _, x := range i.Indexes {
		out.indexes = append(out.indexes, r.Index(i.Kind, x))
	}
	slices.SortFunc(out.indexes, func(a, b seal.Name) int { return slices.Compare(a[:], b[:]) })
	out.indexes = slices.Compact(out.indexes)
	out.head = make([]byte, 0, fixedSize+len(out.indexes)*nameSize+seal.Overhead+len(i.Value))
	out.head = append(out.head, recordVersion)
	out.head = binary.BigEndian.AppendUint64(out.head, uint64(out.expires)) //nolint:gosec // validated: after 1970
	out.head = append(out.head, byte(len(out.indexes)))                     //nolint:gosec // validated: MaxIndexes at most
	for _, x := range out.indexes {
		out.head = append(out.head, x[:]...)
	}
	return out
}

// parseRecord reads raw, which it points into.
func parseRecord(raw []byte) (record, error) {
	if len(raw) < fixedSize || raw[0] != recordVersion || raw[9] > store.MaxIndexes || len(raw) < fixedSize+int(raw[9])*nameSize {
		return record{}, fmt.Errorf("%w: a record is cut short or of an unknown version", store.ErrCorrupt)
	}
	r := record{expires: int64(binary.BigEndian.Uint64(raw[1:9]))} //nolint:gosec // a negative one is over, like everything before 1970
	at := fixedSize
	for range raw[9] {
		r.indexes = append(r.indexes, seal.Name(raw[at:at+nameSize]))
		at += nameSize
	}
	r.head, r.sealed = raw[:at:at], raw[at:]
	return r, nil
}

// over tells whether the entry has ended at now, in milliseconds.
func (r *record) over(now int64) bool { return r.expires != 0 && now >= r.expires }

// beside is what is authenticated with the value: where it stands and all that is said of it.
func beside(kind store.Kind, name, head []byte) []byte {
	out := make([]byte, 0, 1+len(kind)+nameSize+len(head))
	out = append(out, byte(len(kind))) //nolint:gosec // validated: 32 at most
	out = append(out, kind...)
	out = append(out, name...)
	return append(out, head...)
}

// cost is what the entry counts against MaxBytes.
func cost(raw []byte, expires int64, indexes int) int64 {
	n := pageCost + nameSize + len(raw)
	if expires != 0 {
		n += pageCost + 8 + nameSize
	}
	return int64(n + indexes*(pageCost+2*nameSize))
}

// ceilMilli is t in milliseconds since 1970, or the next one: nothing ends early.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}

func expiryKey(expires int64, name []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+nameSize), uint64(expires)), name...) //nolint:gosec // after 1970
}

func indexKey(index seal.Name, name []byte) []byte {
	return append(append(make([]byte, 0, 2*nameSize), index[:]...), name...)
}
