package witness_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

const (
	origin      = "log.example/test"
	witnessName = "witness.example/w"
)

// fixture is a witness of one log, with its state in memory.
type fixture struct {
	*witness.Witness
	log   *witnesstest.Log
	state *state.DB
	reg   *prometheus.Registry
	now   time.Time
	mux   *http.ServeMux
}

func newFixture(t testing.TB, change ...func(*witness.Config)) *fixture {
	t.Helper()
	f := &fixture{log: witnesstest.NewLog(origin), now: time.Unix(1_800_000_000, 0), reg: prometheus.NewRegistry()}
	f.log.Grow(300, "entry")
	var err error
	if f.state, err = state.OpenMemory(t.Context(), state.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.state.Close() })
	l, err := witness.NewLog([]string{f.log.VKey}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	c := witness.Config{
		Name: witnessName, Signer: witnesstest.Key("w"), Logs: []witness.Log{l}, State: f.state,
		Now: func() time.Time { return f.now }, MaxClockBehind: time.Minute,
		Registerer: f.reg, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&c)
	}
	if f.Witness, err = witness.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.state = c.State
	f.Start()
	f.mux = http.NewServeMux()
	f.Register(f.mux)
	return f
}

type answer struct {
	Code        int
	ContentType string
	Body        string
}

func (f *fixture) do(method, path string, body io.Reader) answer {
	rw := httptest.NewRecorder()
	f.mux.ServeHTTP(rw, httptest.NewRequest(method, path, body))
	return answer{rw.Code, rw.Header().Get("Content-Type"), rw.Body.String()}
}

func (f *fixture) add(body []byte) answer {
	return f.do(http.MethodPost, "/add-checkpoint", bytes.NewReader(body))
}

// mustAdd has the witness cosign an honest checkpoint.
func (f *fixture) mustAdd(t testing.TB, old, size int64) answer {
	t.Helper()
	a := f.add(f.log.Request(old, size))
	if a.Code != http.StatusOK {
		t.Fatalf("adding size %d: %d %s", size, a.Code, a.Body)
	}
	return a
}

func (f *fixture) size(t *testing.T) int64 {
	t.Helper()
	r, err := f.state.Latest(t.Context(), origin)
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return -1
	}
	return r.Size
}

func lines(n int) string {
	h := base64.StdEncoding.EncodeToString(make([]byte, 32))
	return strings.Repeat(h+"\n", n)
}

// unlike is a root that no tree here has.
var unlike = tlog.Hash{1, 2, 3}

// addTest is one request to a witness.
type addTest struct {
	name string
	// old sizes that are cosigned before; nil if nothing ever was.
	cosigned []int64
	body     []byte
	code     int
	conflict string // body of a 409
}

func request(old int64, proof []tlog.Hash, signed []byte) []byte {
	return witness.Request{Old: old, Proof: proof, Note: signed}.Marshal()
}

func text(log *witnesstest.Log, n int64) string {
	return torchwood.Checkpoint{Origin: origin, Tree: log.Tree(n)}.String()
}

// conformance are the rows of the table of what other witnesses get wrong.
func conformance(log *witnesstest.Log) []addTest {
	stranger := witnesstest.NewSigner(origin, "another key")
	other := witnesstest.NewLog("other.example/log").Grow(10, "entry")
	// A line with the log's name and key id that is not its signature.
	forged := bytes.TrimSuffix(log.Checkpoint(6), []byte("\n"))
	copy(forged[len(forged)-12:], "AAAAAAAA")
	forged = append(forged, '\n')
	var pq []note.Signer
	for i := range 15 {
		pq = append(pq, &bigSigner{name: fmt.Sprintf("pq.example/%d", i)})
	}
	return []addTest{
		{"never seen, old 5", nil, request(5, log.Proof(5, 6), log.Checkpoint(6)), 409, "0\n"},
		{"size 0 with a wrong root", nil, request(0, nil, log.SignTree(tlog.Tree{Hash: unlike})), 422, ""},
		{"old 0 with a proof, never seen", nil, request(0, log.Proof(3, 6), log.Checkpoint(6)), 422, ""},
		{"old 0 with a proof, size 0 seen", []int64{0}, request(0, log.Proof(3, 6), log.Checkpoint(6)), 422, ""},
		{"unknown origin", nil, other.Request(0, 5), 404, ""},
		{"wrong key", nil, request(0, nil, witnesstest.SignText(text(log, 6), stranger)), 403, ""},
		{"bad signature of a trusted key", nil, request(0, nil, forged), 403, ""},
		{"same size, different root", []int64{6}, request(6, nil, log.SignTree(tlog.Tree{N: 6, Hash: unlike})), 422, ""},
		{"old size with a leading zero", []int64{6}, append([]byte("old 06\n"), log.Request(6, 9)[len("old 6\n"):]...), 400, ""},
		{"old size with something behind it", []int64{6}, append([]byte("old 6 zzz\n"), log.Request(6, 9)[len("old 6\n"):]...), 400, ""},
		{"64 lines of proof", []int64{6}, []byte("old 6\n" + lines(64) + "\n" + string(log.Checkpoint(9))), 400, ""},
		{"63 lines of proof", []int64{6}, []byte("old 6\n" + lines(63) + "\n" + string(log.Checkpoint(9))), 422, ""},
		{"an Ed25519 signature and 15 of the size of ML-DSA's", nil, request(0, nil, log.SignTree(log.Tree(6), pq...)), 200, ""},
	}
}

