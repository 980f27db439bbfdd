package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/metadata"

	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const secret = "qIWCWsWsYMhXaGvRNlrTpkWSoJ"

func newService(t *testing.T) (*logged, *Service) {
	t.Helper()
	l := newLogged(t)
	return l, NewService(l.Queue, bearer.NewSet([]bearer.Token{{Secret: secret, Name: "alice"}}), l.index)
}

func with(ctx context.Context, token string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
}

func TestTokens(t *testing.T) {
	_, s := newService(t)
	calls := map[string]func(context.Context) error{
		"QueueBuild": func(ctx context.Context) error {
			_, err := s.QueueBuild(ctx, request())
			return err
		},
		"CancelBuild": func(ctx context.Context) error {
			_, err := s.CancelBuild(ctx, &cairnv1.CancelBuildRequest{Id: 1})
			return err
		},
		"LeaseBuild": func(ctx context.Context) error {
			_, err := s.LeaseBuild(ctx, worker())
			return err
		},
		"RenewLease": func(ctx context.Context) error {
			_, err := s.RenewLease(ctx, &cairnv1.RenewLeaseRequest{Id: 1})
			return err
		},
		"AppendBuildLog": func(ctx context.Context) error {
			_, err := s.AppendBuildLog(ctx, &cairnv1.AppendBuildLogRequest{Id: 1})
			return err
		},
		"CompleteBuild": func(ctx context.Context) error {
			_, err := s.CompleteBuild(ctx, returned(1, "x"))
			return err
		},
	}
	for name, call := range calls {
		wantReason(t, name+" without a token", call(t.Context()), reason.TokenRefused)
		wantReason(t, name+" with another", call(with(t.Context(), secret[1:])), reason.TokenRefused)
		twice := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer x", "authorization", "Bearer "+secret))
		wantReason(t, name+" with two", call(twice), reason.TokenRefused)
	}
	for name, call := range calls {
		if e, ok := reason.Of(call(with(t.Context(), secret))); ok && e.Reason == reason.TokenRefused {
			t.Errorf("%s refuses a good token: %v", name, e)
		}
	}
	// Reading needs none.
	if _, err := s.ListBuilds(t.Context(), &cairnv1.ListBuildsRequest{}); err != nil {
		t.Error(err)
	}
	_, err := s.GetBuild(t.Context(), &cairnv1.GetBuildRequest{Id: 99})
	wantReason(t, "an unknown build", err, reason.BuildNotFound)
}

func TestPages(t *testing.T) {
	l, s := newService(t)
	for i := range 25 {
		l.add(request(func(b *cairnv1.BuildSpec) { b.Package = []string{"core-go", "core-gcc"}[i%2] }))
	}
	_, _ = l.lease(worker())
	for _, test := range []struct {
		state, pkg string
		want       int
	}{{"", "", 25}, {"queued", "", 24}, {"leased", "", 1}, {"done", "", 0}, {"", "core-gcc", 12}, {"queued", "core-go", 12}} {
		req := &cairnv1.ListBuildsRequest{State: test.state, Package: test.pkg, PageSize: 7}
		got, last := 0, int64(1000)
		for first := true; first || req.PageToken != ""; first = false {
			resp, err := s.ListBuilds(t.Context(), req)
			if err != nil || len(resp.GetBuilds()) > 7 {
				t.Fatalf("%d builds, %v", len(resp.GetBuilds()), err)
			}
			for _, b := range resp.GetBuilds() {
				if b.GetId() >= last {
					t.Errorf("%d follows %d", b.GetId(), last)
				}
				got, last = got+1, b.GetId()
			}
			req.PageToken = resp.GetNextPageToken()
		}
		if got != test.want {
			t.Errorf("state %q, package %q: %d builds, want %d", test.state, test.pkg, got, test.want)
		}
	}
	for name, req := range map[string]*cairnv1.ListBuildsRequest{
		"state": {State: "lost"}, "package": {Package: "a b"}, "page_size": {PageSize: 1001}, "page_token": {PageToken: "abc"},
	} {
		_, err := s.ListBuilds(t.Context(), req)
		wantReason(t, name, err, reason.ArgumentInvalid)
	}
}

