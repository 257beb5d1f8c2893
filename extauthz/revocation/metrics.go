package revocation

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	kept, manifests prometheus.Gauge
	seconds         prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "credence_revocations", Help: "Revocations in force, by where they are from: command (credence revoke) or manifest.",
	}, []string{"source"})
	m := &metrics{
		kept: gauge.WithLabelValues("command"), manifests: gauge.WithLabelValues("manifest"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "credence_revocation_seconds", Help: "From a revocation's arrival until it is on disk and every later Check is refused by it.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{gauge, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
