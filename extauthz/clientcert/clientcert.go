package clientcert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Reasons: stable codes for logs and metrics.
const (
	ReasonMalformed  = "certificate_malformed"
	ReasonUntrusted  = "certificate_untrusted"   // no CA of the Credentials has signed it, it is out of time, or it is for another use
	ReasonSubject    = "certificate_subject"     // not exactly one subject of the kind, or an odd one
	ReasonNotAllowed = "certificate_not_allowed" // the subject is not listed
	ReasonCAs        = "certificate_cas"         // unavailable: the CAs are not known
	ReasonCanceled   = "canceled"
)

const (
	maxCertificate = 16 << 10
	factTime       = 30 * time.Second
	maxFacts       = 4096
)

// Options of a Verifier.
type Options struct {
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Verifier verifies client certificates. Safe for concurrent use; it starts nothing.
type Verifier struct {
	now   func() time.Time
	state atomic.Pointer[state]
}

type state struct{ users map[policy.Name]*users }

// users are the clients of one Credentials.
type users struct {
	conf policy.CertificateUsers
	name policy.Name
	cas  *authorities

	mu    sync.Mutex
	facts map[[sha256.Size]byte]fact
}

// fact is what a certificate said under some pool of CAs.
type fact struct {
	user  *decide.User
	pool  *pool
	until time.Time
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

// Publish makes all the Credentials whose certificates are verified from now on. Calls do not overlap.
func (v *Verifier) Publish(all []policy.Credentials) {
	old, next := v.state.Load(), map[policy.Name]*users{}
	for i := range all {
		c := &all[i]
		if c.Certificates == nil {
			continue
		}
		u := &users{conf: *c.Certificates, name: c.Name, facts: map[[sha256.Size]byte]fact{}}
		if before := old.users[c.Name]; before != nil && before.conf.CAFile == u.conf.CAFile {
			u.cas = before.cas
		} else {
			u.cas = &authorities{file: u.conf.CAFile}
		}
		_, _ = u.cas.pool(v.now()) // read ahead; the error is that of the next Verify
		next[c.Name] = u
	}
	v.state.Store(&state{users: next})
}

// Snapshot verifies by one configuration, whatever is published later. CA files are always those of now.
type Snapshot struct {
	v  *Verifier
	st *state
}

// Snapshot is the configuration that was published last.
func (v *Verifier) Snapshot() Snapshot { return Snapshot{v: v, st: v.state.Load()} }

// Verify tells whose certificate raw is, the URL-encoded PEM of a leaf, by the first of accepted that takes it. Errors are of package
// credential.
func (s Snapshot) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	if len(raw) > maxCertificate {
		return nil, credential.Invalid(ReasonMalformed, "over %d bytes", maxCertificate)
	}
	now, sum := s.v.now(), sha256.Sum256([]byte(raw))
	var leaf *x509.Certificate
	var first error
	for n, name := range accepted {
		u := s.st.users[name]
		if u == nil {
			return nil, credential.Unavailable(ReasonCAs, "Credentials %s are not known", name)
		}
		p, err := u.cas.pool(now)
		if err != nil {
			return nil, err
		}
		if user := u.known(sum, p, now); user != nil {
			return user, ended(ctx)
		}
		if leaf == nil {
			if leaf, err = parse(raw); err != nil {
				return nil, err
			}
		}
		user, err := u.verify(leaf, p, now)
		if err == nil {
			u.keep(sum, fact{user: user, pool: p, until: minTime(now.Add(factTime), leaf.NotAfter)}, now)
			return user, ended(ctx)
		}
		if n == 0 {
			first = err
		}
	}
	if first == nil {
		return nil, credential.Unavailable(ReasonCAs, "no Credentials are accepted")
	}
	return nil, first
}

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return credential.Unavailable(ReasonCanceled, "%v", err)
	}
	return nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func parse(raw string) (*x509.Certificate, error) {
	text, err := url.PathUnescape(raw)
	if err != nil {
		return nil, credential.Invalid(ReasonMalformed, "not URL-encoded")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		return nil, credential.Invalid(ReasonMalformed, "not one certificate in PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, credential.Invalid(ReasonMalformed, "not a certificate")
	}
	return leaf, nil
}

// verify checks chain, time, use (RFC 5280 §4.2.1.12: clientAuth) and subject.
func (u *users) verify(leaf *x509.Certificate, p *pool, now time.Time) (*decide.User, error) {
	if leaf.IsCA {
		return nil, credential.Invalid(ReasonUntrusted, "a CA's own certificate")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: p.roots, Intermediates: p.intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return nil, credential.Invalid(ReasonUntrusted, "no CA of %s has signed it, or it is out of time or for another use", u.name)
	}
	subject, err := subjectOf(leaf, u.conf.Subject)
	if err != nil {
		return nil, err
	}
	if len(u.conf.Allowed) > 0 && !slices.Contains(u.conf.Allowed, subject) {
		return nil, credential.Invalid(ReasonNotAllowed, "its subject is not one of those of %s", u.name)
	}
	g := u.conf.Grants
	return &decide.User{
		Issuer: u.name, IssuerURL: "credentials/" + u.name.String(), Subject: subject, Expires: leaf.NotAfter, IssuedAt: leaf.NotBefore,
		Credential: policy.ClientCertificate, Origin: policy.ClientCertificate, Scopes: g.Scopes, Roles: g.Roles, Groups: g.Groups,
	}, nil
}

// subjectOf is the one name of the kind. Several are refused: another reader could choose another one.
func subjectOf(leaf *x509.Certificate, kind policy.CertificateSubject) (string, error) {
	var all []string
	switch kind {
	case policy.SubjectURI:
		for _, u := range leaf.URIs {
			all = append(all, u.String())
		}
	case policy.SubjectDNS:
		all = leaf.DNSNames
	case policy.SubjectEmail:
		all = leaf.EmailAddresses
	case policy.SubjectCommonName:
		for _, attribute := range leaf.Subject.Names {
			if attribute.Type.String() == "2.5.4.3" {
				text, _ := attribute.Value.(string)
				all = append(all, text)
			}
		}
	}
	if len(all) != 1 || !plain(all[0]) {
		return "", credential.Invalid(ReasonSubject, "%d names of the kind that is asked for, or an odd one", len(all))
	}
	return all[0], nil
}

// plain: no control characters, no NUL, nothing outside ASCII that looks like something else.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 1024
}

func (u *users) known(sum [sha256.Size]byte, p *pool, now time.Time) *decide.User {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f, ok := u.facts[sum]; ok && f.pool == p && now.Before(f.until) {
		return f.user
	}
	return nil
}

func (u *users) keep(sum [sha256.Size]byte, f fact, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.facts) >= maxFacts {
		for k, old := range u.facts {
			if !now.Before(old.until) || old.pool != f.pool {
				delete(u.facts, k)
			}
		}
		if len(u.facts) >= maxFacts {
			clear(u.facts)
		}
	}
	u.facts[sum] = f
}
