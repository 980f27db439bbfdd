// Package witness is a transparency log witness: it cosigns a log's
// checkpoints as long as each extends the one before, as of C2SP tlog-witness.
//
// Invariants:
//   - A cosignature leaves only after the checkpoint it is on, the log's
//     signature and the proof that was checked are on disk. Check and write are
//     one transaction.
//   - One function signs, and it signs nothing but a stored record.
//   - Of one origin, cosignatures never go back: not in size, not in time, also
//     when the clock does.
//   - What is stored and served is canonical: the text of the checkpoint and
//     the log's signatures that verified. Lines that others added are dropped,
//     also ones that bear this witness's name.
//   - While an origin is refused, for evidence or because this witness's own
//     state was rolled back, nothing of it is cosigned.
//   - Memory and time for a request are bounded before it is parsed, and only
//     origins of the configuration become labels of metrics.
//
// What witnesses tell each other is in package gossip, what they can prove of a
// log in package evidence.
package witness

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/door"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// Observer is told what a witness learns. Its methods must not block: they are
// called while a log waits for its cosignature.
type Observer interface {
	// Cosigned is called after a cosignature was made. note carries the log's
	// signatures and it.
	Cosigned(origin string, note []byte)
	// Refused is called with a checkpoint that the log signed and that was not
	// cosigned. It may contradict what the witness knows.
	Refused(origin string, checkpoint evidence.Signed)
}

// Config is what a Witness needs.
type Config struct {
	// Name is the name of the witness's key.
	Name string
	// Signer holds the Ed25519 key. It is only given messages that begin with
	// "cosignature/v1\n", and may be slow.
	Signer crypto.Signer
	Logs   []Log
	State  *state.DB
	// Observer may be nil.
	Observer Observer
	// Now is the clock. Cosignatures have whole seconds.
	Now func() time.Time
	// MaxClockBehind is how far the clock may lie behind the latest
	// cosignature. Within it, the cosignature's time is used again; beyond it,
	// nothing is signed.
	MaxClockBehind time.Duration
	Registerer     prometheus.Registerer
	Logger         *slog.Logger
}

// Witness cosigns checkpoints. Its methods may be called concurrently.
type Witness struct {
	config   Config
	logs     map[string]Log // by origin
	byHash   map[string]string
	verifier *torchwood.CosignatureVerifier
	metrics  *metrics
	started  atomic.Bool
	requests *door.Door // of the requests that are served

	mu sync.Mutex
	// served is the latest cosigned note of each origin, with the cosignature.
	served map[string]cosigned
}

type cosigned struct {
	size, time int64
	note       []byte
}

// New returns a witness. It refuses a state that belongs to another key.
func New(ctx context.Context, c Config) (*Witness, error) {
	verifier, err := NewVerifier(c.Name, c.Signer)
	if err != nil {
		return nil, err
	}
	w := &Witness{
		config:   c,
		logs:     make(map[string]Log),
		byHash:   make(map[string]string),
		verifier: verifier,
		requests: door.New(door.Config{Limit: maxRequests * MaxRequest, Patience: bodyPatience, Now: time.Now}),
		served:   make(map[string]cosigned),
	}
	if w.config.Observer == nil {
		w.config.Observer = deaf{}
	}
	for _, l := range c.Logs {
		if _, ok := w.logs[l.Origin]; ok {
			return nil, fmt.Errorf("log %s is configured twice", l.Origin)
		}
		w.logs[l.Origin] = l
		w.byHash[evidence.OriginHash(l.Origin)] = l.Origin
	}
	if err := w.bindState(ctx); err != nil {
		return nil, err
	}
	w.metrics, err = newMetrics(ctx, c.Registerer, w)
	return w, err
}

// NewVerifier returns the verifier of the cosignatures that a key makes.
func NewVerifier(name string, key crypto.Signer) (*torchwood.CosignatureVerifier, error) {
	// Torchwood would also sign, but with a time that it reads itself, and the
	// time must be on disk before there is a signature.
	s, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		return nil, fmt.Errorf("making witness %q: %w", name, err)
	}
	return s.Verifier(), nil
}

// identity is the key of the state's metadata that names the witness's key.
const identity = "vkey"

// ErrIdentity is wrapped by New if the state belongs to another key.
var ErrIdentity = errors.New("the state belongs to another key")

func (w *Witness) bindState(ctx context.Context) error {
	have, err := w.config.State.Meta(ctx, identity)
	if err != nil {
		return err
	}
	if want := w.VKey(); have != want && have != "" {
		return fmt.Errorf("%w: it is of %s, the key is %s", ErrIdentity, have, want)
	} else if have == "" {
		return w.config.State.SetMeta(ctx, identity, want)
	}
	return nil
}

// VKey returns the witness's verifier key, as in C2SP signed-note.
func (w *Witness) VKey() string { return w.verifier.String() }

