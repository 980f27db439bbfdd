package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxRequest is the size of an add-checkpoint body: a note with room for
	// several post-quantum signatures, and a proof.
	MaxRequest = 128 << 10
	// maxRequests is how many are served at a time. With MaxRequest it bounds
	// the memory that strangers can take. Who sends slower than bodyPatience makes room
	// for others.
	maxRequests  = 512
	bodyPatience = time.Second

	sizeType = "text/x.tlog.size"
	textType = "text/plain; charset=utf-8"
)

// Register adds the witness's routes: those of C2SP tlog-witness, at the root,
// and a page that says who this is.
func (w *Witness) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /add-checkpoint", w.serveAdd)
	// Any second part, so that routes of others, like /evidence/{hash}, are the
	// more specific ones.
	mux.HandleFunc("GET /{hash}/{what}", w.serveLatest)
	mux.HandleFunc("GET /{$}", w.serveHome)
}

func (w *Witness) serveAdd(rw http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(rw)
	p, wait := w.requests.Enter(MaxRequest, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	if p == nil {
		rw.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		http.Error(rw, "too many requests at once", http.StatusServiceUnavailable)
		return
	}
	defer p.Leave()
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, MaxRequest))
	if err != nil && p.Cut() {
		rw.Header().Set("Retry-After", "1")
		http.Error(rw, "the request came too slowly while others waited", http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			http.Error(rw, fmt.Sprintf("the request is larger than %d bytes", large.Limit), http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(rw, "reading the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	p.Arrived(MaxRequest)
	lines, err := w.AddCheckpoint(r.Context(), body)
	if err != nil {
		w.refuseRequest(rw, r, err)
		return
	}
	rw.Header().Set("Content-Type", textType)
	_, _ = rw.Write(lines)
}

func (w *Witness) refuseRequest(rw http.ResponseWriter, r *http.Request, err error) {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		// What went wrong inside is for the operator.
		w.config.Logger.ErrorContext(r.Context(), "adding a checkpoint failed", "err", err)
		http.Error(rw, "the witness failed", http.StatusInternalServerError)
		return
	}
	w.config.Logger.DebugContext(r.Context(), "not cosigned", "code", refusal.Code, "err", err)
	switch refusal.Code {
	case http.StatusConflict:
		rw.Header().Set("Content-Type", sizeType)
		rw.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(rw, "%d\n", refusal.Size)
	case http.StatusServiceUnavailable:
		rw.Header().Set("Retry-After", strconv.Itoa(int(maxBackoff.Seconds())))
		fallthrough
	default:
		http.Error(rw, refusal.Message, refusal.Code)
	}
}

// serveLatest is the monitoring interface: GET /<hex sha256 of origin>/checkpoint.
func (w *Witness) serveLatest(rw http.ResponseWriter, r *http.Request) {
	origin, ok := w.byHash[r.PathValue("hash")]
	if !ok || r.PathValue("what") != "checkpoint" {
		http.NotFound(rw, r)
		return
	}
	n, err := w.Latest(r.Context(), origin)
	if err != nil {
		w.config.Logger.ErrorContext(r.Context(), "reading the latest checkpoint failed", "origin", origin, "err", err)
		http.Error(rw, "the witness failed", http.StatusInternalServerError)
		return
	}
	if n == nil {
		http.Error(rw, "nothing was cosigned yet", http.StatusNotFound)
		return
	}
	sum := sha256.Sum256(n)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	rw.Header().Set("ETag", tag)
	rw.Header().Set("Cache-Control", "no-cache")
	rw.Header().Set("Content-Type", textType)
	if r.Header.Get("If-None-Match") == tag {
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = rw.Write(n)
}

func (w *Witness) serveHome(rw http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "A transparency log witness: https://c2sp.org/tlog-witness\n\nkey %s\n", w.VKey())
	for _, l := range w.config.Logs {
		fmt.Fprintf(&b, "log %s\n", l.Origin)
	}
	rw.Header().Set("Content-Type", textType)
	_, _ = io.WriteString(rw, b.String())
}
