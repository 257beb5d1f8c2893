package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Format is the version of the encoding that this build writes and reads.
const Format = 1

// Errors of Decode, for errors.Is.
var (
	// ErrFormat: the bytes are a Set of another format; the message says which.
	ErrFormat = errors.New("policy set has another format")
	// ErrMalformed: the bytes are no Set in its canonical encoding.
	ErrMalformed = errors.New("policy set is malformed")
)

type envelope struct {
	Format int  `json:"format"`
	Set    *Set `json:"set"`
}

// Encode is the one canonical encoding of s: JSON, {"format":1,"set":…}, fields in the order of the types, durations in
// nanoseconds. Equal Sets give equal bytes: what is hashed, kept as last good and sent to agents.
func Encode(s *Set) ([]byte, error) {
	if s == nil {
		return nil, fmt.Errorf("encode policy set: %w: no set", ErrMalformed)
	}
	b, err := json.Marshal(envelope{Format: Format, Set: s})
	if err != nil {
		return nil, fmt.Errorf("encode policy set: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote, and nothing else: ErrFormat for a Set of another format, ErrMalformed for unknown, repeated
// or mis-cased fields, another order or white space. What it returns encodes to the same bytes.
func Decode(data []byte) (*Set, error) {
	var head struct {
		Format *int            `json:"format"`
		Set    json.RawMessage `json:"set"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("decode policy set: %w: %w", ErrMalformed, err)
	}
	if head.Format == nil {
		return nil, fmt.Errorf("decode policy set: %w: it names no format", ErrMalformed)
	}
	if *head.Format != Format {
		return nil, fmt.Errorf("decode policy set: %w: it is format %d, this build reads format %d", ErrFormat, *head.Format, Format)
	}
	var e envelope
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return nil, fmt.Errorf("decode policy set: %w: %w", ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decode policy set: %w: more follows the set", ErrMalformed)
	}
	if e.Set == nil {
		return nil, fmt.Errorf("decode policy set: %w: it holds no set", ErrMalformed)
	}
	// encoding/json folds case and keeps the last of repeated fields: two readers could read two Sets from the same bytes.
	again, err := Encode(e.Set)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("decode policy set: %w: it is not in its canonical encoding", ErrMalformed)
	}
	return e.Set, nil
}

// Hash is the SHA-256 of the canonical encoding in lower-case hex: equal hashes, equal Sets.
func (s *Set) Hash() string {
	b, err := Encode(s)
	if err != nil {
		// The types of a Set hold nothing that JSON cannot say; an empty hash would make two Sets look equal.
		panic("policy: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
