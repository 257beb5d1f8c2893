package dpop

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
)

// step is how much time one map of used proofs covers.
const step = 8 * time.Second

// seen remembers used proofs until they end, in maps by time of end: a whole map is forgotten at once.
type seen struct {
	limit int

	mu    sync.Mutex
	count int
	maps  map[int64]*span
	byKey map[[sha256.Size]byte]int
}

// span are the proofs that end within one step.
type span struct {
	used  map[[sha256.Size]byte]struct{}
	byKey map[[sha256.Size]byte]int
}

func newSeen(limit int) *seen {
	return &seen{limit: limit, maps: map[int64]*span{}, byKey: map[[sha256.Size]byte]int{}}
}

// use notes a proof that is good until end; an error where it was noted before, or cannot be.
func (s *seen) use(audience, key, jti string, end, now time.Time) error {
	proof, owner := sha256.Sum256([]byte(audience+"\x00"+key+"\x00"+jti)), sha256.Sum256([]byte(audience+"\x00"+key))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	for _, m := range s.maps {
		if _, found := m.used[proof]; found {
			return credential.Invalid(ReasonReplayed, "used before")
		}
	}
	switch {
	case s.count >= s.limit:
		return credential.Unavailable(ReasonFull, "%d proofs are remembered", s.count)
	case s.byKey[owner] >= max(s.limit/16, 1):
		return credential.Limited(ReasonFull, "one key made %d proofs in a minute", s.byKey[owner])
	}
	at := end.Unix() / int64(step/time.Second)
	m := s.maps[at]
	if m == nil {
		m = &span{used: map[[sha256.Size]byte]struct{}{}, byKey: map[[sha256.Size]byte]int{}}
		s.maps[at] = m
	}
	m.used[proof] = struct{}{}
	m.byKey[owner]++
	s.byKey[owner]++
	s.count++
	return nil
}

// sweep forgets the maps of which every proof has ended.
func (s *seen) sweep(now time.Time) {
	// A proof is good at its very end.
	oldest := (now.Unix() - 1) / int64(step/time.Second)
	for at, m := range s.maps {
		if at >= oldest {
			continue
		}
		s.count -= len(m.used)
		for owner, n := range m.byKey {
			if s.byKey[owner] -= n; s.byKey[owner] <= 0 {
				delete(s.byKey, owner)
			}
		}
		delete(s.maps, at)
	}
}