// TestLargePages: a list of large jobs ends early, and says that it goes on.
func TestLargePages(t *testing.T) {
	l, _ := newService(t)
	req := request()
	for i := range maxList {
		req.Spec.ExcludedOperators = append(req.Spec.ExcludedOperators, fmt.Sprintf("https://%s%d.example", strings.Repeat("a", 900), i))
	}
	for range 60 {
		l.add(req)
	}
	list, more, err := l.List(t.Context(), "", "", 0, 1000)
	if err != nil || !more || len(list) == 0 || len(list) > 40 {
		t.Errorf("%d jobs, more %v, %v", len(list), more, err)
	}
}

// TestResultsAreLogged: only an attestation that is in the log, of the job's
// kind and about what it expects, completes a job.
func TestResultsAreLogged(t *testing.T) {
	l, s := newService(t)
	alice := l.enrol("https://alice.example")
	build := l.build(alice, nil)
	ctx := with(t.Context(), secret)
	complete := func(change func(*cairnv1.BuildSpec), envelope leaf.Digest) (*cairnv1.CompleteBuildResponse, error) {
		l.add(request(change))
		id, token := l.lease(worker())
		defer func() { _, _ = l.Cancel(t.Context(), id) }()
		return s.CompleteBuild(ctx, result(id, token, string(envelope)))
	}
	_, err := complete(func(*cairnv1.BuildSpec) {}, leaf.SHA256(nil))
	wantReason(t, "one that is not logged", err, reason.AttestationNotFound)
	_, err = complete(func(b *cairnv1.BuildSpec) { b.Kind, b.ExpectedDigest = KindReproduction, envB }, build.Leaf.Envelope)
	wantReason(t, "a build for a reproduction", err, reason.ArgumentInvalid)
	_, err = complete(func(b *cairnv1.BuildSpec) { b.ExpectedDigest = envA }, build.Leaf.Envelope)
	wantReason(t, "a build of something else", err, reason.ArgumentInvalid)
	resp, err := complete(func(b *cairnv1.BuildSpec) { b.ExpectedDigest = envB }, build.Leaf.Envelope)
	if err != nil || resp.GetBuild().GetResult().GetIndex() != 1 || resp.GetBuild().GetResult().GetResult() != "" {
		t.Errorf("a good build: %v, %v", resp, err)
	}
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
		Result: leaf.BuildFailed, Rebuilder: attest.Builder{ID: "https://bob.example"},
	}, attest.ResourceDescriptor{Name: "core-go", Digest: map[string]string{"sha256": envB[7:]}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := alice.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	resp, err = complete(func(b *cairnv1.BuildSpec) { b.Kind, b.ExpectedDigest = KindReproduction, envB }, l.log(raw).Leaf.Envelope)
	if r := resp.GetBuild().GetResult(); err != nil || r.GetIndex() != 2 || r.GetResult() != "BUILD_FAILED" {
		t.Errorf("a reproduction: %v, %v", resp, err)
	}
}

// TestWaitingForAJob: a worker waits for a job, and is given it once there is
// one; also one whose lease or pause runs out meanwhile.
func TestWaitingForAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newService(t)
		l.cfg.Now = time.Now
		ctx, cancel := context.WithCancel(with(t.Context(), secret))
		defer cancel()
		go l.Run(ctx, func(err error) { t.Error(err) })
		wait := worker(func(w *cairnv1.LeaseBuildRequest) { w.WaitSeconds = 20 })
		began := time.Now()
		resp, err := s.LeaseBuild(ctx, wait)
		if took := time.Since(began); err != nil || resp.GetBuild() != nil || took != 20*time.Second {
			t.Errorf("without a job: %v, %v after %v", resp, err, took)
		}
		go func() {
			time.Sleep(3 * time.Second)
			l.add(request())
		}()
		began = time.Now()
		resp, err = s.LeaseBuild(ctx, wait)
		if took := time.Since(began); err != nil || resp.GetBuild().GetId() != 1 || took != 3*time.Second || resp.GetLeaseSeconds() != 30 {
			t.Errorf("a new job: %v, %v after %v", resp, err, took)
		}
		began = time.Now()
		for resp, err = s.LeaseBuild(ctx, wait); err == nil && resp.GetBuild() == nil; resp, err = s.LeaseBuild(ctx, wait) {
		}
		// 30 s until the lease has ended, at least 5 s of pause, and a tick each.
		if took := time.Since(began); err != nil || resp.GetBuild().GetAttempts() != 2 || took < 35*time.Second || took > 39*time.Second {
			t.Errorf("a job whose lease ran out: %v, %v after %v", resp, err, took)
		}
		go func() {
			time.Sleep(time.Second)
			s.Drain()
			s.Drain()
		}()
		_, err = s.LeaseBuild(ctx, wait)
		wantReason(t, "a ledger that shuts down", err, reason.ShuttingDown)
	})
}

