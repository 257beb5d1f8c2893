package bolt

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Flags of a page and of an element of a leaf, and the size of an element.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01
	elementSize  = 16
	bucketSize   = 16
	maxDepth     = 64
)

// inspector follows every page that is in use, once.
type inspector struct {
	f    io.ReaderAt
	head head
	seen []bool
}

// inspectPages tells whether the pages make a whole: each is what it is called, none is used twice, and none is free and in use.
func inspectPages(f io.ReaderAt, h head, size int64) error {
	if h.high < 4 || h.high > uint64(size)/uint64(h.pageSize) { //nolint:gosec // sizes are not negative
		return broken("it has been cut short")
	}
	i := &inspector{f: f, head: h, seen: make([]bool, h.high)}
	i.seen[0], i.seen[1] = true, true
	if err := i.tree(h.root, span{}, 0); err != nil {
		return err
	}
	if err := i.freelist(); err != nil {
		return err
	}
	for _, seen := range i.seen {
		if !seen {
			return broken("a page is lost")
		}
	}
	return nil
}

// page reads page id with those behind it that belong to it.
func (i *inspector) page(id uint64) ([]byte, error) {
	if id >= i.head.high {
		return nil, broken("a page lies behind the end")
	}
	header := make([]byte, headerSize)
	at := int64(id) * int64(i.head.pageSize) //nolint:gosec // below high: inside of the file
	if _, err := i.f.ReadAt(header, at); err != nil {
		return nil, broken(err.Error())
	}
	n := uint64(binary.NativeEndian.Uint32(header[12:])) + 1
	if binary.NativeEndian.Uint64(header) != id || n > i.head.high-id {
		return nil, broken("a page is not what it is called")
	}
	for p := id; p < id+n; p++ {
		if i.seen[p] {
			return nil, broken("a page is used twice")
		}
		i.seen[p] = true
	}
	b := make([]byte, int64(n)*int64(i.head.pageSize)) //nolint:gosec // the file has as many
	if _, err := i.f.ReadAt(b, at); err != nil {
		return nil, broken(err.Error())
	}
	return b, nil
}

// span is where the keys of a page lie: not below from, and below to where that is set. Searches go by what branches say of it.
type span struct{ from, to []byte }

func (s span) has(key []byte) bool {
	return bytes.Compare(key, s.from) >= 0 && (s.to == nil || bytes.Compare(key, s.to) < 0)
}

func (i *inspector) tree(id uint64, in span, depth int) error {
	b, err := i.page(id)
	if err != nil {
		return err
	}
	return i.elements(b, in, depth)
}

// elements follows what a branch or a leaf has. Keys come in order.
func (i *inspector) elements(b []byte, in span, depth int) error {
	if len(b) < headerSize || depth > maxDepth {
		return broken("a page is cut short, or leads to itself")
	}
	flags, count := binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 || headerSize+count*elementSize > len(b) {
		return broken("a page is of no known sort")
	}
	var last element
	for n := range count {
		e, err := parseElement(b[headerSize+n*elementSize:], flags)
		if err != nil {
			return err
		}
		if !in.has(e.key) || n > 0 && bytes.Compare(last.key, e.key) >= 0 {
			return broken("keys are out of order")
		}
		if n > 0 {
			if err := i.follow(last, span{from: last.key, to: e.key}, depth+1); err != nil {
				return err
			}
		}
		last = e
	}
	if count == 0 {
		return nil
	}
	return i.follow(last, span{from: last.key, to: in.to}, depth+1)
}

// follow goes where e leads, if it does.
func (i *inspector) follow(e element, in span, depth int) error {
	switch {
	case e.branch:
		return i.tree(e.child, in, depth)
	case e.bucket:
		return i.bucket(e.value, depth)
	}
	return nil
}

func (i *inspector) bucket(value []byte, depth int) error {
	if len(value) < bucketSize {
		return broken("a bucket is cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return i.tree(root, span{}, depth)
	}
	return i.elements(value[bucketSize:], span{}, depth) // a small one lies in its parent
}

type element struct {
	key, value     []byte
	child          uint64
	branch, bucket bool
}

// parseElement reads the element that b begins with; its key and value lie further on in b.
func parseElement(b []byte, flags uint16) (element, error) {
	n := binary.NativeEndian
	var e element
	var pos, key, value uint64
	if flags == branchPage {
		e.branch = true
		pos, key, e.child = uint64(n.Uint32(b)), uint64(n.Uint32(b[4:])), n.Uint64(b[8:])
	} else {
		kind := n.Uint32(b)
		if kind > bucketFlag {
			return e, broken("an entry is of no known sort")
		}
		e.bucket = kind == bucketFlag
		pos, key, value = uint64(n.Uint32(b[4:])), uint64(n.Uint32(b[8:])), uint64(n.Uint32(b[12:]))
	}
	if pos+key+value > uint64(len(b)) {
		return e, broken("an entry lies outside of its page")
	}
	e.key, e.value = b[pos:pos+key], b[pos+key:pos+key+value]
	return e, nil
}

func (i *inspector) freelist() error {
	b, err := i.page(i.head.freelist)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(b[8:]) != freelistPage {
		return broken("the list of free pages is something else")
	}
	count, ids := uint64(binary.NativeEndian.Uint16(b[10:])), b[headerSize:]
	if count == 0xffff { // more than fit there: the number is the first of the list
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return broken("the list of free pages is cut short")
	}
	for n := range count {
		id := binary.NativeEndian.Uint64(ids[8*n:])
		if id >= i.head.high || i.seen[id] {
			return broken("a page is free and in use")
		}
		i.seen[id] = true
	}
	return nil
}