// Verifier returns the verifier of the witness's cosignatures.
func (w *Witness) Verifier() *torchwood.CosignatureVerifier { return w.verifier }

// Start lets the witness cosign. Until it is called, requests to do so are told
// to come back: whoever starts a witness asks its peers first whether its state
// was rolled back.
func (w *Witness) Start() { w.started.Store(true) }

// Started reports whether the witness cosigns.
func (w *Witness) Started() bool { return w.started.Load() }

// cosign is the one function that signs. r must be what the state holds, and
// must have been committed.
func (w *Witness) cosign(r *state.Record) ([]byte, error) {
	text, _, ok := bytes.Cut(r.Note, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("cosigning %s at size %d: the stored note is damaged", r.Origin, r.Size)
	}
	text = append(slices.Clip(text), '\n')
	message := append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", r.Time), text...)
	raw, err := w.config.Signer.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("cosigning %s at size %d: %w", r.Origin, r.Size, err)
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(r.Time))
	sig = append(sig, raw...)
	// An agent or a module in other hands may return anything, and faulty
	// hardware a signature that gives the key away.
	if !w.verifier.Verify(text, sig) {
		return nil, fmt.Errorf("cosigning %s at size %d: the signer returned a wrong signature", r.Origin, r.Size)
	}
	line := binary.BigEndian.AppendUint32(nil, w.verifier.KeyHash())
	line = append(line, sig...)
	return fmt.Appendf(nil, "— %s %s\n", w.verifier.Name(), base64.StdEncoding.EncodeToString(line)), nil
}

// serve makes a cosigned note the one that is served, unless a later one is.
func (w *Witness) serve(r *state.Record, cosignature []byte) []byte {
	n := append(slices.Clip(r.Note), cosignature...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if have := w.served[r.Origin]; have.note == nil || have.size < r.Size || have.size == r.Size && have.time <= r.Time {
		w.served[r.Origin] = cosigned{r.Size, r.Time, n}
	}
	return n
}

// Latest returns the latest checkpoint that was cosigned, with the signatures
// of the log and of the witness, or nil if there is none.
func (w *Witness) Latest(ctx context.Context, origin string) ([]byte, error) {
	w.mu.Lock()
	have, ok := w.served[origin]
	w.mu.Unlock()
	if ok {
		return have.note, nil
	}
	// After a start: the record has its time, so this is the signature that was
	// made, or would have been made, before. While the origin is refused, not
	// even that is.
	r, err := w.config.State.Latest(ctx, origin)
	if err != nil || r == nil {
		return nil, err
	}
	refused, err := w.config.State.Refused(ctx, origin)
	if err != nil {
		return nil, err
	}
	if refused != nil || !w.started.Load() {
		return r.Note, nil
	}
	cosignature, err := w.cosign(r)
	if err != nil {
		return nil, err
	}
	return w.serve(r, cosignature), nil
}

// deaf is an Observer for a witness without gossip.
type deaf struct{}

func (deaf) Cosigned(string, []byte)         {}
func (deaf) Refused(string, evidence.Signed) {}

// Log is a log that a witness cosigns.
type Log struct {
	// Origin is the first line of the log's checkpoints, and the name of all its
	// keys.
	Origin string
	// Keys are accepted for new checkpoints: more than one during a rotation.
	Keys []note.Verifier
	// Retired keys are accepted in evidence only.
	Retired []note.Verifier
	// URL is where the log's tiles are, as of C2SP tlog-tiles. It may be empty.
	URL string
}

// AllKeys returns the keys that evidence about the log may be signed with.
func (l Log) AllKeys() []note.Verifier { return slices.Concat(l.Keys, l.Retired) }

// NewLog returns a log with the given verifier keys. All of them must have the
// same name, which is the log's origin.
func NewLog(keys, retired []string, url string) (Log, error) {
	if len(keys) == 0 {
		return Log{}, errors.New("a log needs at least one key")
	}
	l := Log{URL: url}
	seen := make(map[string]bool)
	for i, vkey := range slices.Concat(keys, retired) {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return Log{}, fmt.Errorf("reading log key %.120q: %w", vkey, err)
		}
		if l.Origin == "" {
			l.Origin = v.Name()
		}
		if v.Name() != l.Origin {
			return Log{}, fmt.Errorf("log key %q is not of log %q: one log's keys have one name", v.Name(), l.Origin)
		}
		if seen[evidence.KeyID(v)] {
			return Log{}, fmt.Errorf("log key %s is given twice", evidence.KeyID(v))
		}
		seen[evidence.KeyID(v)] = true
		if i < len(keys) {
			l.Keys = append(l.Keys, v)
		} else {
			l.Retired = append(l.Retired, v)
		}
	}
	return l, nil
}