// TestWorkerThatHungUp: a job given to a worker that is not there any more is
// given back.
func TestWorkerThatHungUp(t *testing.T) {
	l, s := newService(t)
	id := l.add(request())
	_, token := l.lease(worker())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.orGiveBack(ctx, id, token); err == nil {
		t.Error("the worker is told of a job")
	}
	l.wantState(id, StateQueued, 0)
}

// stream is the reader's end of a log.
type stream struct {
	cairnv1.BuildService_StreamBuildLogServer
	ctx  context.Context
	text []byte
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(r *cairnv1.StreamBuildLogResponse) error {
	if r.GetOffset() != int64(len(s.text)) {
		return fmt.Errorf("a piece at %d, want %d", r.GetOffset(), len(s.text))
	}
	s.text = append(s.text, r.GetData()...)
	return nil
}

func TestFollowingALog(t *testing.T) {
	l, s := newService(t)
	id := l.add(request())
	_, token := l.lease(worker())
	write := func(offset int64, text string) {
		t.Helper()
		if _, err := l.AppendLog(t.Context(), id, token, offset, []byte(text)); err != nil {
			t.Error(err)
		}
	}
	write(0, "one\n")
	now := &stream{ctx: t.Context()}
	if err := s.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: id}, now); err != nil || string(now.text) != "one\n" {
		t.Errorf("the log so far: %q, %v", now.text, err)
	}
	const readers = 5
	followers, ended := make([]*stream, readers), make(chan error, readers)
	for i := range followers {
		followers[i] = &stream{ctx: t.Context()}
		go func() {
			ended <- s.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: id, Follow: true}, followers[i])
		}()
	}
	write(4, "two\n")
	write(8, "three\n")
	if _, err := l.Complete(t.Context(), failure(id, token, false)); err != nil {
		t.Fatal(err)
	}
	for range readers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for _, f := range followers {
		if string(f.text) != "one\ntwo\nthree\n" {
			t.Errorf("a follower read %q", f.text)
		}
	}
	if len(l.watchers) > 0 {
		t.Errorf("%d watchers are left", len(l.watchers))
	}
	err := s.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: 99, Follow: true}, now)
	wantReason(t, "an unknown build", err, reason.BuildNotFound)
	err = s.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: id, Offset: -1}, now)
	wantReason(t, "a negative offset", err, reason.ArgumentInvalid)
	s.followers = make(chan struct{})
	wantReason(t, "too many readers", s.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: id}, now), reason.Overloaded)
	s.waiters = make(chan struct{})
	_, err = s.LeaseBuild(with(t.Context(), secret), worker())
	wantReason(t, "too many workers", err, reason.Overloaded)
}

func TestMetrics(t *testing.T) {
	l, s := newService(t)
	l.add(request())
	l.add(request())
	_, _ = l.lease(worker())
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%v, %v", families, err)
	}
	got := make(map[string]float64)
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
	}
	want := map[string]float64{StateQueued: 1, StateLeased: 1, StateDone: 0, StateFailed: 0, StateCancelled: 0}
	if diff := cmp.Diff(want, got); diff != "" || families[0].GetName() != "cairn_ledger_builds" {
		t.Errorf("%s (-want +got):\n%s", families[0].GetName(), diff)
	}
}
