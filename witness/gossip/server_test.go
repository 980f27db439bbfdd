package gossip_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/gossip"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

func open(t testing.TB, log *witnesstest.Log, n []byte) evidence.Signed {
	t.Helper()
	s, err := evidence.Open(n, []note.Verifier{log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestServer asks each route what it takes and what it refuses.
func TestServer(t *testing.T) {
	log, fork := forkedLog()
	m := cluster(t, newNetwork(20), log, 1, options{})[0]
	for _, n := range []int64{20, 40, 50} {
		m.mustAdd(t, log, n)
	}
	for _, tt := range slices.Concat(checkpointRequests(log), evidenceRequests(t, log, fork)) {
		rw := httptest.NewRecorder()
		m.mux.ServeHTTP(rw, httptest.NewRequest(tt.method, tt.path, bytes.NewReader(tt.body)))
		if rw.Code != tt.want {
			t.Errorf("%s %s: status %d (%s), want %d", tt.method, tt.path, rw.Code, strings.TrimSpace(rw.Body.String()), tt.want)
		}
	}
	m.checkConvicted(t, log, fork)
}

// query is how a query names the log.
func queryOf() string { return "?origin-hash=" + evidence.OriginHash(origin) }

type serverTest struct {
	method, path string
	body         []byte
	want         int
}

func checkpointRequests(log *witnesstest.Log) []serverTest {
	stranger := witnesstest.NewLog("other.example/log").Grow(60, "x")
	forged := bytes.TrimSuffix(log.Checkpoint(40), []byte("\n"))
	copy(forged[len(forged)-12:], "AAAAAAAA")
	forged = append(forged, '\n')
	return []serverTest{
		{"POST", "/gossip/v1/checkpoint", log.Checkpoint(40), 204},
		{"POST", "/gossip/v1/checkpoint", log.Checkpoint(40), 204},
		{"POST", "/gossip/v1/checkpoint", log.Checkpoint(0), 204},
		{"POST", "/gossip/v1/checkpoint", stranger.Checkpoint(40), 404},
		{"POST", "/gossip/v1/checkpoint", forged, 403},
		{"POST", "/gossip/v1/checkpoint", witnesstest.SignText("log.example/test\n1\nroot\n", log.Signer), 400},
		{"POST", "/gossip/v1/checkpoint", []byte(origin + "\njunk"), 400},
		{"POST", "/gossip/v1/checkpoint", nil, 400},
		{"POST", "/gossip/v1/checkpoint", make([]byte, evidence.MaxNoteSize+1), 413},
		{"GET", "/gossip/v1/checkpoint", nil, 405},

		{"GET", "/gossip/v1/consistency" + queryOf() + "&from=20&to=50", nil, 200},
		{"GET", "/gossip/v1/consistency" + queryOf() + "&from=50&to=20", nil, 400},
		{"GET", "/gossip/v1/consistency" + queryOf() + "&from=020&to=50", nil, 400},
		{"GET", "/gossip/v1/consistency" + queryOf(), nil, 400},
		{"GET", "/gossip/v1/consistency?from=20&to=50", nil, 404},

		{"GET", "/gossip/v1/cosigned" + queryOf() + "&witness=nobody", nil, 204},
		{"GET", "/gossip/v1/cosigned?witness=nobody", nil, 404},
		{"GET", "/challenges", nil, 200},
	}
}

func evidenceRequests(t *testing.T, log, fork *witnesstest.Log) []serverTest {
	t.Helper()
	stranger := witnesstest.NewLog("other.example/log").Grow(60, "x")
	against := func(log *witnesstest.Log, a, b []byte) *evidence.Evidence {
		e, err := evidence.AgainstLog([]note.Verifier{log}, open(t, log, a), open(t, log, b), nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	proven := against(log, log.Checkpoint(30), fork.Checkpoint(30))
	elsewhere := against(stranger, stranger.Checkpoint(30), stranger.SignTree(tlog.Tree{N: 30, Hash: tlog.Hash{1}}))
	unproven := *proven
	unproven.Notes = nil
	for _, n := range proven.Notes {
		unproven.Notes = append(unproven.Notes, bytes.Replace(n, []byte("\n30\n"), []byte("\n31\n"), 1))
	}
	held := fmt.Sprintf("/evidence/%x", proven.Hash())
	return []serverTest{
		{"GET", held, nil, 404},
		{"POST", "/evidence", []byte("junk"), 400},
		{"POST", "/evidence", make([]byte, evidence.MaxSize+1), 413},
		{"POST", "/evidence", elsewhere.Marshal(), 404},
		{"POST", "/evidence", unproven.Marshal(), 422},
		{"POST", "/evidence", proven.Marshal(), 201},
		{"POST", "/evidence", proven.Marshal(), 200},
		{"GET", held, nil, 200},
		{"GET", "/evidence/abc", nil, 404},
		{"GET", "/evidence" + queryOf(), nil, 200},
		{"GET", "/evidence", nil, 404},
		{"DELETE", "/evidence", nil, 405},
	}
}

// TestRecords: a witness shows what it saw, and why it believed it.
func TestRecords(t *testing.T) {
	log, _ := forkedLog()
	m := cluster(t, newNetwork(23), log, 1, options{})[0]
	for _, n := range []int64{20, 40, 50} {
		m.mustAdd(t, log, n)
	}
	_, page := m.get("/gossip/v1/consistency" + queryOf() + "&from=21&to=50")
	var got []witness.Request
	for line := range strings.Lines(page) {
		body, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		r, err := witness.ParseRequest(body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	want := []witness.Request{
		{Old: 20, Proof: log.Proof(20, 40), Note: log.Checkpoint(40)},
		{Old: 40, Proof: log.Proof(40, 50), Note: log.Checkpoint(50)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// endless is a body without end.
type endless struct{ read *atomic.Int64 }

func (e endless) Read(b []byte) (int, error) { e.read.Add(int64(len(b))); return len(b), nil }

// byzantine answers everything with one response.
type byzantine struct {
	asked   atomic.Int64
	respond func(*http.Request) (*http.Response, error)
}

func (b *byzantine) Do(r *http.Request) (*http.Response, error) {
	b.asked.Add(1)
	return b.respond(r)
}

func response(status int, body io.Reader, header ...string) (*http.Response, error) {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body)}, nil
}

// TestByzantinePeer has a peer, and a log's tiles, that answer anything. It
// costs bounded bytes and requests, and nothing comes of it.
func TestByzantinePeer(t *testing.T) {
	log, fork := forkedLog()
	stranger := witnesstest.NewSigner(origin, "stranger")
	text, _, _ := strings.Cut(string(fork.Checkpoint(50)), "\n\n")
	var read atomic.Int64
	for name, respond := range map[string]func(*http.Request) (*http.Response, error){
		"endless": func(*http.Request) (*http.Response, error) { return response(200, endless{&read}) },
		"redirects": func(*http.Request) (*http.Response, error) {
			return response(302, strings.NewReader(""), "Location", "http://elsewhere.example/")
		},
		"fails": func(*http.Request) (*http.Response, error) { return response(500, strings.NewReader("no")) },
		"junk": func(*http.Request) (*http.Response, error) {
			return response(200, strings.NewReader("junk\n\x00junk\n"))
		},
		"empty":         func(*http.Request) (*http.Response, error) { return response(200, strings.NewReader("")) },
		"never answers": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"another key's checkpoint": func(*http.Request) (*http.Response, error) {
			return response(200, bytes.NewReader(witnesstest.SignText(text+"\n", stranger)))
		},
		"many records": func(*http.Request) (*http.Response, error) {
			line := base64.StdEncoding.EncodeToString(fork.Request(0, 30)) + "\n"
			return response(200, strings.NewReader(strings.Repeat(line, 200)))
		},
		"much evidence": func(r *http.Request) (*http.Response, error) {
			return response(200, strings.NewReader(strings.Repeat(strings.Repeat("ab", 32)+" same-size "+strings.Repeat("cd", 32)+"\n", 400)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				read.Store(0)
				b := &byzantine{respond: respond}
				m := cluster(t, newNetwork(21), log, 2, options{logURL: true, change: func(c *gossip.Config) { c.HTTP = b }})[0]
				run(t, m)
				m.mustAdd(t, log, 20)
				m.mustAdd(t, log, 50)
				// Something to ask everyone about.
				m.post("/gossip/v1/checkpoint", log.Checkpoint(40))
				time.Sleep(4 * interval)
				synctest.Wait()
				if len(m.evidence(t)) != 0 || m.refused(t) != nil {
					t.Errorf("evidence %v, refused %v", kinds(t, m), m.refused(t))
				}
				if b.asked.Load() > 100 || read.Load() > 6<<20 {
					t.Errorf("%d requests, %d bytes in 4 rounds", b.asked.Load(), read.Load())
				}
				m.mustAdd(t, log, 60)
			})
		})
	}
}

// TestPeerLies has a peer say that it stored what it did not.
func TestPeerLies(t *testing.T) {
	log, fork := forkedLog()
	for name, records := range map[string][][]byte{
		// x is size 40 of the fork, ours are 20 and 50 of the log.
		"a proof that is none":           {fork.Request(0, 40), witness.Request{Old: 40, Proof: fork.Proof(40, 50), Note: log.Checkpoint(50)}.Marshal()},
		"our latest, without a proof":    {fork.Request(0, 40), witness.Request{Old: 0, Note: log.Checkpoint(50)}.Marshal()},
		"not the checkpoint in question": {log.Request(0, 40), log.Request(40, 50)},
		"an unsigned fork of ours": {fork.Request(0, 40), witness.Request{Old: 40, Proof: fork.Proof(40, 50),
			Note: []byte(strings.Split(string(fork.Checkpoint(50)), "— ")[0] + "— x AAAAAAAA\n")}.Marshal()},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				net := newNetwork(22)
				m := cluster(t, net, log, 2, options{challengeAfter: time.Minute})[0]
				var page []byte
				for _, r := range records {
					page = append(base64.StdEncoding.AppendEncode(page, r), '\n')
				}
				net.handlers[memberName(1)] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/gossip/v1/consistency" {
						_, _ = rw.Write(page)
						return
					}
					http.NotFound(rw, r)
				})
				run(t, m)
				m.mustAdd(t, log, 20)
				m.mustAdd(t, log, 50)
				m.post("/gossip/v1/checkpoint", fork.Checkpoint(40))
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				want := 1
				if name == "not the checkpoint in question" {
					want = 0 // the log signed that one, too: evidence
					m.checkConvicted(t, log, fork)
				} else if len(m.evidence(t)) != 0 {
					t.Errorf("evidence %v of a lie", kinds(t, m))
				}
				if got := len(challenges(t, m)); got != want {
					t.Errorf("%d challenges, want %d", got, want)
				}
			})
		})
	}
}
