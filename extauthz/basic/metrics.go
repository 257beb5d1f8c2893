package basic

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counts since the start.
type counts struct{ hashes, limited, busy atomic.Uint64 }

// Hashes is how many passwords have been hashed so far.
func (v *Verifier) Hashes() uint64 { return v.counts.hashes.Load() }

var _ prometheus.Collector = (*Verifier)(nil)

func descriptions() [2]*prometheus.Desc {
	return [2]*prometheus.Desc{
		prometheus.NewDesc("credence_basic_hashes_total", "Passwords that were hashed.", nil, nil),
		prometheus.NewDesc("credence_basic_not_hashed_total", "Passwords that were not looked at, by reason: limited (guesses at one name), busy.", []string{"reason"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (v *Verifier) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descriptions() {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (v *Verifier) Collect(out chan<- prometheus.Metric) {
	d := descriptions()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(d[0], v.counts.hashes.Load())
	counter(d[1], v.counts.limited.Load(), "limited")
	counter(d[1], v.counts.busy.Load(), "busy")
}
