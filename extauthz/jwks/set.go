package jwks

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of one document.
const (
	// MaxBytes of a JWK Set.
	MaxBytes = 256 << 10
	// MaxKeys in a JWK Set, usable or not.
	MaxKeys = 64
)

// ErrDocument says that the document as a whole is not a JWK Set.
var ErrDocument = errors.New("not a JWK Set")

// Key is one public key for exactly one algorithm (RFC 8725 §3.1). Immutable.
type Key struct {
	// ID is its kid, empty when the document names none.
	ID string
	// Algorithm is the JWS alg that this key verifies, and no other.
	Algorithm string
	// Public is *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
	Public crypto.PublicKey
	// Issuer is the one iss whose tokens it may verify, perhaps with a variable, as For reads it; empty: the document names none.
	Issuer string
	// Fingerprint covers kid, algorithm and key: equal exactly when all three are.
	Fingerprint [sha256.Size]byte
}

// Set is the usable keys of one document. Immutable; safe for concurrent use. The zero value has no key.
type Set struct {
	byID    map[ident]*Key
	byAlg   map[string][]*Key
	skipped []string
}

type ident struct{ kid, alg string }

// Lookup returns the key of this kid and algorithm. Without a kid it returns the only key of that algorithm, and nothing where there
// are several (OpenID Connect Core §10.1).
func (s *Set) Lookup(kid, alg string) (*Key, bool) {
	if s == nil {
		return nil, false
	}
	if kid != "" {
		k, ok := s.byID[ident{kid, alg}]
		return k, ok
	}
	if keys := s.byAlg[alg]; len(keys) == 1 {
		return keys[0], true
	}
	return nil, false
}

// Len is the number of (kid, algorithm) pairs that can be looked up.
func (s *Set) Len() int {
	n := 0
	for _, keys := range s.byAlg {
		n += len(keys)
	}
	return n
}

// Skipped says for each key of the document that was left out why, in the order of the document. It holds no key material.
func (s *Set) Skipped() []string { return slices.Clone(s.skipped) }

// Parse reads a JWK Set (RFC 7517 §5). algorithms are those that the issuer may use: a key for any other is skipped, and an RSA key
// that names none gets the issuer's RS* (or, where it has no RS*, its PS*). A key that can't be used is skipped, never an error. It
// errs (ErrDocument) only where the document is too large, is not strict JSON (RFC 7493) or has no keys member.
func Parse(data []byte, algorithms []string) (*Set, error) { return parse(data, algorithms, "") }

// parse is Parse; keys for apart, unless it is empty, are for every iss.
func parse(data []byte, algorithms []string, apart string) (*Set, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%w: over %d bytes", ErrDocument, MaxBytes)
	}
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if doc.Keys == nil {
		return nil, fmt.Errorf("%w: no member keys", ErrDocument)
	}
	if len(doc.Keys) > MaxKeys {
		return nil, fmt.Errorf("%w: %d keys, at most %d", ErrDocument, len(doc.Keys), MaxKeys)
	}
	b := builder{allowed: algorithms, apart: apart, found: map[ident]*Key{}, ambiguous: map[ident]bool{}}
	for i, raw := range doc.Keys {
		b.add(i, raw)
	}
	return b.set(), nil
}

// builder collects keys and drops the ambiguous.
type builder struct {
	allowed   []string
	apart     string
	order     []*Key
	found     map[ident]*Key
	ambiguous map[ident]bool
	skipped   []string
}

func (b *builder) add(i int, raw jsontext.Value) {
	k, err := parseKey(raw)
	if err != nil {
		b.skip(i, err)
		return
	}
	algs, err := k.algorithms(b.allowed)
	if err != nil {
		b.skip(i, err)
		return
	}
	if b.apart != "" && covers(k.issuer, b.apart, "") {
		k.issuer = ""
	}
	for _, alg := range algs {
		key := &Key{ID: k.kid, Algorithm: alg, Public: k.public, Issuer: k.issuer, Fingerprint: k.fingerprint(alg)}
		id := ident{k.kid, alg}
		switch old, dup := b.found[id]; {
		case !dup:
			b.found[id] = key
			b.order = append(b.order, key)
		case old.Fingerprint == key.Fingerprint && old.Issuer == key.Issuer: // said twice
		case k.kid == "": // several keys without a name are told apart by nothing: Lookup refuses to choose
			b.order = append(b.order, key)
		default:
			// Two keys under one name: whichever were taken, the other's owner could be spoken for. Neither is.
			b.ambiguous[id] = true
			b.skip(i, fmt.Errorf("kid %.64q for %s is used by two keys, or for two issuers: both are dropped", k.kid, alg))
		}
	}
}

func (b *builder) skip(i int, err error) {
	b.skipped = append(b.skipped, fmt.Sprintf("keys[%d]: %v", i, err))
}

func (b *builder) set() *Set {
	s := &Set{byID: map[ident]*Key{}, byAlg: map[string][]*Key{}, skipped: b.skipped}
	for _, k := range b.order {
		id := ident{k.ID, k.Algorithm}
		if b.ambiguous[id] {
			continue
		}
		if k.ID != "" {
			s.byID[id] = k
		}
		s.byAlg[k.Algorithm] = append(s.byAlg[k.Algorithm], k)
	}
	return s
}
