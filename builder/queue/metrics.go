package queue

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds the count that a scrape makes.
const scrapeTimeout = 5 * time.Second

func newBuildsDesc() *prometheus.Desc {
	return prometheus.NewDesc("cairn_ledger_builds", "Builds in the queue by state; those that ended are kept for a while.", []string{"state"}, nil)
}

// Describe implements prometheus.Collector.
func (s *Service) Describe(c chan<- *prometheus.Desc) { c <- s.desc }

// Collect implements prometheus.Collector.
func (s *Service) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	counts, err := s.queue.Counts(ctx)
	if err != nil {
		c <- prometheus.NewInvalidMetric(s.desc, err)
		return
	}
	for _, state := range states() {
		c <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(counts[state]), state)
	}
}
