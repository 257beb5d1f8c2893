package v1alpha1

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxUserName = 255
	// maxArgonMemory and maxArgonWork (memory times passes) are in KiB: what one password may cost, within the time of a Check.
	maxArgonMemory = 128 << 10
	maxArgonWork   = 512 << 10
	maxArgonLanes  = 4
	maxArgonBytes  = 64
	minArgonSalt   = 8
	minArgonTag    = 16
	hashHint       = "make one with `credence credentials hash`"
)

// credentials checks the users, and nothing that a diagnostic says holds a hash or a key: what stands in place of one may be the secret
// itself.
func (c *checker) credentials(s *CredentialsSpec) {
	if s.Basic == nil && s.APIKeys == nil && s.ClientCertificates == nil {
		c.fail("spec", "required", "there are no users", "set basic, apiKeys or clientCertificates")
	}
	if s.Basic != nil {
		c.basic("spec.basic", s.Basic)
	}
	if s.APIKeys != nil {
		c.keyUsers("spec.apiKeys", s.APIKeys)
	}
	if cc := s.ClientCertificates; cc != nil {
		const at = "spec.clientCertificates"
		c.required(at+".caFile", cc.CAFile)
		c.oneOf(at+".subject", cc.Subject, SubjectURI, SubjectDNS, SubjectEmail, SubjectCommonName)
		c.words(at+".allowed", cc.Allowed)
		c.grants(at, &cc.Grants)
	}
}

func (c *checker) basic(at string, b *BasicCredentials) {
	if b.Realm != "" && (len(b.Realm) > maxRealm || !quotedText.MatchString(b.Realm)) {
		c.fail(at+".realm", "invalid-value", fmt.Sprintf("%q is no realm", b.Realm),
			fmt.Sprintf("at most %d printable ASCII characters, without quotes and backslashes", maxRealm))
	}
	if len(b.Users) == 0 && b.Htpasswd == nil {
		c.fail(at, "required", "there are no users", "set users or htpasswd")
	}
	seen := map[string]bool{}
	for i := range b.Users {
		u, item := &b.Users[i], index(at+".users", i)
		switch {
		case !c.required(item+".name", u.Name):
		case !c.text(item+".name", u.Name):
		case strings.Contains(u.Name, ":"):
			c.fail(item+".name", "invalid-value", "a user name with a colon can't be sent: the first one ends it (RFC 7617 2)", "")
		case seen[u.Name]:
			c.fail(item+".name", "duplicate-value", u.Name+" is given twice", "")
		}
		seen[u.Name] = true
		if c.required(item+".hash", u.Hash) {
			c.passwordHash(item+".hash", u.Hash)
		}
		c.grants(item, &u.Grants)
	}
	if h := b.Htpasswd; h != nil {
		c.required(at+".htpasswd.file", h.File)
		c.grants(at+".htpasswd", &h.Grants)
	}
}

var (
	bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	argonHash  = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,3}),p=([1-9][0-9]{0,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
)

// passwordHash takes the forms that extauthz/basic verifies, and no weaker ones.
func (c *checker) passwordHash(at, hash string) {
	if m := bcryptHash.FindStringSubmatch(hash); m != nil {
		if m[1] < "04" || m[1] > "13" {
			c.fail(at, "out-of-range", "a bcrypt hash of cost "+m[1], "from 04 to 13: more takes longer than a request may wait")
		}
		return
	}
	m := argonHash.FindStringSubmatch(hash)
	if m == nil {
		c.fail(at, "weak-hash", "neither a bcrypt ($2a$, $2b$, $2y$) nor an argon2id hash ($argon2id$v=19$)", hashHint)
		return
	}
	memory, passes, lanes := number(m[1]), number(m[2]), number(m[3])
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(m[4])
	tag, tagErr := base64.RawStdEncoding.Strict().DecodeString(m[5])
	switch {
	case memory > maxArgonMemory || memory*passes > maxArgonWork || lanes > maxArgonLanes:
		c.fail(at, "out-of-range", "the argon2id hash costs more than a request may wait for",
			fmt.Sprintf("m at most %d, m times t at most %d, p at most %d", maxArgonMemory, maxArgonWork, maxArgonLanes))
	case memory < 8*lanes:
		c.fail(at, "out-of-range", "the argon2id hash has less memory than its lanes need", "m at least 8 times p (RFC 9106 3.1)")
	case saltErr != nil || tagErr != nil || len(salt) < minArgonSalt || len(salt) > maxArgonBytes || len(tag) < minArgonTag || len(tag) > maxArgonBytes:
		c.fail(at, "invalid-value", "the argon2id hash has a damaged or short salt or tag", hashHint)
	}
}

// number of digits that an expression has found; what does not fit is too large for any limit.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 1 << 40
	}
	return n
}

var (
	keyPrefix = regexp.MustCompile(`^[A-Za-z0-9]{2,16}$`)
	keyID     = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
)

func (c *checker) keyUsers(at string, k *APIKeyCredentials) {
	if k.Prefix != "" && !keyPrefix.MatchString(k.Prefix) {
		c.fail(at+".prefix", "invalid-value", "not the prefix of keys", "2 to 16 letters and digits")
	}
	if len(k.Keys) == 0 {
		c.fail(at+".keys", "required", "there are no keys", "make one with `credence credentials api-key`")
	}
	ids, sums := map[string]bool{}, map[string]bool{}
	for i := range k.Keys {
		e, item := &k.Keys[i], index(at+".keys", i)
		switch {
		case e.ID == "":
		case !keyID.MatchString(e.ID):
			c.fail(item+".id", "invalid-value", "not the id of a key", "1 to 64 letters and digits")
		case k.Prefix == "":
			c.fail(item+".id", "conflict", "keys with an id begin with a prefix, and there is none", "set spec.apiKeys.prefix")
		case ids[e.ID]:
			c.fail(item+".id", "duplicate-value", e.ID+" is given twice", "")
		}
		if c.required(item+".sha256", e.SHA256) {
			raw, err := hex.DecodeString(e.SHA256)
			switch {
			case err != nil || len(raw) != 32 || strings.ToLower(e.SHA256) != e.SHA256:
				c.fail(item+".sha256", "invalid-value", "not a SHA-256 in lower-case hex", "what `printf %s KEY | sha256sum` prints; never the key itself")
			case sums[e.SHA256]:
				c.fail(item+".sha256", "duplicate-value", "the same key is given twice", "")
			}
		}
		ids[e.ID], sums[e.SHA256] = true, true
		if c.required(item+".subject", e.Subject) {
			c.text(item+".subject", e.Subject)
		}
		c.moment(item+".expires", e.Expires)
		c.grants(item, &e.Grants)
	}
}

func (c *checker) grants(at string, g *Grants) {
	c.scopes(at+".scopes", g.Scopes)
	c.words(at+".roles", g.Roles)
	c.words(at+".groups", g.Groups)
}

// words are names without repeats.
func (c *checker) words(at string, values []string) {
	for i, v := range values {
		switch item := index(at, i); {
		case !c.required(item, v):
		case !c.text(item, v):
		case slices.Contains(values[:i], v):
			c.fail(item, "duplicate-value", v+" is given twice", "")
		}
	}
}

// text is a name that goes into headers and logs.
func (c *checker) text(at, value string) bool {
	good := len(value) <= maxUserName && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
	if !good {
		c.fail(at, "invalid-value", "not a name", fmt.Sprintf("at most %d bytes of UTF-8 without control characters", maxUserName))
	}
	return good
}
