package ads

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Rejection is a response that a proxy refused (NACK).
type Rejection struct {
	Proxy   policy.ProxyID `json:"proxy"`
	TypeURL string         `json:"typeURL"`
	// Version of the type's content that was refused.
	Version string `json:"version"`
	// Names of the resources of the response that the proxy had not acknowledged before, sorted: one of them is to blame. Envoy's
	// message often names none.
	Names   []string  `json:"names"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// TypeStatus is what is known of one type at one proxy. Versions are View.Version.
type TypeStatus struct {
	TypeURL string `json:"typeURL"`
	Sent    string `json:"sent,omitempty"`
	Acked   string `json:"acked,omitempty"`
	// Rejected is the last refusal, until a response of the type is acknowledged that has other content.
	Rejected *Rejection `json:"rejected,omitempty"`
}

// ProxyStatus is what is known of one proxy.
type ProxyStatus struct {
	Proxy policy.ProxyID `json:"proxy"`
	// Generation of the view that is offered; 0: none yet.
	Generation uint64 `json:"generation"`
	// Acknowledged is the newest generation that all streams of the proxy run completely; 0: none since it connected.
	Acknowledged uint64 `json:"acknowledged"`
	// Streams that are open; ConnectedSince is the start of the oldest one, zero when there is none.
	Streams        int       `json:"streams"`
	ConnectedSince time.Time `json:"connectedSince,omitzero"`
	// EnvoyVersion as the proxy states it ("1.40.0"), of the newest stream.
	EnvoyVersion string `json:"envoyVersion,omitempty"`
	// Types by Types.
	Types []TypeStatus `json:"types,omitempty"`
}

// proxy is the record of one proxy. Its lock is Server.mu: every touch is short.
type proxy struct {
	id         policy.ProxyID
	view       *View
	generation uint64
	streams    map[*stream]*streamState
	version    string
	types      map[string]TypeStatus
	past       past
	// reported is the generation last given to Options.Acknowledged since a stream was opened.
	reported uint64
}

// streamState is what the server keeps of an open stream.
type streamState struct {
	since time.Time
	acked uint64
}

func newProxy(id policy.ProxyID) *proxy {
	return &proxy{
		id: id, streams: map[*stream]*streamState{}, types: map[string]TypeStatus{},
		past: past{refused: map[string]refusal{}},
	}
}

// acknowledged is 0 unless every open stream acknowledged something.
func (p *proxy) acknowledged() uint64 {
	if len(p.streams) == 0 {
		return 0
	}
	var generations []uint64
	for _, s := range p.streams {
		generations = append(generations, s.acked)
	}
	return slices.Min(generations)
}

func (p *proxy) sent(url, version string) {
	t := p.types[url]
	t.TypeURL, t.Sent = url, version
	p.types[url] = t
}

func (p *proxy) acked(o outcome) {
	t := p.types[o.typeURL]
	t.TypeURL, t.Acked = o.typeURL, o.view
	if past, ok := p.past.refused[o.typeURL]; ok && past.content != o.content {
		delete(p.past.refused, o.typeURL)
		t.Rejected = nil
	}
	p.types[o.typeURL] = t
}

func (p *proxy) refused(o outcome, r Rejection) {
	p.past.refused[o.typeURL] = refusal{content: o.content, versions: o.versions}
	t := p.types[o.typeURL]
	t.TypeURL, t.Rejected = o.typeURL, &r
	p.types[o.typeURL] = t
}

func (p *proxy) status() ProxyStatus {
	s := ProxyStatus{
		Proxy: p.id, Generation: p.generation, Acknowledged: p.acknowledged(), Streams: len(p.streams), EnvoyVersion: p.version,
	}
	for _, state := range p.streams {
		if s.ConnectedSince.IsZero() || state.since.Before(s.ConnectedSince) {
			s.ConnectedSince = state.since
		}
	}
	for _, url := range Types() {
		if t, ok := p.types[url]; ok {
			s.Types = append(s.Types, t)
		}
	}
	return s
}

// clone so that a stream may read it without the lock.
func (p past) clone() past {
	return past{refused: maps.Clone(p.refused), unsettled: p.unsettled}
}

func sortStatus(all []ProxyStatus) {
	slices.SortFunc(all, func(a, b ProxyStatus) int { return cmp.Compare(a.Proxy, b.Proxy) })
}
