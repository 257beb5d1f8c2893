package extauthz

import (
	"strings"
	"sync"
	"time"
)

// Why a peer is refused (403).
const (
	reasonPeerInvalid  = "peer_invalid"
	reasonPeerMismatch = "peer_mismatch"
	reasonPeerForeign  = "peer_trust_domain"
)

// Limits of the cache of parsed peer certificates.
const (
	peerCacheSize = 2048
	peerCacheTime = 30 * time.Second
	// peerCacheLen: a certificate that is longer than any of ours is read each time and takes no memory.
	peerCacheLen = 8 << 10
)

// peers turns certificates into SPIFFE IDs. It remembers facts (this certificate says this ID, or is not an SVID), bounded in
// number and time.
type peers struct {
	parse func(string) (string, error)
	now   func() time.Time

	mu        sync.RWMutex
	cur, prev map[string]peerFact
}

type peerFact struct {
	id    string
	err   error
	until time.Time
}

func newPeers(parse func(string) (string, error), now func() time.Time) *peers {
	return &peers{parse: parse, now: now, cur: map[string]peerFact{}}
}

// id is the SPIFFE ID of the connection's peer, "" where the connection has none. The certificate alone counts; the principal that
// the proxy has read from it must not say otherwise. On refusal the reason is set; err is for the log.
func (p *peers) id(certificate, principal, trust string) (id, reason string, err error) {
	if certificate == "" {
		if principal != "" {
			return "", reasonPeerMismatch, nil
		}
		return "", "", nil
	}
	f := p.fact(certificate)
	switch {
	case f.err != nil || f.id == "":
		return "", reasonPeerInvalid, f.err
	case principal != "" && principal != f.id:
		return "", reasonPeerMismatch, nil
	case !strings.HasPrefix(f.id, trust):
		return f.id, reasonPeerForeign, nil
	}
	return f.id, "", nil
}

func (p *peers) fact(certificate string) peerFact {
	now := p.now()
	p.mu.RLock()
	f, ok := p.cur[certificate]
	if !ok {
		f, ok = p.prev[certificate]
	}
	p.mu.RUnlock()
	if ok && now.Before(f.until) {
		return f
	}
	f.id, f.err = p.parse(certificate)
	f.until = now.Add(peerCacheTime)
	if len(certificate) > peerCacheLen {
		return f
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cur) >= peerCacheSize {
		p.prev, p.cur = p.cur, make(map[string]peerFact, peerCacheSize)
	}
	p.cur[strings.Clone(certificate)] = f
	return f
}
