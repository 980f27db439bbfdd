package witness_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// FuzzAddCheckpoint sends anything to a witness that has cosigned size 6.
func FuzzAddCheckpoint(f *testing.F) {
	log := witnesstest.NewLog(origin).Grow(300, "entry")
	for _, seed := range [][]byte{
		log.Request(6, 9), log.Request(6, 6), log.Request(0, 6), log.Request(9, 12), log.Request(0, 0),
		witnesstest.NewLog(origin).Grow(300, "fork").Request(6, 9),
		witness.Request{Old: 6, Proof: log.Proof(6, 9), Note: log.SignTree(log.Tree(9), witnesstest.NewSigner("other", "x"))}.Marshal(),
		[]byte("old 6\n" + lines(63) + "\n" + string(log.Checkpoint(9))),
	} {
		f.Add(seed)
	}
	codes := []int{200, 400, 403, 404, 409, 422}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := witness.ParseRequest(body)
		if err == nil && !bytes.Equal(r.Marshal(), body) {
			t.Errorf("%q was read as %q", body, r.Marshal())
		}
		w := newFixture(t)
		w.mustAdd(t, 0, 6)
		got := w.add(body)
		if !slices.Contains(codes, got.Code) {
			t.Errorf("status %d %s", got.Code, got.Body)
		}
		// Other libraries decide whether it is a checkpoint of the log.
		n, openErr := note.Open(r.Note, note.VerifierList(log))
		if got.Code == http.StatusOK {
			if openErr != nil || err != nil {
				t.Fatalf("cosigned what nobody else takes for a checkpoint: %v, %v", openErr, err)
			}
			if c, err := torchwood.ParseCheckpoint(n.Text); err != nil || r.Old != 6 || c.N < 6 {
				t.Errorf("cosigned %q, %v", n.Text, err)
			}
			return
		}
		if err == nil && openErr == nil && got.Code == http.StatusBadRequest {
			c, parseErr := torchwood.ParseCheckpoint(n.Text)
			if parseErr == nil && c.String() == n.Text && r.Old <= c.N {
				t.Errorf("a checkpoint of the log is taken for malformed: %s", got.Body)
			}
		}
	})
}

func TestRequestRoundTrip(t *testing.T) {
	log := witnesstest.NewLog(origin).Grow(300, "entry")
	for _, want := range [][]byte{log.Request(0, 0), log.Request(0, 300), log.Request(17, 300), log.Request(300, 300)} {
		r, err := witness.ParseRequest(want)
		if err != nil || !bytes.Equal(r.Marshal(), want) {
			t.Errorf("%q: %+v, %v", want, r, err)
		}
	}
}

func TestNewLog(t *testing.T) {
	key, other := witnesstest.NewSigner(origin, "1").VKey, witnesstest.NewSigner("other.example", "1").VKey
	for name, keys := range map[string][2][]string{
		"no key":           {},
		"a key twice":      {{key, key}},
		"also retired":     {{key}, {key}},
		"of two logs":      {{key, other}},
		"retired of other": {{key}, {other}},
		"malformed":        {{"x"}},
		"a witness's":      {{witnesstest.NewCosigner(origin, "w").Verifier().String()}},
	} {
		if l, err := witness.NewLog(keys[0], keys[1], ""); err == nil {
			t.Errorf("%s: got %+v", name, l)
		}
	}
	l, err := witness.NewLog([]string{key}, []string{witnesstest.NewSigner(origin, "2").VKey}, "http://log")
	if err != nil || l.Origin != origin || len(l.Keys) != 1 || len(l.AllKeys()) != 2 {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestOpenRefusesWhatIsTooLarge(t *testing.T) {
	log := witnesstest.NewLog(origin).Grow(1, "entry")
	text, _, _ := strings.Cut(string(log.Checkpoint(1)), "\n\n")
	large := witnesstest.SignText(text+"\n"+strings.Repeat("x\n", evidence.MaxNoteSize/2), log.Signer)
	if _, err := evidence.Open(large, []note.Verifier{log}); !errors.Is(err, evidence.ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}
