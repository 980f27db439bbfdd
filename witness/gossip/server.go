package gossip

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
)

// maxRequests is how many requests that cost memory or signatures are served at
// a time.
const maxRequests = 64

const textType = "text/plain; charset=utf-8"

// Register adds the routes of docs/witness.md.
func (n *Node) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /gossip/v1/checkpoint", n.limited(n.serveCheckpoint))
	mux.HandleFunc("GET /gossip/v1/consistency", n.limited(n.serveConsistency))
	mux.HandleFunc("GET /gossip/v1/cosigned", n.serveCosigned)
	mux.HandleFunc("POST /evidence", n.limited(n.servePostEvidence))
	mux.HandleFunc("GET /evidence", n.serveList)
	mux.HandleFunc("GET /evidence/{hash}", n.serveEvidence)
	mux.HandleFunc("GET /challenges", n.serveChallenges)
}

func (n *Node) limited(f http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		select {
		case n.slots <- struct{}{}:
			defer func() { <-n.slots }()
			f(rw, r)
		default:
			rw.Header().Set("Retry-After", "1")
			http.Error(rw, "too many requests at once", http.StatusServiceUnavailable)
		}
	}
}

// readBody reads a body of at most limit bytes, or answers and returns nil.
func readBody(rw http.ResponseWriter, r *http.Request, limit int64) []byte {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(rw, fmt.Sprintf("the request is larger than %d bytes", large.Limit), http.StatusRequestEntityTooLarge)
		return nil
	case err != nil || len(body) == 0:
		http.Error(rw, "reading the request failed, or it is empty", http.StatusBadRequest)
		return nil
	}
	return body
}

// fail answers a request that failed inside.
func (n *Node) fail(rw http.ResponseWriter, r *http.Request, err error) {
	n.logger.ErrorContext(r.Context(), "serving gossip failed", "path", r.URL.Path, "err", err)
	http.Error(rw, "the witness failed", http.StatusInternalServerError)
}

// origin returns the origin that a query names, or answers and returns nil.
func (n *Node) origin(rw http.ResponseWriter, r *http.Request) *origin {
	o := n.byHash[r.URL.Query().Get("origin-hash")]
	if o == nil {
		http.Error(rw, "origin-hash is not that of a log known here", http.StatusNotFound)
	}
	return o
}

// serveCheckpoint takes a checkpoint that a peer cosigned.
func (n *Node) serveCheckpoint(rw http.ResponseWriter, r *http.Request) {
	msg := readBody(rw, r, evidence.MaxNoteSize)
	if msg == nil {
		return
	}
	name, _, _ := strings.Cut(string(msg), "\n")
	o := n.origins[name]
	if o == nil {
		http.Error(rw, "the log is not known here", http.StatusNotFound)
		return
	}
	err := n.observe(r.Context(), o, msg, "pushed by a peer")
	switch {
	case errors.Is(err, evidence.ErrSignature):
		http.Error(rw, err.Error(), http.StatusForbidden)
	case errors.Is(err, evidence.ErrMalformed):
		http.Error(rw, err.Error(), http.StatusBadRequest)
	case err != nil:
		n.fail(rw, r, err)
	default:
		rw.WriteHeader(http.StatusNoContent)
	}
}

// serveConsistency shows what was cosigned between two sizes: a line for each
// record, the base64 of the add-checkpoint request that led to it.
func (n *Node) serveConsistency(rw http.ResponseWriter, r *http.Request) {
	o := n.origin(rw, r)
	if o == nil {
		return
	}
	from, err1 := witness.ParseSize(r.URL.Query().Get("from"))
	to, err2 := witness.ParseSize(r.URL.Query().Get("to"))
	if err1 != nil || err2 != nil || from > to {
		http.Error(rw, "from and to are not sizes in order", http.StatusBadRequest)
		return
	}
	records, err := n.config.State.Chain(r.Context(), o.log.Origin, from, to, maxRecords)
	if err != nil {
		n.fail(rw, r, err)
		return
	}
	var page []byte
	for _, rec := range records {
		// An adopted record has no proof: old 0 claims none.
		body := witness.Request{Old: max(0, rec.Old), Proof: rec.Proof, Note: rec.Note}.Marshal()
		line := append(base64.StdEncoding.AppendEncode(nil, body), '\n')
		if len(page) > 0 && len(page)+len(line) > maxPage {
			break
		}
		page = append(page, line...)
	}
	rw.Header().Set("Content-Type", textType)
	_, _ = rw.Write(page)
}

