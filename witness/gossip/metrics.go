package gossip

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/witness/evidence"
)

// metrics are what /metrics shows of the gossip. Labels are origins and peers of
// the configuration.
type metrics struct {
	asks    *prometheus.CounterVec
	answers *prometheus.GaugeVec
	pushes  *prometheus.CounterVec
	dropped *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, n *Node) (*metrics, error) {
	m := &metrics{
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_witness_peer_requests_total",
			Help: "Requests to peers, by what was asked for, and ok or error.",
		}, []string{"peer", "what", "result"}),
		answers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cairn_witness_peer_answer_timestamp_seconds",
			Help: "When the peer last answered; 0 if it has not since the start.",
		}, []string{"peer"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_witness_pushes_total",
			Help: "Checkpoints and evidence pushed to peers and logs, ok or error.",
		}, []string{"what", "result"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_witness_unexplained_dropped_total",
			Help: "Checkpoints of unexplained sizes for which there was no room.",
		}, []string{"origin"}),
	}
	for _, p := range n.peers {
		m.answers.WithLabelValues(p.url).Set(0)
	}
	for _, o := range n.order {
		m.dropped.WithLabelValues(o.log.Origin)
	}
	for _, c := range []prometheus.Collector{m.asks, m.answers, m.pushes, m.dropped, heldCollector{n}} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func result(ok bool) string {
	if ok {
		return "ok"
	}
	return "error"
}

func (m *metrics) asked(p *peer, what string, err error, now time.Time) {
	m.asks.WithLabelValues(p.url, what, result(err == nil)).Inc()
	if err == nil {
		m.answers.WithLabelValues(p.url).Set(float64(now.Unix()))
	}
}

func (m *metrics) pushed(p parcel, ok bool) {
	what := "checkpoint"
	if p.hash != "" {
		what = "evidence"
	}
	m.pushes.WithLabelValues(what, result(ok)).Inc()
}

// heldCollector shows what a node holds.
type heldCollector struct{ n *Node }

var _ prometheus.Collector = heldCollector{}

func heldDescs() [3]*prometheus.Desc {
	return [3]*prometheus.Desc{
		prometheus.NewDesc("cairn_witness_evidence_records", "Evidence held, by origin and kind.", []string{"origin", "kind"}, nil),
		prometheus.NewDesc("cairn_witness_challenges_open", "Checkpoints that nobody explains.", []string{"origin"}, nil),
		prometheus.NewDesc("cairn_witness_unexplained_checkpoints", "Checkpoints that wait to be explained, challenges included.",
			[]string{"origin"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c heldCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range heldDescs() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c heldCollector) Collect(ch chan<- prometheus.Metric) {
	descs := heldDescs()
	for _, o := range c.n.order {
		// Zeros, too: an alert on what is not there yet cannot be tried.
		kinds := make(map[string]int)
		for _, kind := range evidence.Kinds() {
			kinds[string(kind)] = 0
		}
		open := 0
		o.mu.Lock()
		waiting := len(o.pending)
		for _, e := range o.evidence {
			kinds[string(e.Kind)]++
		}
		for _, p := range o.pending {
			if p.Opened != 0 {
				open++
			}
		}
		o.mu.Unlock()
		for kind, count := range kinds {
			ch <- prometheus.MustNewConstMetric(descs[0], prometheus.GaugeValue, float64(count), o.log.Origin, kind)
		}
		ch <- prometheus.MustNewConstMetric(descs[1], prometheus.GaugeValue, float64(open), o.log.Origin)
		ch <- prometheus.MustNewConstMetric(descs[2], prometheus.GaugeValue, float64(waiting), o.log.Origin)
	}
}
