package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/cairnlog/cairn/builder/queue"
	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	secret  = "qIWCWsWsYMhXaGvRNlrTpkWSoJ"
)

// world is a ledger's real queue on a real database, and a log in memory. Tests
// run it in a bubble of testing/synctest, so that its time costs none.
type world struct {
	t    *testing.T
	path string

	mu      sync.Mutex
	service *queue.Service // nil while the ledger is down
	close   func()
	leaves  [][]byte
	digests []leaf.Digest
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "builds.db")}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	q, err := queue.Open(w.t.Context(), queue.Config{Path: w.path, Origin: "worker.example/log"})
	if err != nil {
		w.t.Fatal(err)
	}
	s := queue.NewService(q, bearer.NewSet([]bearer.Token{{Secret: secret, Name: "tester"}}), &index{w: w})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(ctx, func(err error) { w.t.Error(err) })
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.service = s
	w.close = func() {
		s.Drain()
		cancel()
		<-ended
		if err := q.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// stop is the end of the ledger: calls that wait end, and later ones fail.
func (w *world) stop() {
	w.mu.Lock()
	stop := w.close
	w.service, w.close = nil, nil
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}

var errAway = errors.New("connection refused")

func (w *world) queue() (*queue.Service, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.service == nil {
		return nil, errAway
	}
	return w.service, nil
}

func authorised(ctx context.Context) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+secret))
}

func (w *world) add(pkg string) int64 {
	w.t.Helper()
	resp, err := w.service.QueueBuild(authorised(w.t.Context()), &cairnv1.QueueBuildRequest{
		Spec: &cairnv1.BuildSpec{Kind: "build", TreeDigest: digestA, Package: pkg},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.GetBuild().GetId()
}

func (w *world) get(id int64) *cairnv1.Build {
	w.t.Helper()
	resp, err := w.service.GetBuild(w.t.Context(), &cairnv1.GetBuildRequest{Id: id})
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.GetBuild()
}

func (w *world) wantState(id int64, state string) {
	w.t.Helper()
	if b := w.get(id); b.GetState() != state {
		w.t.Errorf("build %d is %s, want %s: %v", id, b.GetState(), state, b)
	}
}

// log returns what the ledger keeps of a job's log.
func (w *world) log(id int64) string {
	w.t.Helper()
	s := &sink{ctx: w.t.Context()}
	if err := w.service.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: id}, s); err != nil {
		w.t.Error(err)
	}
	return s.text.String()
}

// sink is the reader's end of a stream.
type sink struct {
	cairnv1.BuildService_StreamBuildLogServer
	ctx  context.Context
	text strings.Builder
}

func (s *sink) Context() context.Context { return s.ctx }

func (s *sink) Send(r *cairnv1.StreamBuildLogResponse) error {
	s.text.Write(r.GetData())
	return nil
}

// submit logs an attestation of a build, and returns its digest.
func (w *world) submit() leaf.Digest {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	raw := fmt.Appendf(nil, "attestation %d", len(w.leaves))
	l := &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Envelope: leaf.SHA256(raw), Payload: leaf.SHA256(raw), Claim: leaf.ClaimBuild,
		Result: leaf.NoResult, Keys: []leaf.Fingerprint{digestA}, Subjects: []leaf.Digest{digestA},
	}
	text, err := l.Marshal()
	if err != nil {
		w.t.Error(err)
	}
	w.leaves, w.digests = append(w.leaves, text), append(w.digests, l.Envelope)
	return l.Envelope
}

// index is the part of the log's index that the queue asks.
type index struct {
	store.Index
	w *world
}

func (x *index) Find(_ context.Context, term store.Term, _ uint64, _ int) ([]uint64, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	i := slices.IndexFunc(x.w.digests, func(d leaf.Digest) bool { return store.EnvelopeTerm(d) == term })
	if i < 0 {
		return nil, nil
	}
	return []uint64{uint64(i)}, nil
}

func (x *index) Entries(_ context.Context, indexes []uint64) ([]store.Entry, error) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	return []store.Entry{{Index: indexes[0], Text: x.w.leaves[indexes[0]]}}, nil
}

// link is one worker's way to the ledger. It can be cut, and lose answers.
type link struct {
	w       *world
	cut     atomic.Bool
	deaf    atomic.Bool // completions arrive, their answers are lost
	renewed atomic.Int64
}

func through[Q, A any](ctx context.Context, l *link, call func(*queue.Service, context.Context, Q) (A, error), req Q) (A, error) {
	var none A
	s, err := l.w.queue()
	if err != nil {
		return none, err
	}
	if l.cut.Load() {
		return none, errAway
	}
	return call(s, authorised(ctx), req)
}

func (l *link) LeaseBuild(ctx context.Context, req *cairnv1.LeaseBuildRequest) (*cairnv1.LeaseBuildResponse, error) {
	return through(ctx, l, (*queue.Service).LeaseBuild, req)
}

func (l *link) RenewLease(ctx context.Context, req *cairnv1.RenewLeaseRequest) (*cairnv1.RenewLeaseResponse, error) {
	l.renewed.Add(1)
	return through(ctx, l, (*queue.Service).RenewLease, req)
}

func (l *link) AppendBuildLog(ctx context.Context, req *cairnv1.AppendBuildLogRequest) (*cairnv1.AppendBuildLogResponse, error) {
	return through(ctx, l, (*queue.Service).AppendBuildLog, req)
}

func (l *link) CompleteBuild(ctx context.Context, req *cairnv1.CompleteBuildRequest) (*cairnv1.CompleteBuildResponse, error) {
	resp, err := through(ctx, l, (*queue.Service).CompleteBuild, req)
	if err == nil && l.deaf.Swap(false) {
		return nil, errAway
	}
	return resp, err
}

// running is a worker under way.
type running struct {
	*link
	stop  context.CancelFunc // tells it to stop
	ended chan error
}

// work starts a worker.
func (w *world) work(name string, do func(context.Context, *Job, io.Writer) (*Outcome, error), change ...func(*Config)) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{link: &link{w: w}, stop: cancel, ended: make(chan error, 1)}
	cfg := Config{
		Client: r.link, Do: do, Logger: slog.New(slog.DiscardHandler),
		Offer: &cairnv1.LeaseBuildRequest{
			Worker: name, Operator: "https://" + name + ".example", Key: digestA,
			Platforms: []string{"linux/amd64"}, Engines: []string{"buildkit"},
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	go func() { r.ended <- Run(ctx, cfg) }()
	return r
}

// end stops a worker and waits for it.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// builds is a Do that takes some time, then confirms and submits.
func (w *world) builds(took time.Duration) func(context.Context, *Job, io.Writer) (*Outcome, error) {
	return func(ctx context.Context, job *Job, log io.Writer) (*Outcome, error) {
		fmt.Fprintf(log, "building %s\n", job.GetSpec().GetPackage())
		rest(ctx, took)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := job.Confirm(ctx); err != nil {
			return nil, err
		}
		return &Outcome{w.submit()}, nil
	}
}
