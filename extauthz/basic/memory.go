package basic

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"
)

const (
	// factTime is how long a password that was right or wrong need not be hashed again.
	factTime = time.Minute
	// provenTime is how long one that was right is hashed before all guesses, and counts as none.
	provenTime = time.Hour
	maxProven  = 16 << 10
	maxWrong   = 4 << 10
)

// mark stands for name, password and hash. It is an HMAC: without the key of the process it is no way to try passwords.
type mark [sha256.Size]byte

// scratch is what one Verify works with. It holds the password, and is wiped before the next has it.
type scratch struct {
	mac  hash.Hash
	text []byte // the credential, decoded
	in   []byte
	hash []byte // the text of a hash
	sum  []byte
}

func newScratch(key []byte) *scratch {
	return &scratch{mac: hmac.New(sha256.New, key), text: make([]byte, 0, maxRaw), in: make([]byte, 0, maxRaw+512), hash: make([]byte, 0, 256), sum: make([]byte, 0, sha256.Size)}
}

func (s *scratch) wipe() {
	clear(s.text[:cap(s.text)])
	clear(s.in[:cap(s.in)])
	s.mac.Reset()
}

// mark of three parts, each with its length, so that no two lists of parts are the same bytes.
func (s *scratch) mark(purpose byte, a, b, c []byte) mark {
	s.in = append(s.in[:0], purpose)
	for _, part := range [...][]byte{a, b, c} {
		s.in = binary.AppendUvarint(s.in, uint64(len(part)))
		s.in = append(s.in, part...)
	}
	s.mac.Reset()
	_, _ = s.mac.Write(s.in) // never an error (hash.Hash)
	s.sum = s.mac.Sum(s.sum[:0])
	return mark(s.sum)
}

// memory of what was found out, by mark.
type memory struct {
	proven map[mark]time.Time
	wrong  map[mark]time.Time
}

func newMemory() memory { return memory{proven: map[mark]time.Time{}, wrong: map[mark]time.Time{}} }

func within(since map[mark]time.Time, p mark, limit time.Duration, now time.Time) bool {
	at, ok := since[p]
	age := now.Sub(at)
	return ok && age >= 0 && age < limit
}

func (m *memory) keep(p mark, right bool, now time.Time) {
	if right {
		remember(m.proven, p, now, maxProven, provenTime)
		return
	}
	delete(m.proven, p)
	remember(m.wrong, p, now, maxWrong, factTime)
}

func remember(since map[mark]time.Time, p mark, now time.Time, most int, life time.Duration) {
	if len(since) >= most {
		for k, at := range since {
			if age := now.Sub(at); age < 0 || age >= life {
				delete(since, k)
			}
		}
		for k := range since {
			if len(since) < most-most/4 {
				break
			}
			delete(since, k)
		}
	}
	since[p] = now
}
