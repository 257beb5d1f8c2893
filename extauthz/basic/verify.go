package basic

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"unicode"
	"unicode/utf8"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

var errEnded = errors.New("the hashing ended without an outcome")

// flight is one password on its way: whoever comes with the same one meanwhile waits for it.
type flight struct {
	done  chan struct{}
	right bool
	err   error
}

// What a mark stands for.
const (
	ofGuess byte = iota
	// ofStranger is a password for a hash that is not its name's: refused whatever it is, which must not count where it is.
	ofStranger
	ofName
)

// try is one Verify.
type try struct {
	name, password []byte
	// account that is hashed against. known: its user has that name, else the outcome is dropped.
	account *account
	known   bool
	guess   mark
	by      mark
}

// Verify tells whose name and password raw is, what follows "Basic ", among the users of accepted. Errors are of package credential. It
// may take as long as a hash and those that wait before it; where ctx ends meanwhile, the error is ErrUnavailable.
func (s Snapshot) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	sc, _ := s.v.scratch.Get().(*scratch)
	defer func() {
		sc.wipe()
		s.v.scratch.Put(sc)
	}()
	var t try
	var err error
	if t.name, t.password, err = decode(sc, raw); err != nil {
		return nil, err
	}
	ambiguous, err := s.find(sc, &t, accepted)
	if err != nil {
		return nil, err
	}
	right := false
	if t.account != nil {
		purpose := ofGuess
		if !t.known {
			purpose = ofStranger
		}
		t.guess = sc.mark(purpose, t.name, t.password, append(sc.hash[:0], t.account.text...))
		right, err = s.v.tell(ctx, &t)
	}
	switch {
	case ctx.Err() != nil:
		return nil, credential.Unavailable(ReasonCanceled, "%v", ctx.Err())
	case err != nil:
		return nil, err
	case ambiguous:
		return nil, credential.Invalid(ReasonAmbiguous, "several of the accepted Credentials have a user of that name")
	case !right:
		return nil, credential.Invalid(ReasonRefused, "no such user, or another password")
	}
	return t.account.user, nil
}

// decode splits a credential (RFC 7617 §2). One spelling of base64 is taken.
func decode(sc *scratch, raw string) (name, password []byte, err error) {
	if len(raw) > maxRaw {
		return nil, nil, credential.Invalid(ReasonMalformed, "over %d bytes", maxRaw)
	}
	for i := range len(raw) {
		if raw[i] == '\r' || raw[i] == '\n' { // which package base64 passes over
			return nil, nil, credential.Invalid(ReasonMalformed, "not base64")
		}
	}
	sc.in = append(sc.in[:0], raw...)
	text, err := base64.StdEncoding.Strict().AppendDecode(sc.text[:0], sc.in)
	if err != nil {
		return nil, nil, credential.Invalid(ReasonMalformed, "not base64")
	}
	name, password, ok := bytes.Cut(text, []byte{':'})
	switch {
	case !ok:
		return nil, nil, credential.Invalid(ReasonMalformed, "no colon")
	case len(name) == 0 || len(name) > maxName || len(password) > maxPassword:
		return nil, nil, credential.Invalid(ReasonMalformed, "no name, or one over %d bytes, or a password over %d", maxName, maxPassword)
	case !utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl):
		return nil, nil, credential.Invalid(ReasonMalformed, "not UTF-8, or control characters")
	}
	return name, password, nil
}

