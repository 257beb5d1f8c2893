package txntoken

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
)

// KeysFile is the name of the file in KeysOptions.Dir.
const KeysFile = "internal-token-keys.json"

const (
	algorithm = "EdDSA"
	// maxLife of any token.
	maxLife = 300 * time.Second
	// keepAfter is how long a key is published once the last token that it can have signed has ended, and the most that it is before it signs.
	keepAfter     = 10 * time.Minute
	publishBefore = 10 * time.Minute
	// lookEvery is how often Run looks at the clock at the latest.
	lookEvery = time.Minute
)

var errNoKeys = errors.New("there is no key to sign internal tokens with")

// KeysOptions of Keys.
type KeysOptions struct {
	// Dir holds the file of the keys, 0600.
	Dir string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log is told of rotations, and of those that failed. Nil: nothing is.
	Log *slog.Logger
}

// Keys are the Ed25519 keys of internal tokens. They sign nothing else, so that no other token can pass for an internal one (RFC 8725 §3.11).
// Each is published before it signs and after it has signed, and outlives the process. Safe for concurrent use.
type Keys struct {
	path  string
	now   func() time.Time
	log   *slog.Logger
	woken chan struct{}

	changing sync.Mutex
	keys     []key
	every    time.Duration
	state    atomic.Pointer[published]
}

// published is what signs and what verifies at one moment. Immutable.
type published struct {
	keys     []signer
	document []byte
	set      *jwks.Set
}

// signer is one key, ready to sign.
type signer struct {
	id, header string
	private    ed25519.PrivateKey
	starts     time.Time
}

// OpenKeys reads the keys of an earlier run; a damaged file is ErrCorrupt and is left as it is. It makes no keys and starts nothing.
func OpenKeys(o KeysOptions) (*Keys, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keys{path: filepath.Join(o.Dir, KeysFile), now: o.Now, log: o.Log, woken: make(chan struct{}, 1)}
	keys, err := load(k.path)
	if err != nil {
		return nil, err
	}
	if err := k.publish(keys); err != nil {
		return nil, err
	}
	return k, nil
}

// Rotate says how long a key signs from now on, and makes the first one where there is none. 0: keys are neither made nor rotated.
func (k *Keys) Rotate(every time.Duration) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.every = every
	err := k.turn()
	select {
	case k.woken <- struct{}{}:
	default:
	}
	return err
}

// Run rotates the keys until ctx ends. Where a new key can't be saved, the old one signs on, and Run tries again.
func (k *Keys) Run(ctx context.Context) error {
	for {
		k.changing.Lock()
		err := k.turn()
		wait := k.wait()
		k.changing.Unlock()
		if err != nil {
			k.log.Error("internal token keys are not rotated", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-k.woken:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lead is how long a key is published before it signs.
func (k *Keys) lead() time.Duration { return min(publishBefore, k.every/3) }

func (k *Keys) wait() time.Duration {
	if k.every == 0 {
		return lookEvery
	}
	return max(min(lookEvery, k.lead()/4), time.Second/4)
}

// turn makes the key that is due and drops those whose time is over. k.changing is held.
func (k *Keys) turn() error {
	if k.every == 0 {
		return nil
	}
	now := k.now()
	next := slices.Clone(k.keys)
	// A clock that was put back must not end rotation until the time has come again.
	for i := range next {
		if limit := now.Add(k.lead()); next[i].Starts.After(limit) {
			next[i].Starts = limit
		}
	}
	// What a successor has replaced is kept while tokens of it can live, and then some.
	next = slices.DeleteFunc(next, func(old key) bool {
		i := slices.IndexFunc(next, func(e key) bool { return e.ID == old.ID })
		return i+1 < len(next) && now.After(next[i+1].Starts.Add(maxLife+keepAfter))
	})
	switch n := len(next); {
	case n == 0:
		next = append(next, newKey(now))
	case !next[n-1].Starts.Add(k.every - k.lead()).After(now):
		next = append(next, newKey(now.Add(k.lead())))
	}
	if slices.EqualFunc(next, k.keys, func(a, b key) bool { return a.ID == b.ID && a.Starts.Equal(b.Starts) }) {
		return nil
	}
	if err := save(k.path, next); err != nil {
		return err
	}
	last := next[len(next)-1]
	k.log.Info("internal token keys", "keys", len(next), "newest", last.ID, "signsFrom", last.Starts)
	return k.publish(next)
}

func newKey(starts time.Time) key {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // it never fails
	return key{ID: starts.UTC().Format("20060102T150405") + "-" + rand.Text()[:8], Seed: seed, Starts: starts}
}

type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// publish makes keys those that are in force. They have been saved.
func (k *Keys) publish(keys []key) error {
	p := &published{}
	document := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}}
	for i := range keys {
		private := ed25519.NewKeyFromSeed(keys[i].Seed)
		public, ok := private.Public().(ed25519.PublicKey)
		if !ok {
			return errNoKeys
		}
		header, err := json.Marshal(map[string]string{"typ": Type, "alg": algorithm, "kid": keys[i].ID})
		if err != nil {
			return err
		}
		p.keys = append(p.keys, signer{keys[i].ID, base64.RawURLEncoding.EncodeToString(header), private, keys[i].Starts})
		document.Keys = append(document.Keys, jwk{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(public), keys[i].ID, algorithm, "sig"})
	}
	var err error
	if p.document, err = json.Marshal(document); err != nil {
		return err
	}
	if len(keys) > 0 {
		if p.set, err = jwks.Parse(p.document, []string{algorithm}); err != nil {
			return err
		}
	}
	k.keys = keys
	k.state.Store(p)
	return nil
}

// JWKS is the public halves as a JWK Set (RFC 7517 §5, RFC 8037 §2): those that sign, will sign, and have signed what may still be on its way.
// It must not be changed. A copy may be used for as long as keep: a key that is published meanwhile does not sign before.
func (k *Keys) JWKS() (document []byte, keep time.Duration) {
	k.changing.Lock()
	defer k.changing.Unlock()
	return k.state.Load().document, min(time.Minute, k.lead()/2)
}

// signer is the newest key whose time has come.
func (k *Keys) signer(now time.Time) (*signer, error) {
	keys := k.state.Load().keys
	for i := len(keys) - 1; i >= 0; i-- {
		if !keys[i].starts.After(now) || i == 0 {
			return &keys[i], nil
		}
	}
	return nil, errNoKeys
}
