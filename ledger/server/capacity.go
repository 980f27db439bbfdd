package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/door"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Capacity is what a Server takes on at once. Whatever exceeds it is refused with
// reason.Overloaded.
type Capacity struct {
	// Submissions, Reads and Calls are bytes that requests may come to hold:
	// submissions; reads that cost much; and other gRPC calls, and requests with a
	// body.
	Submissions, Reads, Calls int64
	// Streams is the number of streams.
	Streams int
	// HTTPConnections and GRPCConnections are the numbers of open connections.
	HTTPConnections, GRPCConnections int
}

// What requests are reckoned to hold. A connection of HTTP or gRPC costs about 24 and
// 100 KiB by itself.
const (
	// submissionCost is what an attestation that is verified, waits for its batch and
	// is published holds beyond bodyFactor times its size.
	submissionCost = 32 << 10
	bodyFactor     = 6
	// window is what gRPC receives of a message before anybody reads it.
	window = 64 << 10

	costCall     = 16 << 10
	costSegment  = 64 << 10
	costBundle   = 512 << 10
	costAttested = 1 << 20
	costPage     = 2 << 20 // rows, the page, and its compressed form
	costList     = 4 << 20
	costStream   = 64 << 10

	costHTTPConnection = 32 << 10
	costGRPCConnection = 128 << 10
)

// CapacityOf returns the capacity of a process that may take so many bytes of
// memory. An eighth of it is left to submissions that nobody waits for any more.
func CapacityOf(memory int64) Capacity {
	return Capacity{
		Submissions:     memory * 3 / 8,
		Reads:           memory / 8,
		Calls:           memory / 16,
		Streams:         int(memory / 16 / costStream),
		HTTPConnections: int(memory * 3 / 16 / costHTTPConnection),
		GRPCConnections: int(memory / 16 / costGRPCConnection),
	}
}

// Check reports what a Capacity cannot be: with less, some requests would be refused
// however idle the ledger is.
func (c Capacity) Check() error {
	for _, f := range []struct {
		name      string
		got, must int64
	}{
		{"submissions", c.Submissions, submissionHolds(maxMessage)},
		{"reads", c.Reads, 4 * costList},
		{"calls", c.Calls, submissionHolds(maxMessage)},
		{"streams", int64(c.Streams), 1},
		{"httpConnections", int64(c.HTTPConnections), 16},
		{"grpcConnections", int64(c.GRPCConnections), 4},
	} {
		if f.got < f.must {
			return fmt.Errorf("%s is %d, and must be at least %d", f.name, f.got, f.must)
		}
	}
	return nil
}

// DefaultMemory is the memory that a Capacity is of where nothing else is said.
const DefaultMemory = 1 << 30

// LeastMemory is what a ledger needs to take the largest attestation.
const LeastMemory = 128 << 20

// Times after which those who are slow are cut off.
const (
	bodyPatience = 2 * time.Second  // of senders, once others are refused
	readPatience = 10 * time.Second // of receivers, once others are refused
	readWait     = 5 * time.Second  // of reads for their turn

	bodyDeadline   = time.Minute
	answerDeadline = 2 * time.Minute // to be sent in, where it is no stream
	writeDeadline  = 30 * time.Second
	headerDeadline = 10 * time.Second
	// refusedDeadline is for the body of a request that was refused.
	refusedDeadline = 5 * time.Second

	maxHeader = 16 << 10
)

// submissionHolds is what a submission of size bytes holds.
func submissionHolds(size int64) int64 {
	if size < 0 || size > attest.MaxEnvelope {
		size = attest.MaxEnvelope
	}
	return submissionCost + bodyFactor*size
}

// entrance is a door with what it refuses.
type entrance struct {
	*door.Door
	refusals [door.MaxWait/time.Second + 1]refusal // by seconds to wait
}

// refusal is an answer that is made beforehand: when the ledger is flooded, it is
// given more often than any other.
type refusal struct {
	err  error
	body []byte
}