// specification are the rows of what C2SP tlog-witness says besides.
func specification(log *witnesstest.Log) []addTest {
	stranger := witnesstest.NewSigner(origin, "another key")
	return []addTest{
		{"first checkpoint", nil, log.Request(0, 6), 200, ""},
		{"first checkpoint, of size 0", nil, log.Request(0, 0), 200, ""},
		{"size 0 again", []int64{0}, log.Request(0, 0), 200, ""},
		{"from size 0", []int64{0}, log.Request(0, 6), 200, ""},
		{"next checkpoint", []int64{6}, log.Request(6, 9), 200, ""},
		{"same checkpoint again", []int64{6, 9}, log.Request(9, 9), 200, ""},
		{"same checkpoint again, with a proof", []int64{6, 9}, request(9, log.Proof(6, 9), log.Checkpoint(9)), 422, ""},
		{"old size is not the last", []int64{6, 9}, log.Request(6, 12), 409, "9\n"},
		{"old size 0 to ask", []int64{6, 9}, log.Request(0, 12), 409, "9\n"},
		{"smaller than the last", []int64{6, 9}, log.Request(6, 7), 409, "9\n"},
		{"wrong proof", []int64{6}, request(6, log.Proof(5, 9), log.Checkpoint(9)), 422, ""},
		{"missing proof", []int64{6}, request(6, nil, log.Checkpoint(9)), 422, ""},
		{"old larger than the checkpoint", []int64{6, 9}, request(9, nil, log.Checkpoint(8)), 400, ""},
		{"trusted and unknown keys", nil, request(0, nil, log.SignTree(log.Tree(6), stranger)), 200, ""},
		{"no signature at all", nil, request(0, nil, []byte(text(log, 6)+"\n")), 400, ""},
		{"extension lines without end", nil, request(0, nil, witnesstest.SignText(text(log, 6)+strings.Repeat("more\n", 2000), log.Signer)), 400, ""},
		{"extension lines", nil, request(0, nil, witnesstest.SignText(text(log, 6)+"more\n", log.Signer)), 200, ""},
	}
}

// encodings are the rows of what other parsers take for something.
func encodings(log *witnesstest.Log) []addTest {
	honest := log.Request(0, 6)[len("old 0\n"):]
	return []addTest{
		{"empty", nil, nil, 400, ""},
		{"no empty line", nil, []byte("old 0\n"), 400, ""},
		{"no checkpoint", nil, []byte("old 0\n\n"), 404, ""},
		{"old size with a sign", nil, append([]byte("old +0\n"), honest...), 400, ""},
		{"old size negative", nil, append([]byte("old -1\n"), honest...), 400, ""},
		{"old size of 20 digits", nil, append([]byte("old 18446744073709551615\n"), honest...), 400, ""},
		{"two spaces", nil, append([]byte("old  0\n"), honest...), 400, ""},
		{"carriage return", nil, append([]byte("old 0\r\n"), honest...), 400, ""},
		{"proof line with a carriage return", []int64{6}, []byte("old 6\n" + strings.TrimSpace(lines(1)) + "\r\n\n" + string(log.Checkpoint(9))), 400, ""},
		{"proof line of 31 bytes", []int64{6}, []byte("old 6\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n\n" + string(log.Checkpoint(9))), 400, ""},
		{"proof line with trailing bits", []int64{6}, []byte("old 6\n" + strings.Repeat("A", 42) + "B=\n\n" + string(log.Checkpoint(9))), 400, ""},
		{"checkpoint size with a leading zero", nil, request(0, nil, witnesstest.SignText(strings.Replace(text(log, 6), "\n6\n", "\n06\n", 1), log.Signer)), 400, ""},
		{"checkpoint size over 2^63", nil, request(0, nil, witnesstest.SignText(strings.Replace(text(log, 6), "\n6\n", "\n9223372036854775808\n", 1), log.Signer)), 400, ""},
		{"root of 33 bytes", nil, request(0, nil, witnesstest.SignText(origin+"\n6\n"+base64.StdEncoding.EncodeToString(make([]byte, 33))+"\n", log.Signer)), 400, ""},
		{"root with trailing bits", nil, request(0, nil, witnesstest.SignText(origin+"\n6\n"+strings.Repeat("A", 42)+"B=\n", log.Signer)), 400, ""},
	}
}

