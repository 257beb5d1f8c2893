package introspect

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/policy"
)

// Status is what is known of one issuer's introspection.
type Status struct {
	Issuer policy.Name
	URL    string
	// Answered is when the server gave a sound answer last, Failed when it last gave none; zero: never.
	Answered, Failed time.Time
	// Failure of the last question; empty after a good one.
	Failure string
	// Local is what on this machine keeps the server from being asked now; empty: nothing.
	Local string
}

// Status of all issuers, by name. It reads their files.
func (v *Verifier) Status() []Status {
	all := v.all()
	out := make([]Status, 0, len(all))
	for _, e := range all {
		e.mu.Lock()
		h := e.health
		e.mu.Unlock()
		out = append(out, Status{Issuer: e.name, URL: e.conf.URL, Answered: h.answered, Failed: h.failed, Failure: h.failure, Local: e.local()})
	}
	return out
}

func (v *Verifier) all() []*endpoint {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.SortedFunc(maps.Values(v.endpoints), func(a, b *endpoint) int { return strings.Compare(a.name.String(), b.name.String()) })
}

// result of one question.
type result int

const (
	// resultActive: the token is good. resultRefused: it is not, or not for us.
	resultActive result = iota
	resultRefused
	// resultFailed: no sound answer. resultBusy and resultLimited: not asked.
	resultFailed
	resultBusy
	resultLimited
	results
)

func (r result) String() string {
	return [...]string{"active", "refused", "failed", "busy", "limited"}[r]
}

type counts struct{ n [results]atomic.Uint64 }

func (c *counts) add(r result) { c.n[r].Add(1) }

var _ prometheus.Collector = (*Verifier)(nil)

// Metrics of each issuer; the label is namespace/name of its TokenIssuer.
var (
	questionsDesc = prometheus.NewDesc("credence_introspections_total", "Opaque tokens that were not cached, by what came of the question.",
		[]string{"issuer", "result"}, nil)
	answeredDesc = prometheus.NewDesc("credence_introspection_last_success_timestamp_seconds",
		"When the issuer last gave a sound answer about a token; absent: never.", []string{"issuer"}, nil)
)

// Describe implements prometheus.Collector.
func (v *Verifier) Describe(out chan<- *prometheus.Desc) {
	out <- questionsDesc
	out <- answeredDesc
}

// Collect implements prometheus.Collector.
func (v *Verifier) Collect(out chan<- prometheus.Metric) {
	for _, e := range v.all() {
		for r := range results {
			out <- prometheus.MustNewConstMetric(questionsDesc, prometheus.CounterValue, float64(e.counts.n[r].Load()), e.name.String(), r.String())
		}
		e.mu.Lock()
		at := e.health.answered
		e.mu.Unlock()
		if !at.IsZero() {
			out <- prometheus.MustNewConstMetric(answeredDesc, prometheus.GaugeValue, float64(at.Unix()), e.name.String())
		}
	}
}
