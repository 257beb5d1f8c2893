package extauthz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// maxLoggedPath bounds the path in a log record.
const maxLoggedPath = 1024

type metrics struct {
	checks *prometheus.CounterVec
	// allowed is the one of checks that counts most.
	allowed prometheus.Counter
	seconds prometheus.Histogram
	panics  prometheus.Counter
	retired prometheus.Gauge
	audits  *audits
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		audits: newAudits(),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "credence_check_total",
			Help: "Checks by class of the answer and reason.",
		}, []string{"class", "reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "credence_check_seconds", Help: "Time that a Check took.",
			Buckets: []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1},
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "credence_check_panics_total",
			Help: "Checks that were refused because of a programming error.",
		}),
		retired: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "credence_check_retired_routes",
			Help: "Route ids that are gone from the configuration and not yet forgotten.",
		}),
	}
	m.allowed = m.checks.WithLabelValues(classAllowed, decide.Allowed.String())
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.checks, m.seconds, m.panics, m.retired, m.audits.total} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

const classAllowed = "allowed"

// class of the answer, for logs and metrics.
func (o *outcome) class() string {
	switch o.kind {
	case decided:
		if o.decision.Allowed() {
			return classAllowed
		}
		return "forbidden"
	case unauthorized:
		return "unauthorized"
	case badRequest:
		return "bad_request"
	case unavailable:
		return "unavailable"
	case limited:
		return "limited"
	case aborted:
		return "error"
	case forbidden:
		return "forbidden"
	}
	return "forbidden"
}

// record writes the decision log and counts. Neither ever sees a token, a claim or a query.
func (s *Server) record(ctx context.Context, c *check) {
	took, o, reason := s.now().Sub(c.started), &c.outcome, c.reason()
	if class := o.class(); class == classAllowed && reason == decide.Allowed.String() {
		s.metrics.allowed.Inc()
	} else {
		s.metrics.checks.WithLabelValues(class, reason).Inc()
	}
	s.metrics.audits.count(o.decision.Audit)
	s.metrics.seconds.Observe(took.Seconds())
	level := slog.LevelInfo
	if o.kind == unavailable || o.kind == aborted {
		level = slog.LevelWarn
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	var room [24]slog.Attr
	attrs := room[:0]
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("decision", c.id)
	add("class", o.class())
	add("reason", reason)
	add("proxy", string(c.proxy))
	if c.route != nil {
		add("route", c.route.Origin())
	} else {
		add("route_id", string(c.routeID))
	}
	add("method", c.method)
	add("host", c.host)
	add("path", c.path[:min(len(c.path), maxLoggedPath)])
	add("peer", c.peer)
	if c.presented.kind != policy.NoCredential {
		add("credential", c.presented.kind.String())
	}
	add("revocation", c.revocation)
	if c.user != nil {
		add("subject", c.user.Subject)
		add("issuer", c.user.IssuerURL)
		add("client", c.user.Client)
		add("principal", principal(c.user))
	}
	if o.decision.Policy.Name != "" {
		add("policy", o.decision.Policy.String())
	}
	add("rule", o.decision.Rule)
	add("missing_scopes", strings.Join(o.decision.MissingScopes, " "))
	add("detail", c.detail())
	add("audit", auditText(o.decision.Audit))
	// What a verifier says beside its code and detail is for no log: it may be about a token.
	if o.err != nil && !errors.Is(o.err, credential.ErrInvalid) && !errors.Is(o.err, credential.ErrUnavailable) && !errors.Is(o.err, credential.ErrLimited) {
		add("error", o.err.Error())
	}
	attrs = append(attrs, slog.Int64("us", took.Microseconds()))
	// The Logger would look up the line of code that calls it, which is the same for all records.
	r := slog.NewRecord(c.started.Add(took), level, "check", 0)
	r.AddAttrs(attrs...)
	_ = s.log.Handler().Handle(ctx, r) // the Logger drops the error too: there is nowhere to write it to
}

// reason is the outcome's, with what the verifier says.
func (c *check) reason() string {
	if detail := credential.Reason(c.outcome.err); detail != "" {
		return c.outcome.reason + ":" + detail
	}
	return c.outcome.reason
}

// detail is for operators.
func (c *check) detail() string {
	return cmp.Or(c.outcome.decision.Detail, credential.Detail(c.outcome.err))
}

// auditText names what the audit rules would have done.
func auditText(hits []decide.AuditHit) string {
	words := make([]string, len(hits))
	for i, h := range hits {
		words[i] = actionWord(h.Action) + " " + h.Policy.String() + " " + h.Rule
	}
	return strings.Join(words, ", ")
}
