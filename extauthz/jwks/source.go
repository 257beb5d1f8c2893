package jwks

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Source is the keys of one issuer from one place. Safe for concurrent use.
type Source struct {
	name       policy.Name
	issuers    []string
	algorithms []string
	from       policy.KeySource
	// identity of the place: keys are inherited and read from disk only where it is equal.
	identity [sha256.Size]byte
	maxStale time.Duration
	current  atomic.Pointer[loaded]
	health   health
	counts   *counts
	demand   demand
	now      func() time.Time
}

// health is what Status tells beside the keys. A nil time: not yet.
type health struct {
	failure atomic.Pointer[failure]
	next    atomic.Pointer[time.Time]
	// had is set once keys that can verify were there.
	had atomic.Bool
}

// maxFailure bounds the text of a failure, in bytes.
const maxFailure = 1000

type failure struct {
	text string
	at   time.Time
}

// loaded is one good document.
type loaded struct {
	set *Set
	raw []byte
	// named is the issuer that the metadata named which led to the document; empty without metadata.
	named string
	// at is when it was read well last.
	at time.Time
	// until is when it is too old to be trusted; zero: never.
	until time.Time
	// restored tells that it comes from the disk and has not been confirmed by the issuer since.
	restored bool
}

// expired asks both clocks: the one stands still while the machine sleeps, the other can be set back.
func (l *loaded) expired(now time.Time) bool {
	return !l.until.IsZero() && (!now.Before(l.until) || !wall(now).Before(wall(l.until)))
}

func (k *Keys) newSource(i policy.Issuer, c *counts) *Source {
	s := &Source{
		name: i.Name, issuers: slices.Clone(i.Issuers), algorithms: slices.Clone(i.Algorithms), from: i.Keys,
		identity: identity(i), maxStale: i.Keys.MaxStale, counts: c, now: k.opts.Now,
	}
	if s.maxStale <= 0 {
		s.maxStale = k.opts.MaxStale
	}
	s.demand = newDemand(k.opts.Now())
	return s
}

// identity covers all that decides whose keys these are and who vouches for them. What only says how they are used is left out, so that
// an edit of it loses nothing: the list of iss too, since the keys are those of a URL, or of the issuer that metadata must name, which
// is a part of the source.
func identity(i policy.Issuer) [sha256.Size]byte {
	from := i.Keys
	from.MaxStale, from.UnknownKey, from.BearerTokenFile = 0, 0, ""
	text, err := json.Marshal(struct {
		Name policy.Name
		From policy.KeySource
	}{i.Name, from})
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	return sha256.Sum256(text)
}

// same tells whether s holds what i asks for.
func (s *Source) same(i policy.Issuer) bool {
	return s.from == i.Keys && slices.Equal(s.issuers, i.Issuers) && slices.Equal(s.algorithms, i.Algorithms)
}

// remote tells whether the keys come over the network.
func (s *Source) remote() bool { return s.from.URL != "" || s.from.Discovery != "" }

// issuer is the first iss, for people.
func (s *Source) issuer() string {
	if len(s.issuers) == 0 {
		return ""
	}
	return s.issuers[0]
}

// Set is the newest good set; nil: none is known, or the last good one is older than MaxStale. It never blocks.
func (s *Source) Set() *Set {
	if s == nil {
		return nil
	}
	l := s.current.Load()
	if l == nil || l.expired(s.now()) {
		return nil
	}
	return l.set
}

// accept makes next, of which raw, named, at and restored are given, the source's keys, if it is a JWK Set; else what was there stays.
func (k *Keys) accept(s *Source, next loaded) error {
	old := s.current.Load()
	if next.until = (time.Time{}); s.remote() {
		next.until = next.at.Add(s.maxStale)
	}
	if old != nil && bytes.Equal(old.raw, next.raw) && old.named == next.named {
		next.set = old.set
	} else {
		set, err := parse(next.raw, s.algorithms, s.apart(next.named))
		if err != nil {
			return err
		}
		next.set = set
		k.opts.Log.Info("keys of issuer read", "issuer", s.name.String(), "keys", set.Len(), "skipped", set.skipped, "from_disk", next.restored)
	}
	s.current.Store(&next)
	if next.set.Len() > 0 {
		s.health.had.Store(true)
	}
	return nil
}

// apart is named where the manifest writes the issuer out apart from what the metadata names: keys for the one are those of the other then.
func (s *Source) apart(named string) string {
	if slices.Contains(s.issuers, named) {
		return ""
	}
	return named
}

// succeeded forgets the last failure.
func (k *Keys) succeeded(s *Source) {
	if s.health.failure.Swap(nil) != nil {
		k.opts.Log.Info("keys of issuer can be read again", "issuer", s.name.String())
	}
}

// fail notes err; it is logged when it changes.
func (k *Keys) fail(s *Source, err error) {
	text := err.Error()
	if len(text) > maxFailure { // the client quotes headers of the answer
		text = strings.ToValidUTF8(text[:maxFailure], "") + " …"
	}
	next := &failure{text: text, at: k.opts.Now()}
	if old := s.health.failure.Swap(next); old == nil || old.text != next.text {
		k.opts.Log.Warn("keys of issuer can't be read; those of the last good time stay, if there are any", "issuer", s.name.String(), "err", next.text)
	}
}
