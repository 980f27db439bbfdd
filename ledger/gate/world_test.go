package gate

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// now is the time of all tests that need one.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// testKey is a key for tests alone; to make one takes long.
var testKey = sync.OnceValue(func() (k struct{ secret, public []byte }) {
	var err, also error
	k.secret, err = os.ReadFile("testdata/gate.key")
	k.public, also = os.ReadFile("testdata/gate.key.pub")
	if err != nil || also != nil {
		panic(errors.Join(err, also))
	}
	return k
})

func signingKey(t testing.TB) *Key {
	t.Helper()
	k, err := ReadSecretKey(testKey().secret, now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func digestOf(word string) leaf.Digest { return leaf.SHA256([]byte(word)) }

// image is the one of docker.io/stagex that a word stands for.
func image(word string) Image { return Image{"docker.io/stagex/" + word, digestOf(word)} }

var errNoAnswer = errors.New("the ledger does not answer")

// fake is a policy's decisions by the digests of words; of others, nothing is
// logged.
type fake struct {
	verdicts  map[string]verify.Verdict
	excepted  map[string]bool
	broken    map[string]bool
	instances map[string][]string

	mu    sync.Mutex
	asked map[leaf.Digest]int
	enter chan struct{} // if set, each decision waits for a value
}

func (f *fake) gate() *Gate {
	f.asked = make(map[leaf.Digest]int)
	return &Gate{Decide: f.decide, Instances: func(_ context.Context, i Image) ([]leaf.Digest, error) {
		var digests []leaf.Digest
		for word, of := range f.instances {
			if digestOf(word) == i.Digest {
				for _, w := range of {
					digests = append(digests, digestOf(w))
				}
			}
		}
		return digests, nil
	}}
}

func (f *fake) decide(ctx context.Context, i Image) (*verify.Report, error) {
	f.mu.Lock()
	f.asked[i.Digest]++
	f.mu.Unlock()
	if f.enter != nil {
		select {
		case <-f.enter:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r := &verify.Report{Artifact: i.Digest, Verdict: verify.VerdictUntried, Reasons: []string{"nothing that counts is logged"}}
	for word, v := range f.verdicts {
		if digestOf(word) == i.Digest {
			r.Verdict, r.Accepted, r.Reasons = v, v == verify.VerdictReproduced || f.excepted[word], nil
			if !r.Accepted {
				r.Reasons = []string{"1 of 2 operators obtained it"}
			}
		}
	}
	for word := range f.broken {
		if digestOf(word) == i.Digest {
			return nil, errNoAnswer
		}
	}
	return r, nil
}

func (f *fake) times(word string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[digestOf(word)]
}

func config(g *Gate) Config {
	return Config{
		Gate: g, TTL: time.Hour, Timeout: time.Minute, Now: func() time.Time { return now },
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}
