package gossip

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// pushEvery is the least time between two requests to one peer. A log that
	// publishes many times a second has its latest checkpoint pushed, not each.
	pushEvery = 200 * time.Millisecond
	// muteFor is for how long a peer is not told of a log that it does not know,
	// or in a language that it does not speak.
	muteFor = time.Hour
	// maxAnswer bounds the answer to what is pushed.
	maxAnswer = 16 << 10
)

// sink is where checkpoints and evidence are pushed: a peer, or a log.
type sink struct {
	evidenceURL   string
	checkpointURL string // empty if it takes evidence only
	origin        string // if not empty, the only one it is told of

	mu sync.Mutex
	// checkpoints are the latest notes by origin, and texts the evidence by
	// hash, that are still to be sent. Both are bounded: one note for each
	// origin, and what the state keeps of evidence.
	checkpoints map[string][]byte
	texts       map[string][]byte
	mutedUntil  map[string]time.Time // by origin
	wake        chan struct{}
}

func newSink(evidenceURL, checkpointURL, origin string) *sink {
	return &sink{
		evidenceURL: evidenceURL, checkpointURL: checkpointURL, origin: origin,
		checkpoints: make(map[string][]byte), texts: make(map[string][]byte),
		mutedUntil: make(map[string]time.Time), wake: make(chan struct{}, 1),
	}
}

// checkpoint has a note sent, in place of an older one of its origin.
func (s *sink) checkpoint(origin string, note []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.checkpointURL == "" || s.mutedUntil[origin].After(now) {
		return
	}
	s.checkpoints[origin] = note
	signal(s.wake)
}

// evidence has an evidence sent.
func (s *sink) evidence(origin, hash string, text []byte) {
	if s.origin != "" && s.origin != origin {
		return
	}
	s.mu.Lock()
	s.texts[hash] = text
	s.mu.Unlock()
	signal(s.wake)
}

// parcel is one thing to send.
type parcel struct {
	url    string
	body   []byte
	hash   string // of an evidence
	origin string // of a checkpoint
}

// next takes the next thing to send, evidence first.
func (s *sink) next() (parcel, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hash := range slices.Sorted(maps.Keys(s.texts)) {
		p := parcel{url: s.evidenceURL, body: s.texts[hash], hash: hash}
		delete(s.texts, hash)
		return p, true
	}
	for _, origin := range slices.Sorted(maps.Keys(s.checkpoints)) {
		p := parcel{url: s.checkpointURL, body: s.checkpoints[origin], origin: origin}
		delete(s.checkpoints, origin)
		return p, true
	}
	return parcel{}, false
}

// back takes an evidence that could not be sent.
func (s *sink) back(p parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[p.hash] = p.body
}

func (s *sink) mute(origin string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mutedUntil[origin] = until
}

// pushTo sends what a sink is to be told. A checkpoint that is lost is not sent
// again: a later one follows, and the peer asks. Evidence is sent until it is
// taken or refused.
func (n *Node) pushTo(ctx context.Context, s *sink) error {
	for {
		p, ok := s.next()
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-s.wake:
			}
			continue
		}
		pause := pushEvery
		status, _, _, err := n.do(ctx, http.MethodPost, p.url, p.body, "", maxAnswer)
		if ctx.Err() != nil {
			return nil
		}
		n.metrics.pushed(p, err == nil && status < 300)
		if err != nil || status >= 300 {
			n.logger.DebugContext(ctx, "pushing failed", "url", p.url, "status", status, "err", err)
		}
		switch {
		case p.hash != "" && (err != nil || status >= 500):
			s.back(p)
			pause = n.config.Interval
		case p.hash == "" && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed):
			s.mute(p.origin, n.config.Now().Add(muteFor))
		}
		if !wait(ctx, pause) {
			return nil
		}
	}
}
