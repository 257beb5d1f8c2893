package basic

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What one password may cost: about half of the second that a Check has, on a slow core.
const (
	minBcryptCost  = 4
	maxBcryptCost  = 13
	maxBcryptBytes = 72
	// maxArgonMemory and maxArgonWork, memory times passes, are in KiB.
	maxArgonMemory = 128 << 10
	maxArgonWork   = 512 << 10
	maxArgonLanes  = 4
	maxArgonPasses = 9999
	minArgonSalt   = 8
	minArgonTag    = 16
	maxArgonBytes  = 64
)

var (
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	argonForm  = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,3}),p=([1-9][0-9]{0,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
	cryptForm  = regexp.MustCompile(`^[./A-Za-z0-9]{13}$`)
)

// passwordHash is a hash that was parsed: bcrypt, or argon2id where that is nil.
type passwordHash struct {
	bcrypt         []byte
	salt, tag      []byte
	memory, passes uint32
	lanes          uint8
}

// weak names forms that people have in htpasswd files, by how they begin, and why they are refused.
var weak = [...]struct{ prefix, name string }{
	{"{SHA}", "{SHA}, unsalted SHA-1"},
	{"{SSHA}", "{SSHA}, SHA-1"},
	{"$apr1$", "$apr1$, Apache's MD5"},
	{"$1$", "$1$, MD5"},
	{"$5$", "$5$, SHA-256 crypt"},
	{"$6$", "$6$, SHA-512 crypt"},
	{"$2x$", "$2x$, a bcrypt that was wrong"},
	{"$2$", "$2$, the first bcrypt"},
	{"$argon2i$", "argon2i, not argon2id"},
	{"$argon2d$", "argon2d, not argon2id"},
}

// parseHash takes a bcrypt hash or an argon2id one in the PHC string format. Its errors hold nothing of text, which may be a password.
func parseHash(text string) (*passwordHash, error) {
	if m := bcryptForm.FindStringSubmatch(text); m != nil {
		if cost, err := strconv.Atoi(m[1]); err != nil || cost < minBcryptCost || cost > maxBcryptCost {
			return nil, fmt.Errorf("bcrypt of cost %s: from %d to %d is taken, more takes longer than a request may wait", m[1], minBcryptCost, maxBcryptCost)
		}
		return &passwordHash{bcrypt: []byte(text)}, nil
	}
	if m := argonForm.FindStringSubmatch(text); m != nil {
		return parseArgon(m)
	}
	for _, w := range weak {
		if strings.HasPrefix(text, w.prefix) {
			return nil, fmt.Errorf("%s: only bcrypt and argon2id are taken", w.name)
		}
	}
	switch {
	case strings.HasPrefix(text, "$2"), strings.HasPrefix(text, "$argon2id$"):
		return nil, errors.New("a damaged hash")
	case cryptForm.MatchString(text):
		return nil, errors.New("DES crypt, or plain text: only bcrypt and argon2id are taken")
	}
	return nil, errors.New("plain text, or an unknown hash: only bcrypt and argon2id are taken")
}

func parseArgon(m []string) (*passwordHash, error) {
	memory, err1 := strconv.ParseUint(m[1], 10, 32)
	passes, err2 := strconv.ParseUint(m[2], 10, 32)
	lanes, err3 := strconv.ParseUint(m[3], 10, 8)
	switch {
	case err1 != nil, err2 != nil, err3 != nil, memory > maxArgonMemory, passes > maxArgonPasses, memory*passes > maxArgonWork, lanes > maxArgonLanes:
		return nil, fmt.Errorf("argon2id costs more than a request may wait for: m at most %d, m times t at most %d, p at most %d",
			maxArgonMemory, maxArgonWork, maxArgonLanes)
	case memory < 8*lanes:
		return nil, errors.New("argon2id with less memory than its lanes need: m at least 8 times p")
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(m[4])
	tag, err2 := base64.RawStdEncoding.Strict().DecodeString(m[5])
	if err1 != nil || err2 != nil || len(salt) < minArgonSalt || len(salt) > maxArgonBytes || len(tag) < minArgonTag || len(tag) > maxArgonBytes {
		return nil, errors.New("argon2id with a damaged or short salt or tag")
	}
	return &passwordHash{salt: salt, tag: tag, memory: uint32(memory), passes: uint32(passes), lanes: uint8(lanes)}, nil
}

// matches hashes the password. A long one costs as much as any.
func (h *passwordHash) matches(password []byte) bool {
	if h.bcrypt != nil {
		short := password[:min(len(password), maxBcryptBytes)]
		return bcrypt.CompareHashAndPassword(h.bcrypt, short) == nil && len(short) == len(password)
	}
	tag := argon2.IDKey(password, h.salt, h.passes, h.memory, h.lanes, uint32(len(h.tag))) //nolint:gosec // at most maxArgonBytes
	return subtle.ConstantTimeCompare(tag, h.tag) == 1
}
