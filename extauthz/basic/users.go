package basic

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// account is one user with a password. It is not changed.
type account struct {
	user *decide.User
	// text is the hash as it was written.
	text string
	hash *passwordHash
}

// book is all users of one Credentials at one time. It is not changed.
type book struct {
	byName map[string]*account
	// all is in a fixed order; nobody's names are among them.
	all []*account
	// unusable says why nothing can be told; empty: it can.
	unusable string
	// problem is what an operator should mend, also where the last good content is in use.
	problem string
}

// source is the htpasswd file of one Credentials. Verifier.publishing guards it.
type source struct {
	path string
	// seen is what was read last, good or not; settled: it was the same at the read before.
	seen    []byte
	settled bool
	// entries of the last good content; nil: there was none.
	entries []entry
	err     error
}

// look reads the file and tells whether anything changed. A content that has just changed may be half of one: it counts when it is still
// the same at the next look, unless there is nothing else.
func (s *source) look() bool {
	text, err := readFile(s.path)
	if err != nil {
		changed := s.err == nil || s.err.Error() != err.Error()
		s.err, s.seen, s.settled = err, nil, false
		return changed
	}
	if !bytes.Equal(text, s.seen) || s.seen == nil {
		s.seen, s.settled = text, false
		if s.entries != nil {
			return false
		}
	} else if s.settled {
		return false
	} else {
		s.settled = true
	}
	entries, err := parseFile(s.path, text)
	if s.err = err; err == nil {
		s.entries = entries
	}
	return true
}

// users are those of one Credentials.
type users struct {
	conf policy.Credentials
	file *source // nil: none
	book atomic.Pointer[book]
}

// write makes the book anew.
func (u *users) write() {
	b := &book{byName: map[string]*account{}}
	defer u.book.Store(b)
	for i := range u.conf.Users {
		in := &u.conf.Users[i]
		h, err := parseHash(in.Hash)
		if err != nil {
			b.unusable = fmt.Sprintf("the hash of user %s cannot be used: %v", in.Name, err)
			b.problem = b.unusable
			return
		}
		b.add(u.account(in.Name, in.Hash, h, &in.Grants))
	}
	if u.file == nil {
		return
	}
	if u.file.err != nil {
		b.problem = u.file.err.Error()
	}
	if u.file.entries == nil {
		b.unusable = b.problem
		return
	}
	for i := range u.file.entries {
		e := &u.file.entries[i]
		if b.byName[e.name] != nil {
			// Two passwords for one name: which one the operator means can't be told, so neither is taken.
			b.remove(e.name)
			b.problem = (&LineError{File: u.file.path, Line: e.line, Message: "the user is in spec.basic.users too: nobody of that name gets in"}).Error()
			continue
		}
		b.add(u.account(e.name, e.text, e.hash, &u.conf.Htpasswd.Grants))
	}
}

func (b *book) add(a *account) {
	b.byName[a.user.Subject] = a
	b.all = append(b.all, a)
}

func (b *book) remove(name string) {
	kept := b.all[:0]
	for _, a := range b.all {
		if a.user.Subject != name {
			kept = append(kept, a)
		}
	}
	b.all = kept
	delete(b.byName, name)
}

func (u *users) account(name, text string, h *passwordHash, g *policy.Grants) *account {
	return &account{text: text, hash: h, user: &decide.User{
		Issuer: u.conf.Name, IssuerURL: "credentials/" + u.conf.Name.String(), Subject: name,
		Credential: policy.Basic, Origin: policy.Basic, Scopes: g.Scopes, Roles: g.Roles, Groups: g.Groups,
	}}
}
