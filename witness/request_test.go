package witness_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// FuzzAddCheckpoint sends anything to a witness that has cosigned size 6. Most of
// it does not come as far as the state, which keeps this fast.
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
	w := newFixture(f)
	w.mustAdd(f, 0, 6)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := witness.ParseRequest(body)
		if err == nil && !bytes.Equal(r.Marshal(), body) {
			t.Errorf("%q was read as %q", body, r.Marshal())
		}
		code := http.StatusOK
		var refusal *witness.Refusal
		_, addErr := w.AddCheckpoint(t.Context(), body)
		if errors.As(addErr, &refusal) {
			code = refusal.Code
		} else if addErr != nil {
			t.Fatal(addErr)
		}
		// Other libraries say whether it is a checkpoint that the log signed.
		n, openErr := note.Open(r.Note, note.VerifierList(log))
		ours := err == nil && openErr == nil
		if ours {
			c, err := torchwood.ParseCheckpoint(n.Text)
			ours = err == nil && c.String() == n.Text && c.Origin == origin && r.Old <= c.N
		}
		switch code {
		case 200, 409, 422:
			if !ours {
				t.Errorf("%d for what is no checkpoint of the log: %v, %v", code, err, openErr)
			}
		case 400, 403, 404:
			if ours {
				t.Errorf("%d for a checkpoint of the log: %v", code, addErr)
			}
		default:
			t.Errorf("status %d: %v", code, addErr)
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