func newEntrance(what string, limit int64, patience time.Duration, now func() time.Time) *entrance {
	e := &entrance{Door: door.New(door.Config{Limit: limit, Patience: patience, Now: now})}
	for s := range e.refusals {
		// Without the request's id, which its header has.
		st := statusOf(context.Background(), &reason.Error{
			Reason:     reason.Overloaded,
			Message:    fmt.Sprintf("the ledger has as many %s under way as it takes", what),
			RetryAfter: max(time.Second, time.Duration(s)*time.Second),
		})
		// A status of our own making can be marshalled.
		body, _ := protojson.Marshal(st.Proto())
		e.refusals[s] = refusal{st.Err(), body}
	}
	return e
}

func (e *entrance) refusal(wait time.Duration) (seconds int, r *refusal) {
	seconds = min(int((wait+time.Second-1)/time.Second), len(e.refusals)-1)
	return seconds, &e.refusals[seconds]
}

// refuse answers a request before anything of its body is read. Then the body is
// thrown away, for a short time: who is still sending may not be reading yet, and
// would not see the answer if the connection were closed.
func (e *entrance) refuse(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	seconds, refusal := e.refusal(wait)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(refusal.body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", strconv.Itoa(seconds))
	if r.ContentLength == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(refusal.body)
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	_ = control.SetReadDeadline(time.Now().Add(refusedDeadline))
	w.WriteHeader(http.StatusServiceUnavailable)
	if _, err := w.Write(refusal.body); err == nil && control.Flush() == nil {
		_, _ = io.CopyN(io.Discard, r.Body, attest.MaxEnvelope)
	}
}

// doors are those of a Server.
type doors struct {
	submissions, reads, calls, streams *entrance
	http, grpc                         *door.Connections
	readWait                           time.Duration
}

func newDoors(c Capacity, now func() time.Time) *doors {
	d := &doors{
		submissions: newEntrance("submissions", c.Submissions, bodyPatience, now),
		reads:       newEntrance("reads", c.Reads, readPatience, now),
		calls:       newEntrance("calls", c.Calls, bodyPatience, now),
		streams:     newEntrance("streams", int64(c.Streams)*costStream, bodyPatience, now),
		grpc:        door.NewConnections(c.GRPCConnections, nil),
		readWait:    readWait,
	}
	d.http = door.NewConnections(c.HTTPConnections, d.refuseConnection)
	return d
}

// refuseConnection answers before anything is read: whoever sends a request on it
// finds that it was refused. Those whose slow bodies keep connections make room.
func (d *doors) refuseConnection(nc net.Conn) {
	d.submissions.Press()
	d.calls.Press()
	seconds, r := d.submissions.refusal(d.submissions.Wait())
	_ = nc.SetDeadline(time.Now().Add(time.Second))
	_, err := fmt.Fprintf(nc, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"+
		"Retry-After: %d\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", seconds, len(r.body), r.body)
	if tcp, ok := nc.(*net.TCPConn); ok && err == nil {
		// To close while there is something to read would reset the connection, and
		// the answer could be lost.
		_ = tcp.CloseWrite()
		var b [4 << 10]byte
		for range 16 {
			if _, err := nc.Read(b[:]); err != nil {
				return
			}
		}
	}
}

// Describe implements prometheus.Collector.
func (d *doors) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descHeld, descRefused, descConnections} {
		ch <- desc
	}
}

var (
	descHeld = prometheus.NewDesc("cairn_ledger_reserved_bytes",
		"Memory that is reserved for requests under way, by kind.", []string{"kind"}, nil)
	descRefused = prometheus.NewDesc("cairn_ledger_shed_total",
		"Requests and connections that were refused at once for want of capacity, by kind.", []string{"kind"}, nil)
	descConnections = prometheus.NewDesc("cairn_ledger_connections",
		"Open connections, by listener.", []string{"listener"}, nil)
)

