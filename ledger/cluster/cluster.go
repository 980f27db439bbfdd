// Package cluster lets several processes be one log: at any time one of them
// publishes, and all of them show what is published. They share a PostgreSQL
// database, in which they find out who publishes, and which holds the guarded
// signer's state and the archive of published checkpoints.
//
// Who publishes holds a lease, which it renews. The lease only decides who should
// publish. That nobody else can is decided by its epoch, which grows whenever
// another process takes the lease: every write of a publisher is one statement that
// locks the lease's row and changes nothing under another epoch. So a write comes
// wholly before a takeover or not at all, and a process that was stopped between
// two steps finds at the next that its time is over. It is one statement, not a
// transaction of several, so that a process that is stopped never holds the lock.
//
// Invariants:
//   - Any two checkpoints that are ever signed are consistent, whatever is stopped,
//     killed or restarted between which steps: what is signed was stored before as
//     the signer's state, in the place of the tree that it was proven to extend,
//     under the epoch of who signs it. A process that wakes up may still sign what
//     it had stored, which the successor's trees extend.
//   - The archive's sizes never go back, and the newest of it is what is published.
//   - A Board shows only what is in the archive, satisfies the policy, and extends
//     what the Board showed before.
//   - A database that is an older copy of itself is found out by what it does not
//     know of: the checkpoint in the log's storage, the witnesses, the Board of a
//     process that still runs. Nothing is signed then.
//
// What it relies on: that the database loses no commit that it acknowledged, and
// is one. Two servers that both believe to be it, as after a failover that did not
// stop the old one, are like a restored copy: the witnesses find out.
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// ErrLost is wrapped by the failures of a process whose time as publisher is over.
// It is no fault: it follows whoever publishes now.
var ErrLost = errors.New("another process publishes, or may")

// Bounds of a lease. A lease that ends later than MaxLease from now was written
// under another clock, and does not count.
const (
	MinLease = 100 * time.Millisecond
	MaxLease = time.Minute
)

const (
	defaultLease = 3 * time.Second
	defaultPoll  = time.Second
	roundTimeout = 10 * time.Second // of one look at what is published
)

// Log is what a publisher needs of the log's engine.
type Log interface {
	checkpoint.Log
	// Published returns the checkpoint that Publish stored last, or
	// engine.ErrNotFound.
	Published(ctx context.Context) ([]byte, error)
}

// Config is what a Cluster works with.
type Config struct {
	// Pool is of connections that nothing else uses: who waits for one behind a
	// load of submissions loses its lease.
	Pool *postgres.Pool
	// Log is the log, whose storage all processes share.
	Log Log
	// Proofs reads the log's tiles.
	Proofs checkpoint.Proofs
	// Board shows what is published.
	Board *checkpoint.Board
	// Policy must accept a checkpoint before it is shown.
	Policy torchwood.Policy
	// Verifier is that of the log's own key, whose name is the log's origin.
	Verifier note.Verifier
	// Name is the process's, for people.
	Name string
	// Lease is how long a publisher that is silent is waited for; default 3 s.
	Lease time.Duration
	// Poll is how often the archive is looked at even if nothing is heard of it;
	// default 1 s.
	Poll   time.Duration
	Logger *slog.Logger
}

// Cluster is one process's part in a log of several.
type Cluster struct {
	cfg    Config
	pool   *postgres.Pool
	holder string // unique to this Cluster
	full   *lru.Cache[uint64, []byte]
	term   atomic.Pointer[Term] // nil while another process publishes
	// reading holds one element for each segment that is being read.
	reading chan struct{}

	mu      sync.Mutex
	next    *round // that has not begun; nil for none
	running bool
}

// New returns the part of this process; Watch and Lead make it work.
func New(cfg Config) (*Cluster, error) {
	if cfg.Lease == 0 {
		cfg.Lease = defaultLease
	}
	if cfg.Poll == 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.Lease < MinLease || cfg.Lease > MaxLease {
		return nil, fmt.Errorf("a lease of %v is not between %v and %v", cfg.Lease, MinLease, MaxLease)
	}
	full, err := lru.New[uint64, []byte](cachedSegments)
	if err != nil {
		return nil, err
	}
	return &Cluster{cfg: cfg, pool: cfg.Pool, holder: cfg.Name + " " + rand.Text(), full: full, reading: make(chan struct{}, readingSegments)}, nil
}

// Leading reports whether this process publishes.
func (c *Cluster) Leading() bool { return c.Epoch() != 0 }

// Epoch returns the epoch of this process's lease, or 0 if another publishes.
func (c *Cluster) Epoch() int64 {
	if t := c.term.Load(); t != nil && t.Lost() == nil {
		return t.epoch
	}
	return 0
}

// RenewalAge returns how long ago the lease was renewed, or 0 if another process
// publishes.
func (c *Cluster) RenewalAge() time.Duration {
	if t := c.term.Load(); t != nil && t.Lost() == nil {
		return t.age()
	}
	return 0
}

// isUnavailable reports that a failure of storage may pass.
func isUnavailable(err error) bool { return reason.Is(err, reason.StorageUnavailable) }
