// Package gossip lets witnesses tell each other what they see, so that a log
// which shows different trees to different people is caught, with proof.
//
// Each witness pushes what it cosigned to its peers, and asks each of them at
// intervals, over the monitoring interface of C2SP tlog-witness that any witness
// may serve. Whatever the log signed is compared with what this witness
// cosigned: at once if the sizes are equal, with the log's tiles or a peer's
// stored proofs if they are not. docs/witness.md has the protocol.
//
// Invariants:
//   - Nothing that a log or witness did not sign changes any state.
//   - What a peer says never leads to a cosignature.
//   - Only package evidence makes evidence, so none is false. It is stored
//     together with the refusal that follows, before anyone is told.
//   - A checkpoint that can neither be explained nor refuted accuses nobody: it
//     waits, and becomes an open challenge and an alarm.
//   - A peer that shows a cosignature by this witness which its state does not
//     have stops this witness from cosigning that origin.
//   - What a peer or the log answers is bounded in size and time, and redirects
//     are not followed.
//   - The number of things kept for an origin is bounded, whoever sends them.
package gossip

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// Doer makes HTTP requests. It must not follow redirects.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Config is what a Node needs.
type Config struct {
	// Self verifies this witness's own cosignatures.
	Self note.Verifier
	Logs []witness.Log
	// Witnesses verify the cosignatures of others: of peers, and of any witness
	// that may be caught.
	Witnesses []note.Verifier
	// Peers are the URLs of the witnesses to talk to, without a trailing slash.
	Peers []string
	// EvidenceURLs is where evidence about an origin is posted, besides the
	// peers.
	EvidenceURLs map[string]string
	State        *state.DB
	HTTP         Doer
	Now          func() time.Time
	// Random returns a number in [0, 1): it spreads the requests of many
	// witnesses over time.
	Random func() float64
	// Interval is how often each peer is asked, ± 20 %.
	Interval time.Duration
	// ChallengeAfter is how long a checkpoint may go unexplained.
	ChallengeAfter time.Duration
	Registerer     prometheus.Registerer
	Logger         *slog.Logger
}

const (
	// settle is how long a checkpoint of another size than our own may wait for
	// the log to show it to us too, before the log and the peers are asked: a
	// peer is often a moment ahead.
	settle = 2 * time.Second
	// flushAfter is how long cosignatures of others stay in memory alone. Losing
	// the last of them in a crash loses nothing that a peer does not have.
	flushAfter = 2 * time.Second
	// rollbackSlack is by how many seconds a witness's times must contradict its
	// sizes before it is accused: between checking and signing, two requests of
	// a witness of another make may overtake each other.
	rollbackSlack = 2
)

// Node is one witness's side of the gossip. It is a witness.Observer.
type Node struct {
	config    Config
	logger    *slog.Logger
	origins   map[string]*origin
	byHash    map[string]*origin
	order     []*origin                // as configured
	witnesses []note.Verifier          // config's, and our own
	byID      map[string]note.Verifier // the same
	selfID    string
	peers     []*peer
	sinks     []*sink // where evidence goes: peers and logs
	metrics   *metrics
	wake      chan struct{} // housekeeping has something to do
	slots     chan struct{} // one for each request that is served

	// inbox is what the witness told. Its lock is held for moments only, because
	// a log waits for its cosignature meanwhile.
	inbox struct {
		sync.Mutex
		cosigned map[string][]byte
		refused  []evidence.Signed
		notify   chan struct{}
	}
}

var _ witness.Observer = (*Node)(nil)

// maxInbox is how many refused checkpoints wait to be compared. A log that has
// more of them refused sends them again.
const maxInbox = 64

// New returns a node and loads what it knew.
func New(ctx context.Context, c Config) (*Node, error) {
	n := &Node{
		config: c, logger: c.Logger,
		origins: make(map[string]*origin), byHash: make(map[string]*origin),
		byID: make(map[string]note.Verifier), selfID: evidence.KeyID(c.Self),
		wake: make(chan struct{}, 1), slots: make(chan struct{}, maxRequests),
	}
	n.inbox.cosigned = make(map[string][]byte)
	n.inbox.notify = make(chan struct{}, 1)
	for _, v := range append([]note.Verifier{c.Self}, c.Witnesses...) {
		if id := evidence.KeyID(v); n.byID[id] == nil {
			n.byID[id] = v
			n.witnesses = append(n.witnesses, v)
		}
	}
	for _, l := range c.Logs {
		o, err := n.loadOrigin(ctx, l)
		if err != nil {
			return nil, err
		}
		n.origins[l.Origin] = o
		n.order = append(n.order, o)
		n.byHash[evidence.OriginHash(l.Origin)] = o
		if u := c.EvidenceURLs[l.Origin]; u != "" {
			n.sinks = append(n.sinks, newSink(u, "", l.Origin))
		}
	}
	for _, u := range c.Peers {
		n.peers = append(n.peers, &peer{url: u, tags: make(map[string]string)})
		n.sinks = append(n.sinks, newSink(u+"/evidence", u+"/gossip/v1/checkpoint", ""))
	}
	var err error
	n.metrics, err = newMetrics(c.Registerer, n)
	return n, err
}

// Cosigned implements witness.Observer.
func (n *Node) Cosigned(origin string, note []byte) {
	n.inbox.Lock()
	n.inbox.cosigned[origin] = note
	n.inbox.Unlock()
	signal(n.inbox.notify)
}

// Refused implements witness.Observer.
func (n *Node) Refused(_ string, checkpoint evidence.Signed) {
	n.inbox.Lock()
	if len(n.inbox.refused) < maxInbox {
		n.inbox.refused = append(n.inbox.refused, checkpoint)
	}
	n.inbox.Unlock()
	signal(n.inbox.notify)
}

// signal wakes whoever waits for a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run gossips until ctx is done. It returns an error only if the state fails.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.readInbox(ctx) })
	g.Go(func() error { return n.keepHouse(ctx) })
	for _, p := range n.peers {
		g.Go(func() error { return n.pullFrom(ctx, p) })
	}
	for _, s := range n.sinks {
		g.Go(func() error { return n.pushTo(ctx, s) })
	}
	return g.Wait()
}

// readInbox handles what the witness told.
func (n *Node) readInbox(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.inbox.notify:
		}
		n.inbox.Lock()
		cosigned, refused := n.inbox.cosigned, n.inbox.refused
		n.inbox.cosigned, n.inbox.refused = make(map[string][]byte), nil
		n.inbox.Unlock()
		for name, note := range cosigned {
			if err := n.advanced(ctx, n.origins[name]); err != nil {
				return ignoreDone(ctx, err)
			}
			for _, s := range n.sinks {
				s.checkpoint(name, note, n.config.Now())
			}
		}
		for _, x := range refused {
			if err := n.compareLocked(ctx, n.origins[x.Origin], x, "the log's request"); err != nil {
				return ignoreDone(ctx, err)
			}
		}
	}
}

// ignoreDone returns nil if the error only says that ctx is done.
func ignoreDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// wait waits for d or until ctx is done, and reports whether it was not.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