func TestAddCheckpoint(t *testing.T) {
	log := witnesstest.NewLog(origin).Grow(300, "entry")
	for _, tt := range slices.Concat(conformance(log), specification(log), encodings(log)) {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			old, want := int64(0), int64(-1)
			for _, n := range tt.cosigned {
				f.mustAdd(t, old, n)
				old, want = n, n
			}
			got := f.add(tt.body)
			if got.Code != tt.code {
				t.Fatalf("status %d (%s), want %d", got.Code, strings.TrimSpace(got.Body), tt.code)
			}
			switch tt.code {
			case 200:
				checkCosignature(t, f, tt.body, got.Body)
				return
			case 409:
				if diff := cmp.Diff(answer{409, "text/x.tlog.size", tt.conflict}, got); diff != "" {
					t.Errorf("conflict (-want +got):\n%s", diff)
				}
			}
			if size := f.size(t); size != want {
				t.Errorf("state has size %d after the refusal, want %d", size, want)
			}
		})
	}
}

// bigSigner signs as a key of a type that nobody knows would, with 3.3 kB.
type bigSigner struct{ name string }

func (s *bigSigner) Name() string                { return s.name }
func (s *bigSigner) KeyHash() uint32             { return 0x01020304 }
func (s *bigSigner) Sign([]byte) ([]byte, error) { return make([]byte, 2420), nil }

// checkCosignature checks that lines are signature lines for the checkpoint of
// body, by our key, at the fixture's time, and that the state has it.
func checkCosignature(t *testing.T, f *fixture, body []byte, lines string) {
	t.Helper()
	_, signed, _ := bytes.Cut(body, []byte("\n\n"))
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	n, err := note.Open([]byte(string(text)+"\n\n"+lines), note.VerifierList(f.Verifier()))
	if err != nil {
		t.Fatalf("opening the checkpoint with the cosignature: %v\n%s", err, lines)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		t.Errorf("got %d and %d signatures, want one", len(n.Sigs), len(n.UnverifiedSigs))
	}
	at, err := torchwood.CosignatureTimestamp(n.Sigs[0])
	if err != nil || at != f.now.Unix() {
		t.Errorf("timestamp %d, %v, want %d", at, err, f.now.Unix())
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		t.Fatal(err)
	}
	if size := f.size(t); size != c.N {
		t.Errorf("state has size %d, want %d", size, c.N)
	}
}

func TestAddCheckpointHTTP(t *testing.T) {
	f := newFixture(t)
	if a := f.do(http.MethodGet, "/add-checkpoint", nil); a.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d, want 405", a.Code)
	}
	large := append(f.log.Request(0, 6), make([]byte, witness.MaxRequest)...)
	if a := f.add(large); a.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("oversized body: status %d, want 413", a.Code)
	}
	// A body without end is cut off at the limit.
	if a := f.do(http.MethodPost, "/add-checkpoint", zeroes{}); a.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("endless body: status %d, want 413", a.Code)
	}
	if got := f.mustAdd(t, 0, 6); got.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("content type %q", got.ContentType)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestMonitoring(t *testing.T) {
	f := newFixture(t)
	path := "/" + hash(origin) + "/checkpoint"
	for name, p := range map[string]string{
		"nothing cosigned": path, "unknown origin": "/" + hash("other") + "/checkpoint", "other file": "/" + hash(origin) + "/tile",
	} {
		if a := f.do(http.MethodGet, p, nil); a.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", name, a.Code)
		}
	}
	// Lines that are not the log's, among them one that bears our own name.
	junk := &bigSigner{name: witnessName}
	f.add(witness.Request{Note: f.log.SignTree(f.log.Tree(6), junk)}.Marshal())
	want := f.mustAdd(t, 6, 9)

	a := f.do(http.MethodGet, path, nil)
	if a.Code != http.StatusOK {
		t.Fatalf("status %d", a.Code)
	}
	if got := string(f.log.Checkpoint(9)) + want.Body; a.Body != got {
		t.Errorf("served\n%s\nwant\n%s", a.Body, got)
	}
	r, err := f.state.CosignedAt(t.Context(), origin, 6)
	if err != nil || string(r.Note) != string(f.log.Checkpoint(6)) {
		t.Errorf("stored %q, %v, want the log's line alone", r.Note, err)
	}

	rw := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	f.mux.ServeHTTP(rw, req)
	req.Header.Set("If-None-Match", rw.Header().Get("ETag"))
	rw = httptest.NewRecorder()
	f.mux.ServeHTTP(rw, req)
	if rw.Code != http.StatusNotModified || rw.Body.Len() != 0 {
		t.Errorf("with its ETag: status %d and %d bytes, want 304 and none", rw.Code, rw.Body.Len())
	}
}

