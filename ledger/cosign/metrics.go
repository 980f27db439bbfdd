package cosign

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
)

// metrics are what a Collector shows. The label witness is a name of the policy.
type metrics struct {
	asked  *prometheus.CounterVec
	margin *prometheus.GaugeVec // without labels, so that it is absent before the first attempt
}

// The values of the label result.
const (
	resultOK       = "ok"
	resultConflict = "conflict" // the witness says that it knows another tree
	resultError    = "error"
)

func newMetrics() *metrics {
	return &metrics{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_ledger_witness_asked_total",
			Help: "How often a witness was asked for a cosignature, by result: ok, error, or conflict if it says that it knows another tree.",
		}, []string{"witness", "result"}),
		margin: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cairn_ledger_quorum_attempt_margin",
			Help: "How many more witnesses than the policy needs cosigned the checkpoint last attempted; negative if so many more are needed.",
		}, nil),
	}
}

// know shows a witness before it was asked.
func (m *metrics) know(witness string) {
	for _, r := range []string{resultOK, resultConflict, resultError} {
		m.asked.WithLabelValues(witness, r)
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	c.metrics.asked.Describe(ch)
	c.metrics.margin.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.metrics.asked.Collect(ch)
	c.metrics.margin.Collect(ch)
}

// attempted shows how far from the quorum the signatures of a checkpoint are.
func (c *Collector) attempted(sigs []note.Signature) {
	if margin, ok := c.cfg.Policy.Margin(sigs); ok {
		c.metrics.margin.WithLabelValues().Set(float64(margin))
	}
}

// asked counts an attempt to get a cosignature.
func (w *worker) asked(err error) {
	result := resultOK
	var conflict *errConflict
	switch {
	case errors.As(err, &conflict):
		result = resultConflict
	case err != nil:
		result = resultError
	}
	w.collector.metrics.asked.WithLabelValues(w.peer.witness.Name, result).Inc()
}
