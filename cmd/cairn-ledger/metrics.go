package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/torchwood"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/reason"
)

// scrapePatience bounds what a scrape of the metrics asks of storage.
const scrapePatience = 2 * time.Second

// watched is what is counted of a ledger's storage.
type watched struct {
	errors    *prometheus.CounterVec
	witnesses *cosign.Metrics
	evidence  string // the pattern of the files that prove a rollback; empty for none
	// epoch returns the epoch of this process's lease as publisher, 0 if another
	// publishes; nil for a log of which no other takes care.
	epoch func() int64
	// placed returns the number of entries that have an index; nil where that is the
	// size of the tree.
	placed func(context.Context) (uint64, error)
	// size returns the size of the tree, without any work on it; nil where the log
	// itself does.
	size func(context.Context) (uint64, error)
}

func newWatched(evidence string) *watched {
	w := &watched{
		witnesses: cosign.NewMetrics(),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_ledger_storage_errors_total",
			Help: "Failures of storage, by what was asked of it.",
		}, []string{"operation"}),
		evidence: evidence,
	}
	for _, op := range []string{
		"blobs.put", "index.lookup", "log.append", "log.place", "publish.archive", "publish.index", "publish.sign", "publish.store", "scrape",
	} {
		w.errors.WithLabelValues(op)
	}
	return w
}

// saw counts an error of storage. A refusal is none, nor is what nobody waits for any
// more.
func (w *watched) saw(operation string, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	if r, refused := reason.Of(err); refused && r.Reason != reason.StorageUnavailable && r.Reason != reason.InternalError {
		return
	}
	w.errors.WithLabelValues(operation).Inc()
}

// publicationStep traces a step of a publication, as part of the trace of what is
// published, and counts the failures of storage.
func (l *ledger) publicationStep(ctx context.Context, name string) (context.Context, func(error)) {
	var span observe.Span
	if name == "publish" {
		ctx, span = observe.StartFor(ctx, name, l.intake.Unpublished())
		return ctx, span.End
	}
	ctx, span = observe.Start(ctx, name)
	return ctx, func(err error) {
		switch name {
		case "publish.cosign", "publish.late": // witnesses', and those of the steps within
		default:
			l.watched.saw(name, err)
		}
		span.End(err)
	}
}

// collectors returns the metrics of the ledger's parts.
func (l *ledger) collectors(s *storage) []prometheus.Collector {
	return []prometheus.Collector{l.watched.errors, l.watched.witnesses, &gauges{ledger: l, storage: s, cosigned: make(map[string]int64)}}
}

// gauges reads what it shows from where it is: nothing has to be kept in step.
type gauges struct {
	ledger  *ledger
	storage *storage

	mu       sync.Mutex
	cosigned map[string]int64 // the time of each witness's latest cosignature
}

var (
	witnessLabel = []string{"witness"}
	originLabel  = []string{"origin"}

	treeSizeDesc = prometheus.NewDesc("cairn_ledger_tree_size_entries", "Size of the log's tree, published or not.", nil, nil)
	indexedDesc  = prometheus.NewDesc("cairn_ledger_indexed_entries", "Entries that the query index has.", nil, nil)
	placedDesc   = prometheus.NewDesc("cairn_ledger_placed_entries",
		"Entries that have an index, whether the tree has them or not. Where the log has one process, they are those of the tree.", nil, nil)
	haltedDesc   = prometheus.NewDesc("cairn_ledger_halted", "1 once the ledger has stopped writing for good, because storage failed or contradicts what was signed.", nil, nil)
	evidenceDesc = prometheus.NewDesc("cairn_ledger_rollback_evidence",
		"Checkpoints kept beside the signer's state that prove that the state was rolled back, or that somebody else signs with the log's key.", nil, nil)
	marginDesc   = prometheus.NewDesc("cairn_ledger_quorum_margin", "How many more witnesses than the policy needs cosigned the published checkpoint.", nil, nil)
	cosignedDesc = prometheus.NewDesc("cairn_ledger_cosignature_timestamp_seconds",
		"Time of the witness's latest cosignature on a published checkpoint; 0 if there was none since the start.", witnessLabel, nil)
	leadingDesc = prometheus.NewDesc("cairn_ledger_leading", "1 while this process publishes the checkpoints of the log.", originLabel, nil)
	epochDesc   = prometheus.NewDesc("cairn_ledger_epoch",
		"Epoch of this process's lease as publisher; 0 while another publishes. 1 where the log has one process.", originLabel, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{treeSizeDesc, indexedDesc, placedDesc, haltedDesc, evidenceDesc, marginDesc, cosignedDesc, leadingDesc, epochDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What storage does not tell in time is
// left out, and counted as its failure.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	size := func(d *prometheus.Desc, f func(context.Context) (uint64, error)) {
		n, err := f(ctx)
		g.ledger.watched.saw("scrape", err)
		if err == nil {
			gauge(d, float64(n))
		}
	}
	treeSize := g.storage.log.Size
	if g.ledger.watched.size != nil {
		treeSize = g.ledger.watched.size
	}
	size(treeSizeDesc, treeSize)
	size(indexedDesc, g.storage.index.Size)
	if placed := g.ledger.watched.placed; placed != nil {
		size(placedDesc, placed)
	} else {
		size(placedDesc, treeSize)
	}
	gauge(haltedDesc, oneIf(g.ledger.intake.Err() != nil))
	g.collectLease(gauge)
	if found, err := filepath.Glob(g.ledger.watched.evidence); err == nil {
		gauge(evidenceDesc, float64(len(found)))
	}
	g.collectWitnesses(gauge)
}

// collectLease shows who publishes. A log of one process is always published by it.
func (g *gauges) collectLease(gauge func(*prometheus.Desc, float64, ...string)) {
	origin, epoch := g.ledger.key.Signer.Name(), int64(1)
	if g.ledger.watched.epoch != nil {
		epoch = g.ledger.watched.epoch()
	}
	gauge(epochDesc, float64(epoch), origin)
	gauge(leadingDesc, oneIf(epoch != 0), origin)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// collectWitnesses shows who cosigned what is published.
func (g *gauges) collectWitnesses(gauge func(*prometheus.Desc, float64, ...string)) {
	latest := g.ledger.board.Latest()
	if latest != nil {
		n, err := note.Open(latest.Signed, g.ledger.trust)
		if err != nil {
			return // the publisher checked it
		}
		if margin, ok := g.ledger.trust.Margin(n.Sigs); ok {
			gauge(marginDesc, float64(margin))
		}
		g.remember(n.Sigs)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.ledger.trust.Witnesses() {
		gauge(cosignedDesc, float64(g.cosigned[w.Name]), w.Name)
	}
}

// remember takes in when witnesses cosigned. Who is late is not on every note.
func (g *gauges) remember(sigs []note.Signature) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.ledger.trust.Witnesses() {
		for _, s := range sigs {
			if s.Name != w.Verifier.Name() || s.Hash != w.Verifier.KeyHash() {
				continue
			}
			if at, err := torchwood.CosignatureTimestamp(s); err == nil {
				g.cosigned[w.Name] = max(g.cosigned[w.Name], at)
			}
		}
	}
}