// serveCosigned shows the largest checkpoint that a witness was seen to cosign.
func (n *Node) serveCosigned(rw http.ResponseWriter, r *http.Request) {
	o := n.origin(rw, r)
	if o == nil {
		return
	}
	o.mu.Lock()
	s := o.latestOf(r.URL.Query().Get("witness"))
	var note []byte
	if s != nil {
		note = s.Note
	}
	o.mu.Unlock()
	if note == nil {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	rw.Header().Set("Content-Type", textType)
	_, _ = rw.Write(note)
}

// servePostEvidence takes an evidence.
func (n *Node) servePostEvidence(rw http.ResponseWriter, r *http.Request) {
	text := readBody(rw, r, evidence.MaxSize)
	if text == nil {
		return
	}
	e, err := evidence.Parse(text)
	if err != nil {
		http.Error(rw, "parsing the evidence: "+err.Error(), http.StatusBadRequest)
		return
	}
	o := n.origins[e.Origin]
	if o == nil {
		http.Error(rw, "the log is not known here", http.StatusNotFound)
		return
	}
	added, err := n.receive(r.Context(), o, e)
	switch {
	case errors.Is(err, errNotProven):
		http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
	case err != nil:
		n.fail(rw, r, err)
	case added:
		rw.WriteHeader(http.StatusCreated)
	default:
		rw.WriteHeader(http.StatusOK)
	}
}

// serveList lists the evidence about an origin: hash, kind and subject.
func (n *Node) serveList(rw http.ResponseWriter, r *http.Request) {
	o := n.origin(rw, r)
	if o == nil {
		return
	}
	var b strings.Builder
	o.mu.Lock()
	for _, e := range o.evidence {
		fmt.Fprintf(&b, "%x %s %x\n", e.Hash, e.Kind, e.Subject)
	}
	o.mu.Unlock()
	rw.Header().Set("Content-Type", textType)
	_, _ = io.WriteString(rw, b.String())
}

// serveEvidence shows one evidence.
func (n *Node) serveEvidence(rw http.ResponseWriter, r *http.Request) {
	hash, err := hex.DecodeString(r.PathValue("hash"))
	if err != nil || len(hash) != 32 {
		http.Error(rw, "an evidence has a hash of 64 hex digits", http.StatusNotFound)
		return
	}
	for _, o := range n.order {
		o.mu.Lock()
		var text []byte
		for _, e := range o.evidence {
			if e.Hash == [32]byte(hash) {
				text = e.Text
			}
		}
		o.mu.Unlock()
		if text != nil {
			rw.Header().Set("Content-Type", textType)
			rw.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			_, _ = rw.Write(text)
			return
		}
	}
	http.Error(rw, "no such evidence is held here", http.StatusNotFound)
}

// Challenge is an open challenge: a checkpoint that the log signed and of which
// nobody shows how it agrees with what this witness cosigned.
type Challenge struct {
	Origin     string    `json:"origin"`
	Opened     time.Time `json:"opened"`
	FirstSeen  time.Time `json:"firstSeen"`
	Source     string    `json:"source"`
	Size       int64     `json:"size"`
	Checkpoint string    `json:"checkpoint"`
	// OurCheckpoint is what this witness cosigned at that size, or the next
	// larger one, or its latest.
	OurCheckpoint string `json:"ourCheckpoint,omitempty"`
}

// serveChallenges lists the open challenges.
func (n *Node) serveChallenges(rw http.ResponseWriter, r *http.Request) {
	list := []Challenge{}
	for _, o := range n.order {
		o.mu.Lock()
		for _, p := range o.pending {
			if p.Opened != 0 {
				list = append(list, Challenge{
					Origin: p.Origin, Opened: time.Unix(p.Opened, 0).UTC(), FirstSeen: time.Unix(p.First, 0).UTC(),
					Source: p.Source, Size: p.Size, Checkpoint: string(p.Note),
				})
			}
		}
		o.mu.Unlock()
	}
	for i := range list {
		ours, err := n.anchor(r.Context(), n.origins[list[i].Origin], list[i].Size)
		if err != nil {
			n.fail(rw, r, err)
			return
		}
		if ours != nil {
			list[i].OurCheckpoint = string(ours.Note())
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	_ = enc.Encode(list)
}
