package jwks

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/policy"
)

// Status is what is known of one issuer's keys.
type Status struct {
	Issuer policy.Name
	// Keys that can verify; 0: tokens of the issuer can't be verified.
	Keys int
	// Had tells that there were keys at some time since the issuer was configured this way.
	Had bool
	// Updated is when the keys were last read well, by an earlier process too; zero: never.
	Updated time.Time
	// Until is when they stop being trusted unless they are read again; zero: never.
	Until time.Time
	// Next is when the issuer is asked again; zero: keys that are not fetched.
	Next time.Time
	// Restored tells that the keys come from the disk and the issuer has not been reached since the start.
	Restored bool
	// Failure of the last read, empty after a good one.
	Failure string
	// Skipped keys of the document, with the reason.
	Skipped []string
}

// Status of all issuers, by name.
func (k *Keys) Status() []Status {
	sources := k.all()
	out := make([]Status, 0, len(sources))
	for _, s := range sources {
		st := Status{Issuer: s.name, Had: s.health.had.Load()}
		if l := s.current.Load(); l != nil {
			st.Updated, st.Until, st.Restored = l.at, l.until, l.restored
		}
		if set := s.Set(); set != nil {
			st.Keys, st.Skipped = set.Len(), set.Skipped()
		}
		if f := s.health.failure.Load(); f != nil {
			st.Failure = f.text
		}
		if next := s.health.next.Load(); next != nil {
			st.Next = *next
		}
		out = append(out, st)
	}
	return out
}

func (k *Keys) all() []*Source {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*Source, 0, len(k.sources))
	for _, s := range k.sources {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *Source) int { return strings.Compare(a.name.String(), b.name.String()) })
	return out
}

// fetchResult of one fetch of keys.
type fetchResult int

const (
	fetchChanged fetchResult = iota
	fetchUnchanged
	fetchFailed
	fetchResults
)

func (r fetchResult) String() string {
	return [...]string{"ok", "not_modified", "failed"}[r]
}

// counts of one issuer. They outlive its Source.
type counts struct {
	fetches [fetchResults]atomic.Uint64
	unknown [answers]atomic.Uint64
}

var _ prometheus.Collector = (*Keys)(nil)

// Metrics of each issuer; the label is namespace/name of its TokenIssuer.
var (
	keysDesc    = prometheus.NewDesc("credence_issuer_keys", "Keys that can verify tokens of the issuer now.", []string{"issuer"}, nil)
	successDesc = prometheus.NewDesc("credence_issuer_last_success_timestamp_seconds",
		"When the issuer's keys were last read well; absent: never.", []string{"issuer"}, nil)
	untilDesc = prometheus.NewDesc("credence_issuer_stale_timestamp_seconds",
		"When the issuer's keys stop being trusted unless they are read again; absent: never.", []string{"issuer"}, nil)
	fetchesDesc = prometheus.NewDesc("credence_issuer_fetches_total", "Fetches of the issuer's keys, by result.", []string{"issuer", "result"}, nil)
	unknownDesc = prometheus.NewDesc("credence_issuer_unknown_kid_total",
		"Tokens with a kid that the keys in use did not have, by what came of it.", []string{"issuer", "answer"}, nil)
)

// Describe implements prometheus.Collector.
func (k *Keys) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keysDesc, successDesc, untilDesc, fetchesDesc, unknownDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (k *Keys) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, issuer string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, issuer)
	}
	for _, s := range k.all() {
		name, n := s.name.String(), 0
		if set := s.Set(); set != nil {
			n = set.Len()
		}
		gauge(keysDesc, float64(n), name)
		if l := s.current.Load(); l != nil {
			gauge(successDesc, float64(l.at.Unix()), name)
			if !l.until.IsZero() {
				gauge(untilDesc, float64(l.until.Unix()), name)
			}
		}
		if !s.remote() {
			continue
		}
		for r := range fetchResults {
			out <- prometheus.MustNewConstMetric(fetchesDesc, prometheus.CounterValue, float64(s.counts.fetches[r].Load()), name, r.String())
		}
		for a := answerFound; a < answers; a++ {
			out <- prometheus.MustNewConstMetric(unknownDesc, prometheus.CounterValue, float64(s.counts.unknown[a].Load()), name, a.String())
		}
	}
}