// Collect implements prometheus.Collector.
func (d *doors) Collect(ch chan<- prometheus.Metric) {
	for kind, e := range map[string]*entrance{"submission": d.submissions, "read": d.reads, "call": d.calls, "stream": d.streams} {
		ch <- prometheus.MustNewConstMetric(descHeld, prometheus.GaugeValue, float64(e.Held()), kind)
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(e.Refused()), kind)
	}
	for name, c := range map[string]*door.Connections{"http": d.http, "grpc": d.grpc} {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(c.Refused()), name+"-connection")
		ch <- prometheus.MustNewConstMetric(descConnections, prometheus.GaugeValue, float64(c.Open()), name)
	}
}

// entry is a request behind a door.
type entry struct {
	*door.Pass
	entrance *entrance // of a read
	// Of a gRPC call, until its message is there.
	timer *time.Timer
	read  func()
	holds func(size int64) int64
	// stop ends the waiting, for want of room.
	stop func()
	cut  chan struct{} // closed by it, of a submission
}

// here says that a call's message need not be waited for any more.
func (e *entry) here() {
	e.timer.Stop()
	e.read()
}

type entryKey struct{}

func entryOf(ctx context.Context) *entry {
	e, _ := ctx.Value(entryKey{}).(*entry)
	return e
}

// holdAnswer makes a read hold what its answer takes, until that is sent. A request
// without an entry is not bounded.
func holdAnswer(ctx context.Context, answer proto.Message) error {
	if e := entryOf(ctx); e == nil || e.entrance == nil {
		return nil
	}
	return holdBytes(ctx, proto.Size(answer))
}

// holdBytes is holdAnswer of an answer of size bytes.
func holdBytes(ctx context.Context, size int) error {
	const copies = 2 // the message, and how it is sent
	e := entryOf(ctx)
	if e == nil || e.entrance == nil || e.Hold(costSegment+copies*int64(size)) {
		return nil
	}
	_, r := e.entrance.refusal(e.entrance.Wait())
	return r.err
}

// doorOf returns which door a request goes through, and what it costs; nil for one
// that the bound of connections bounds.
func (d *doors) doorOf(r *http.Request) (*entrance, int64) {
	path := r.URL.Path
	has := func(prefix string) bool { return strings.HasPrefix(path, prefix) }
	switch {
	case isSubmission(r):
		return d.submissions, submissionHolds(r.ContentLength)
	case path == "/v1/log/checkpoints:watch", has("/v1/builds/") && strings.HasSuffix(path, "/log"):
		return d.streams, costStream
	case has("/v1/artifacts/"), path == "/v1/attestations", path == "/v1/builds":
		return d.reads, costList
	case has("/v1/attestations/"), has("/certifications/"):
		return d.reads, costAttested
	case has("/tile/entries/"), has("/api/v2/tile/entries/"):
		return d.reads, costBundle
	case has("/checkpoints/"):
		return d.reads, costSegment
	case isPage(path):
		return d.reads, costPage
	case r.ContentLength != 0:
		return d.calls, submissionHolds(r.ContentLength)
	}
	return nil, 0
}

// isPage reports whether a path is one of the dashboard's that reads.
func isPage(path string) bool {
	for _, prefix := range []string{"/p/", "/e/", "/rebuilders/", "/packages/", "/builds/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	switch strings.TrimSuffix(path, ".json") {
	case "/", "/index", "/packages", "/bootstrap", "/compare", "/search", "/rebuilders", "/witnesses", "/log", "/builds", "/api", "/feed.atom":
		return true
	}
	return false
}

func isSubmission(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost:
		return r.URL.Path == "/v1/attestations" || strings.HasPrefix(r.URL.Path, "/api/v2/") || strings.HasPrefix(r.URL.Path, "/certifications/")
	case http.MethodPut:
		return strings.HasPrefix(r.URL.Path, "/certifications/")
	}
	return false
}
