package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
)

const (
	idLength     = 10
	secretLength = 43 // of 62 characters: 256 bits
	crcLength    = 8
	alphabet     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// form is a key of prefix_id_secret_crc, as it is written. Whether the checksum is right is another question.
type form struct{ prefix, id, secret, crc string }

// parse reads the form; false: it is none.
func parse(raw string) (form, bool) {
	prefix, rest, ok1 := strings.Cut(raw, "_")
	id, rest, ok2 := strings.Cut(rest, "_")
	secret, crc, ok3 := strings.Cut(rest, "_")
	return form{prefix, id, secret, crc}, ok1 && ok2 && ok3 && prefix != "" && id != "" && secret != "" && strings.IndexByte(crc, '_') < 0
}

// sound tells whether the checksum is that of all before it.
func (f *form) sound(raw string) bool {
	if len(f.crc) != crcLength || len(raw) > maxKey {
		return false
	}
	want := checksum(raw[:len(raw)-crcLength-1])
	return string(want[:]) == f.crc
}

// checksum is the CRC-32 (IEEE 802.3) of text in lower-case hex. It guards against slips of the pen, not against anybody.
func checksum(text string) (out [crcLength]byte) {
	var room [maxKey]byte
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(append(room[:0], text...)))
	hex.Encode(out[:], sum[:])
	return out
}

// ValidPrefix is what a prefix must be.
var ValidPrefix = regexp.MustCompile(`^[A-Za-z0-9]{2,16}$`)

// Key is a new key, and what Credentials hold of it.
type Key struct {
	// Text is the key itself. It is a secret: whoever shows it does so once.
	Text string
	ID   string
	// SHA256 of Text in lower-case hex.
	SHA256 string
}

// Generate makes a key with that prefix.
func Generate(prefix string) (Key, error) {
	if !ValidPrefix.MatchString(prefix) {
		return Key{}, fmt.Errorf("%q is no prefix of keys: 2 to 16 letters and digits", prefix)
	}
	id, secret := random(idLength), random(secretLength)
	text := prefix + "_" + id + "_" + secret
	sum := checksum(text)
	text += "_" + string(sum[:])
	return Key{Text: text, ID: id, SHA256: Hash(text)}, nil
}

// Hash is what Credentials hold of a key: its SHA-256 in lower-case hex.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// random is n characters, each as likely as any other.
func random(n int) string {
	out := make([]byte, 0, n)
	var room [64]byte
	for {
		_, _ = rand.Read(room[:]) // never fails
		for _, b := range room {
			if b >= 248 { // 4 times 62: above it some characters were likelier
				continue
			}
			if out = append(out, alphabet[b%62]); len(out) == n {
				return string(out)
			}
		}
	}
}
