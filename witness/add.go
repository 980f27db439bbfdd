package witness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// maxText bounds what of a checkpoint is signed, in bytes. All of it is stored
// for each cosignature, so a log's extension lines must not fill the disk.
const maxText = 8 << 10

// maxBackoff is what a client is told to wait when the witness cannot sign now.
const maxBackoff = 5 * time.Second

// Refusal is why a checkpoint was not cosigned, as C2SP tlog-witness tells it.
type Refusal struct {
	Code    int
	Message string
	// Size is the size last cosigned: what a 409 says.
	Size int64
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(code int, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AddCheckpoint serves the body of an add-checkpoint request and returns the
// witness's signature lines. The error is a *Refusal if the request was at
// fault, or if this witness does not sign now.
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	origin, lines, err := w.addCheckpoint(ctx, body)
	w.metrics.added(origin, err)
	return lines, err
}

// addCheckpoint also returns the origin, if it is a known one. What is cheap is
// checked first.
func (w *Witness) addCheckpoint(ctx context.Context, body []byte) (string, []byte, error) {
	request, err := ParseRequest(body)
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "parsing the request: %v", err)
	}
	origin, _, _ := strings.Cut(string(request.Note), "\n")
	log, ok := w.logs[origin]
	if !ok {
		return "", nil, refuse(http.StatusNotFound, "log %.120q is not known here", origin)
	}
	if !w.started.Load() {
		return origin, nil, refuse(http.StatusServiceUnavailable, "starting: asking peers what was cosigned before")
	}
	checkpoint, err := evidence.Open(request.Note, log.Keys)
	switch {
	case errors.Is(err, evidence.ErrSignature):
		return origin, nil, refuse(http.StatusForbidden, "checking the checkpoint: %v", err)
	case err != nil:
		return origin, nil, refuse(http.StatusBadRequest, "reading the checkpoint: %v", err)
	case len(checkpoint.Checkpoint.String()) > maxText:
		return origin, nil, refuse(http.StatusBadRequest, "the checkpoint's text is larger than %d bytes", maxText)
	case request.Old > checkpoint.N:
		return origin, nil, refuse(http.StatusBadRequest, "old size %d is larger than the checkpoint's, %d", request.Old, checkpoint.N)
	}
	record, err := w.advance(ctx, request, checkpoint)
	if err != nil {
		// The log signed it: if it contradicts what is known, this is the proof.
		w.config.Observer.Refused(origin, checkpoint)
		return origin, nil, err
	}
	_, span := observe.Start(ctx, "witness.sign")
	cosignature, err := w.cosign(record)
	span.End(err)
	if err != nil {
		return origin, nil, err
	}
	w.config.Observer.Cosigned(origin, w.serve(record, cosignature))
	return origin, cosignature, nil
}

// advance checks a checkpoint against the state and, in the same transaction,
// makes it the latest.
func (w *Witness) advance(ctx context.Context, request Request, checkpoint evidence.Signed) (*state.Record, error) {
	var record *state.Record
	ctx, span := observe.Start(ctx, "witness.commit")
	span.Int("cairn.tree.size", checkpoint.N)
	err := w.config.State.Advance(ctx, checkpoint.Origin, func(last *state.Record, refused *state.Refusal) (*state.Record, error) {
		if refused != nil {
			return nil, refusedBecause(refused)
		}
		if last == nil {
			last = &state.Record{Root: evidence.EmptyRoot()}
		}
		if request.Old != last.Size {
			r := refuse(http.StatusConflict, "old size is %d, the size last cosigned is %d", request.Old, last.Size)
			r.Size = last.Size
			return nil, r
		}
		if err := extends(last, checkpoint.Tree, request.Proof); err != nil {
			return nil, err
		}
		at, err := w.timestamp(last.Time)
		if err != nil {
			return nil, err
		}
		record = &state.Record{
			Origin: checkpoint.Origin, Size: checkpoint.N, Root: checkpoint.Hash, Time: at,
			Note: checkpoint.Note(), Old: request.Old, Proof: request.Proof,
		}
		return record, nil
	})
	span.End(err)
	return record, err
}

func refusedBecause(r *state.Refusal) *Refusal {
	if r.Cause == state.CauseRollback {
		return refuse(http.StatusServiceUnavailable, "not cosigning %s: this witness's state was rolled back", r.Origin)
	}
	return refuse(http.StatusForbidden, "not cosigning %s: there is evidence against it: /evidence/%s", r.Origin, r.Detail)
}

// extends checks that a tree extends the one last cosigned, which is the empty
// tree if there is none: so that one has its only root, too.
func extends(last *state.Record, next tlog.Tree, hashes []tlog.Hash) error {
	path := make([][]byte, len(hashes))
	for i := range hashes {
		path[i] = hashes[i][:]
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(last.Size), uint64(next.N), path, last.Root[:], next.Hash[:])
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "checking that size %d extends size %d: %v", next.N, last.Size, err)
	}
	return nil
}

// timestamp returns the time of the next cosignature, given the latest one's.
// It never decreases. It can be the same again: a log may publish many times a
// second, and a time that runs ahead of the clock would be a lie.
func (w *Witness) timestamp(last int64) (int64, error) {
	now := w.config.Now().Unix()
	if now <= 0 {
		return 0, refuse(http.StatusServiceUnavailable, "the clock of this witness is not set")
	}
	if behind := last - now; behind > int64(w.config.MaxClockBehind/time.Second) {
		return 0, refuse(http.StatusServiceUnavailable, "the clock of this witness is %d s behind its latest cosignature", behind)
	}
	return max(now, last), nil
}
