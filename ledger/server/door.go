package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/door"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// handler returns next behind the doors.
func (d *doors) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, cost := d.doorOf(r)
		switch e {
		case nil:
			next.ServeHTTP(w, r)
		case d.submissions:
			d.submission(w, r, next, cost)
		default:
			d.other(w, r, next, e, cost)
		}
	})
}

// submission reads the body of a submission before anything else is done with it, so
// that it is held once, and so that what goes wrong meanwhile has its own reason.
func (d *doors) submission(w http.ResponseWriter, r *http.Request, next http.Handler, cost int64) {
	control := http.NewResponseController(w)
	p, wait := d.submissions.Enter(cost, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	if p == nil {
		d.submissions.refuse(w, r, wait)
		return
	}
	defer p.Leave()
	raw, err := readBody(r)
	if err != nil && p.Cut() {
		p.Leave()
		d.submissions.refuse(w, r, d.submissions.Wait())
		return
	}
	if err != nil {
		writeRefusal(w, r, &reason.Error{Reason: reason.DeadlinePassed, Message: "the request's body did not arrive", Cause: err})
		return
	}
	p.Arrived(submissionHolds(int64(len(raw)))) // at most what was reserved
	r.Body = &heldBody{bytes.NewReader(raw), raw}
	next.ServeHTTP(w, r)
}

// heldBody is a body that was read.
type heldBody struct {
	*bytes.Reader
	raw []byte
}

// Close implements io.Closer.
func (*heldBody) Close() error { return nil }

// readBody reads a body, or one byte more than may be.
func readBody(r *http.Request) ([]byte, error) {
	const most = attest.MaxEnvelope + 1
	if r.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(r.Body, most))
	}
	raw := make([]byte, min(r.ContentLength, most))
	_, err := io.ReadFull(r.Body, raw)
	return raw, err
}

// other serves what is no submission. Its peer is waited for as long as it takes: it
// may send its body, or take its answer, slowly.
func (d *doors) other(w http.ResponseWriter, r *http.Request, next http.Handler, e *entrance, cost int64) {
	control := http.NewResponseController(w)
	var cut func()
	if e == d.streams {
		if err := control.SetWriteDeadline(time.Time{}); err == nil {
			w = &patientWriter{w, control}
		}
	} else {
		cut = func() {
			_ = control.SetReadDeadline(time.Unix(1, 0))
			_ = control.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	enter := func() (*door.Pass, time.Duration) { return e.Enter(cost, cut) }
	if e == d.reads {
		enter = func() (*door.Pass, time.Duration) { return d.awaitRead(r.Context(), cost, cut) }
	}
	p, wait := enter()
	if p == nil {
		e.refuse(w, r, wait)
		return
	}
	defer p.Leave()
	in := &entry{Pass: p}
	switch e {
	case d.reads:
		in.entrance = e
	case d.calls:
		r.Body = &arrivingBody{r.Body, func() { p.Arrived(cost) }}
	}
	next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), entryKey{}, in)))
}

// awaitRead lets a read in, which may wait for a moment: unlike those who submit, those
// who read are rarely told to retry by anybody.
func (d *doors) awaitRead(ctx context.Context, cost int64, cut func()) (*door.Pass, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d.readWait)
	defer cancel()
	return d.reads.Await(ctx, cost, cut)
}

// arrivingBody says when it was read to its end.
type arrivingBody struct {
	io.ReadCloser
	arrived func()
}

// Read implements io.Reader.
func (b *arrivingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.arrived()
	}
	return n, err
}

// patientWriter gives each piece of a stream its own deadline.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (w *patientWriter) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(writeDeadline)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// tap admits gRPC calls before anything of their message is read. It runs on the
// goroutine of the connection.
func (d *doors) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	e, cost, holds := d.doorOfMethod(info.FullMethodName)
	// Ends with ctx, which ends with the call.
	ctx, cancel := context.WithCancel(ctx)
	in := &entry{holds: holds, cut: make(chan struct{})}
	if e == d.submissions {
		in.stop = sync.OnceFunc(func() { close(in.cut) })
	} else {
		in.stop = cancel
	}
	var wait time.Duration
	if in.Pass, wait = e.Enter(cost, in.stop); in.Pass == nil {
		cancel()
		_, r := e.refusal(wait)
		return nil, r.err
	}
	in.timer, in.read = time.AfterFunc(bodyDeadline, cancel), begun(ctx, in)
	context.AfterFunc(ctx, func() {
		in.here()
		in.Leave()
	})
	return context.WithValue(ctx, entryKey{}, in), nil
}

