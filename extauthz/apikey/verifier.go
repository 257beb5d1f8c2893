package apikey

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Reasons: stable codes for logs and metrics.
const (
	ReasonMalformed = "key_malformed" // too long, or characters that no key has
	ReasonShort     = "key_short"     // too short to hold 128 bits
	ReasonChecksum  = "key_checksum"  // of our form, and mistyped or made up
	ReasonUnknown   = "key_unknown"
	ReasonExpired   = "key_expired"
	ReasonUsers     = "key_users" // unavailable: the Credentials are not known
	ReasonCanceled  = "canceled"
)

const (
	maxKey = 512
	// minKey characters are the least that hold 128 bits, in the densest of usual alphabets.
	minKey = 20
)

// Options of a Verifier.
type Options struct {
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Verifier verifies API keys. Safe for concurrent use; it starts nothing.
type Verifier struct {
	now   func() time.Time
	state atomic.Pointer[state]
	// lookups is how often an entry was looked for.
	lookups atomic.Uint64
}

type state struct{ users map[policy.Name]*users }

// users are the keys of one Credentials.
type users struct {
	prefix string
	byID   map[string]*entry
	byHash map[[sha256.Size]byte]*entry
}

type entry struct {
	sum     [sha256.Size]byte
	expires time.Time
	user    *decide.User
}

// New makes a Verifier that knows nobody.
func New(o Options) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{now: o.Now}
	v.state.Store(&state{})
	return v
}

// Publish makes all the Credentials whose keys are verified from now on. An entry whose hash can't be read is nobody's. Calls do not overlap.
func (v *Verifier) Publish(all []policy.Credentials) {
	next := make(map[policy.Name]*users, len(all))
	for i := range all {
		c := &all[i]
		if len(c.APIKeys) == 0 {
			continue
		}
		u := &users{prefix: c.KeyPrefix, byID: map[string]*entry{}, byHash: map[[sha256.Size]byte]*entry{}}
		for j := range c.APIKeys {
			u.add(c, &c.APIKeys[j])
		}
		next[c.Name] = u
	}
	v.state.Store(&state{users: next})
}

func (u *users) add(c *policy.Credentials, k *policy.APIKeyEntry) {
	sum, err := hex.DecodeString(k.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return
	}
	e := &entry{sum: [sha256.Size]byte(sum), expires: k.Expires, user: &decide.User{
		Issuer: c.Name, IssuerURL: "credentials/" + c.Name.String(), Subject: k.Subject, Scopes: k.Scopes, Roles: k.Roles, Groups: k.Groups, Expires: k.Expires,
		Credential: policy.APIKey, Origin: policy.APIKey,
	}}
	if k.ID != "" {
		u.byID[k.ID] = e
		return
	}
	u.byHash[e.sum] = e
}

// Snapshot verifies by one configuration, whatever is published later. Safe for concurrent use.
type Snapshot struct {
	v  *Verifier
	st *state
}

// Snapshot is the configuration that was published last.
func (v *Verifier) Snapshot() Snapshot { return Snapshot{v: v, st: v.state.Load()} }

// Knows tells whether raw is an API key and no token: it has the form of the keys of one of accepted, good or not, or it is one of theirs.
func (s Snapshot) Knows(raw string, accepted []policy.Name) bool {
	if len(raw) > maxKey || len(raw) < minKey {
		return false
	}
	if f, ok := parse(raw); ok && s.hasPrefix(f.prefix, accepted) {
		return true
	}
	return s.byHash(raw, accepted) != nil
}

func (s Snapshot) hasPrefix(prefix string, accepted []policy.Name) bool {
	for _, name := range accepted {
		if u := s.st.users[name]; u != nil && u.prefix != "" && u.prefix == prefix {
			return true
		}
	}
	return false
}

// Verify tells whom the key raw speaks for, by the first of accepted that has it. The User is shared and must not be changed. Errors are of
// package credential; they hold nothing of the key. It does not block.
func (s Snapshot) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	if err := ctx.Err(); err != nil {
		return nil, credential.Unavailable(ReasonCanceled, "%v", err)
	}
	for _, name := range accepted {
		if s.st.users[name] == nil {
			return nil, credential.Unavailable(ReasonUsers, "the keys of Credentials %s are not known", name)
		}
	}
	switch {
	case len(accepted) == 0:
		return nil, credential.Unavailable(ReasonUsers, "no Credentials are accepted")
	case len(raw) > maxKey:
		return nil, credential.Invalid(ReasonMalformed, "over %d characters", maxKey)
	case !visible(raw):
		return nil, credential.Invalid(ReasonMalformed, "a character that no key has")
	case len(raw) < minKey:
		return nil, credential.Invalid(ReasonShort, "under %d characters", minKey)
	}
	e, err := s.find(raw, accepted)
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, credential.Invalid(ReasonUnknown, "no Credentials that are accepted have it")
	case !e.expires.IsZero() && !s.v.now().Before(e.expires):
		return nil, credential.Invalid(ReasonExpired, "expired at %s", e.expires.Format(time.RFC3339))
	}
	return e.user, nil
}

// find is the entry of raw; nil: there is none. A key of our form whose checksum is wrong is not looked for.
func (s Snapshot) find(raw string, accepted []policy.Name) (*entry, error) {
	f, ok := parse(raw)
	if !ok || !s.hasPrefix(f.prefix, accepted) {
		return s.byHash(raw, accepted), nil
	}
	if !f.sound(raw) {
		return nil, credential.Invalid(ReasonChecksum, "its checksum is wrong: it is mistyped or cut off")
	}
	s.v.lookups.Add(1)
	var room [maxKey]byte
	sum := sha256.Sum256(append(room[:0], raw...))
	for _, name := range accepted {
		u := s.st.users[name]
		if u.prefix != f.prefix {
			continue
		}
		if e := u.byID[f.id]; e != nil && subtle.ConstantTimeCompare(e.sum[:], sum[:]) == 1 {
			return e, nil
		}
	}
	return nil, nil
}

// byHash finds a key of any form. What is compared is a hash: how long that takes says nothing of any key.
func (s Snapshot) byHash(raw string, accepted []policy.Name) *entry {
	s.v.lookups.Add(1)
	var room [maxKey]byte
	sum := sha256.Sum256(append(room[:0], raw...))
	for _, name := range accepted {
		if u := s.st.users[name]; u != nil {
			if e := u.byHash[sum]; e != nil {
				return e
			}
		}
	}
	return nil
}

// visible: all characters are printable ASCII, and none is a blank.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