// find sets the account of t: that of the only user of its name, else one that the name picks.
func (s Snapshot) find(sc *scratch, t *try, accepted []policy.Name) (ambiguous bool, err error) {
	if len(accepted) == 0 {
		return false, credential.Unavailable(ReasonUsers, "no Credentials are accepted")
	}
	var room [4]*book
	books, total := room[:0], 0
	for _, name := range accepted {
		u := s.st.users[name]
		if u == nil {
			return false, credential.Unavailable(ReasonUsers, "Credentials %s are not known", name)
		}
		b := u.book.Load()
		if b.unusable != "" {
			return false, credential.Unavailable(ReasonUsers, "Credentials %s: %s", name, b.unusable)
		}
		books, total = append(books, b), total+len(b.all)
	}
	t.by = sc.mark(ofName, t.name, nil, nil)
	for _, b := range books {
		if a := b.byName[string(t.name)]; a != nil {
			ambiguous = t.account != nil
			if t.account, t.known = a, !ambiguous; ambiguous {
				break
			}
		}
	}
	if t.account != nil || total == 0 {
		return ambiguous, nil
	}
	pick := int(binary.BigEndian.Uint64(t.by[:]) % uint64(total)) //nolint:gosec // both are small
	for _, b := range books {
		if pick < len(b.all) {
			t.account = b.all[pick]
			break
		}
		pick -= len(b.all)
	}
	return false, nil
}

// tell whether the password is right for the account: from memory, or from whoever hashes it already, or by hashing it.
func (v *Verifier) tell(ctx context.Context, t *try) (right bool, err error) {
	for {
		now := v.now()
		v.mu.Lock()
		proven := within(v.memory.proven, t.guess, provenTime, now)
		if proven && within(v.memory.proven, t.guess, factTime, now) {
			v.mu.Unlock()
			return true, nil
		}
		if within(v.memory.wrong, t.guess, factTime, now) {
			v.mu.Unlock()
			return false, nil
		}
		f := v.underway[t.guess]
		if f == nil {
			// Guesses at a name are counted where it is known and where it is not.
			if !proven && !v.limiter.take(t.by, t.known, now) {
				v.mu.Unlock()
				v.counts.limited.Add(1)
				return false, credential.Limited(ReasonGuesses, "too many wrong passwords for one name: one more every %s", guessEvery)
			}
			f = &flight{done: make(chan struct{}), err: credential.Unavailable(ReasonUsers, "%v", errEnded)}
			v.underway[t.guess] = f
			v.mu.Unlock()
			v.fly(ctx, f, t, proven)
			return f.right, f.err
		}
		v.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return false, credential.Unavailable(ReasonCanceled, "%v", ctx.Err())
		}
		if credential.Reason(f.err) != ReasonCanceled {
			return f.right, f.err
		}
		// It was given up by whoever began it, and not by us.
	}
}

// fly hashes the password of f, and tells those who wait for it, whatever happens.
func (v *Verifier) fly(ctx context.Context, f *flight, t *try, proven bool) {
	hashed := false
	defer func() {
		v.mu.Lock()
		delete(v.underway, t.guess)
		if hashed {
			v.memory.keep(t.guess, f.right, v.now())
		}
		if !proven && (!hashed || f.right) {
			v.limiter.give(t.by) // it was no guess
		}
		v.mu.Unlock()
		close(f.done)
	}()
	gate, full, err := v.enter(ctx, proven)
	switch {
	case full:
		v.counts.busy.Add(1)
		f.err = credential.Unavailable(ReasonBusy, "too many passwords wait to be hashed")
		return
	case err != nil:
		f.err = credential.Unavailable(ReasonCanceled, "%v", err)
		return
	}
	defer gate.leave()
	v.counts.hashes.Add(1)
	// What a stranger's password came to is dropped here: remembered, it would tell of the user whose hash the name has picked.
	f.right = t.account.hash.matches(t.password) && t.known
	f.err, hashed = nil, true
}

// enter waits for a slot among strangers. Who was right within the hour takes a free one of theirs, else waits for the one that they don't get.
func (v *Verifier) enter(ctx context.Context, proven bool) (g *gate, full bool, err error) {
	if !proven {
		full, err = v.strangers.enter(ctx)
		return v.strangers, full, err
	}
	if ctx.Err() == nil && v.strangers.enterFree() {
		return v.strangers, false, nil
	}
	full, err = v.proven.enter(ctx)
	return v.proven, full, err
}