// arrived is called when a call's message is there.
func arrived(ctx context.Context, req any) error {
	e := entryOf(ctx)
	if e == nil || e.timer == nil {
		return nil
	}
	e.here()
	size := 0
	switch m := req.(type) {
	case *cairnv1.SubmitAttestationRequest:
		size = len(m.GetAttestation())
	case proto.Message:
		size = proto.Size(m)
	}
	if e.Arrived(e.holds(int64(size))) {
		return nil
	}
	return &reason.Error{Reason: reason.Overloaded, Message: "the ledger has no room for a message of this size", RetryAfter: time.Second}
}

// reading lets a gRPC call in that reads much, once its message is there: nothing may
// wait before. The returned context has its entry, which leaves when the context that
// was given ends.
func (d *doors) reading(ctx context.Context, method string) (context.Context, error) {
	cost := readCost(method)
	if entryOf(ctx) == nil || cost == 0 {
		return ctx, nil
	}
	p, wait := d.awaitRead(ctx, cost, nil)
	if p == nil {
		_, r := d.reads.refusal(wait)
		return nil, r.err
	}
	context.AfterFunc(ctx, p.Leave)
	return context.WithValue(ctx, entryKey{}, &entry{Pass: p, entrance: d.reads}), nil
}

// readCost is what a method that reads much costs; 0 if it does not.
func readCost(method string) int64 {
	switch method[strings.LastIndexByte(method, '/')+1:] {
	case "GetArtifact", "ListAttestations", "ListBuilds":
		return costList
	case "GetAttestation":
		return costAttested
	}
	return 0
}

// ledgerService describes the service as it is, but that a submission is a stream of
// one message on this side: then it is this package that receives the message, and
// that says why it did not.
func (d *doors) ledgerService(in *interceptors) *grpc.ServiceDesc {
	desc := cairnv1.LedgerService_ServiceDesc
	submit := strings.TrimPrefix(cairnv1.LedgerService_SubmitAttestation_FullMethodName, "/"+desc.ServiceName+"/")
	desc.Methods = slices.DeleteFunc(slices.Clone(desc.Methods), func(m grpc.MethodDesc) bool { return m.MethodName == submit })
	desc.Streams = append(slices.Clone(desc.Streams), grpc.StreamDesc{
		StreamName: submit,
		Handler: func(svc any, ss grpc.ServerStream) error {
			req, err := d.receive(ss)
			if err != nil {
				return err
			}
			info := &grpc.UnaryServerInfo{Server: svc, FullMethod: cairnv1.LedgerService_SubmitAttestation_FullMethodName}
			resp, err := in.unary(ss.Context(), req, info, func(ctx context.Context, _ any) (any, error) {
				return svc.(cairnv1.LedgerServiceServer).SubmitAttestation(ctx, req)
			})
			if err != nil {
				return err
			}
			return ss.SendMsg(resp)
		},
	})
	return &desc
}

// receive returns the message of a submission. If there is no room for it, the call is
// refused while its message is still waited for: gRPC has no other way.
func (d *doors) receive(ss grpc.ServerStream) (*cairnv1.SubmitAttestationRequest, error) {
	req := &cairnv1.SubmitAttestationRequest{}
	received := make(chan error, 1)
	go func() { received <- ss.RecvMsg(req) }() // ends with the call, at the latest
	select {
	case err := <-received:
		return req, err
	case <-entryOf(ss.Context()).cut:
		_, r := d.submissions.refusal(d.submissions.Wait())
		return nil, r.err
	}
}

// doorOfMethod is doorOf of a gRPC call: what it costs until its message is there, and
// then.
func (d *doors) doorOfMethod(method string) (e *entrance, cost int64, holds func(int64) int64) {
	atLeast := func(least int64) func(int64) int64 {
		return func(size int64) int64 { return least + bodyFactor*size }
	}
	name := method[strings.LastIndexByte(method, '/')+1:]
	switch {
	case method == cairnv1.LedgerService_SubmitAttestation_FullMethodName:
		return d.submissions, window, submissionHolds
	case name == "WatchCheckpoints", name == "StreamBuildLog", name == "Watch", strings.HasPrefix(name, "ServerReflection"):
		return d.streams, costStream, func(int64) int64 { return costStream }
	}
	return d.calls, costCall, atLeast(costCall)
}
