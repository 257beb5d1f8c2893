package ads

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	streams    prometheus.Gauge
	responses  *prometheus.CounterVec
	rejections *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "credence_ads_streams", Help: "Open streams of proxies.",
		}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "credence_ads_responses_total", Help: "Responses sent, by type of resource.",
		}, []string{"type"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "credence_ads_rejections_total", Help: "Responses that proxies refused, by type of resource.",
		}, []string{"type"}),
	}
	if r != nil {
		r.MustRegister(m.streams, m.responses, m.rejections)
	}
	return m
}

// typeLabel is the last part of a known type's name; clients choose type URLs, and must not choose label values.
func typeLabel(url string) string {
	if !slices.Contains(Types(), url) {
		return "other"
	}
	return url[strings.LastIndexByte(url, '.')+1:]
}