func TestMonitoringAfterRestart(t *testing.T) {
	f := newFixture(t)
	want := f.mustAdd(t, 0, 6)
	f.now = f.now.Add(time.Hour)
	again := newFixture(t, func(c *witness.Config) { c.State = f.state })
	got := again.do(http.MethodGet, "/"+hash(origin)+"/checkpoint", nil)
	if !strings.HasSuffix(got.Body, want.Body) {
		t.Errorf("after a restart, served\n%s\nwant the cosignature\n%s", got.Body, want.Body)
	}
}

func TestProofIsKept(t *testing.T) {
	f := newFixture(t)
	f.mustAdd(t, 0, 6)
	f.now = f.now.Add(time.Minute)
	f.mustAdd(t, 6, 9)
	f.now = f.now.Add(time.Minute)
	f.mustAdd(t, 9, 9) // only the time moves
	got, err := f.state.Chain(t.Context(), origin, 0, 100, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []*state.Record{
		{Origin: origin, Size: 6, Root: f.log.Tree(6).Hash, Time: 1_800_000_000, Note: f.log.Checkpoint(6)},
		{Origin: origin, Size: 9, Root: f.log.Tree(9).Hash, Time: 1_800_000_120, Note: f.log.Checkpoint(9), Old: 6, Proof: f.log.Proof(6, 9)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestManyKeys(t *testing.T) {
	old, next, gone := witnesstest.NewSigner(origin, "old"), witnesstest.NewSigner(origin, "next"), witnesstest.NewSigner(origin, "gone")
	l, err := witness.NewLog([]string{old.VKey, next.VKey}, []string{gone.VKey}, "")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(c *witness.Config) { c.Logs = []witness.Log{l} })
	text := func(n int64) string { return torchwood.Checkpoint{Origin: origin, Tree: f.log.Tree(n)}.String() }
	add := func(old, n int64, signers ...note.Signer) int {
		return f.add(witness.Request{Old: old, Proof: f.log.Proof(old, n), Note: witnesstest.SignText(text(n), signers...)}.Marshal()).Code
	}
	for _, tt := range []struct {
		name   string
		old, n int64
		signer []note.Signer
		want   int
	}{
		{"old key", 0, 6, []note.Signer{old}, 200},
		{"both keys", 6, 7, []note.Signer{old, next}, 200},
		{"new key", 7, 8, []note.Signer{next}, 200},
		{"retired key", 8, 9, []note.Signer{gone}, 403},
	} {
		if got := add(tt.old, tt.n, tt.signer...); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestMetricsHaveKnownOriginsOnly(t *testing.T) {
	f := newFixture(t)
	f.mustAdd(t, 0, 6)
	for i := range 50 {
		f.add(witnesstest.NewLog(fmt.Sprintf("random.example/%d", i)).Grow(1, "x").Request(0, 1))
	}
	f.add([]byte("junk"))
	rw := httptest.NewRecorder()
	promhttp.HandlerFor(f.reg, promhttp.HandlerOpts{}).ServeHTTP(rw, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var got []string
	for line := range strings.Lines(rw.Body.String()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "timestamp") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`cairn_witness_log_size_entries{origin="log.example/test"} 6`,
		`cairn_witness_refusing{cause="evidence",origin="log.example/test"} 0`,
		`cairn_witness_refusing{cause="rollback",origin="log.example/test"} 0`,
		`cairn_witness_requests_total{code="200",origin="log.example/test"} 1`,
		`cairn_witness_requests_total{code="400",origin=""} 1`,
		`cairn_witness_requests_total{code="404",origin=""} 50`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func hash(origin string) string { return evidence.OriginHash(origin) }
