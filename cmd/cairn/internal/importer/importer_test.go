package importer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// list is a source that is given.
type list []Item

func (l list) String() string { return "list" }

func (l list) Items(_ context.Context, done func(string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, item := range l {
			if done(item.Name) {
				item.Raw = nil
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// broken is a source that ends with an error.
type broken struct{ list }

func (b broken) Items(ctx context.Context, done func(string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for item := range b.list.Items(ctx, done) {
			if !yield(item, nil) {
				return
			}
		}
		yield(Item{}, errBroken)
	}
}

var errBroken = errors.New("the source broke")

// fakeLedger logs everything once, unless answer says otherwise.
type fakeLedger struct {
	answer func(raw string, attempt int) error

	mu       sync.Mutex
	attempts map[string]int
	index    map[string]int64
	order    []string
}

func (f *fakeLedger) Log(ctx context.Context, raw []byte) (Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts == nil {
		f.attempts, f.index = make(map[string]int), make(map[string]int64)
	}
	f.attempts[string(raw)]++
	if f.answer != nil {
		if err := f.answer(string(raw), f.attempts[string(raw)]); err != nil {
			return Entry{}, err
		}
	}
	if i, ok := f.index[string(raw)]; ok {
		return Entry{Index: i, Size: int64(len(f.index))}, ctx.Err()
	}
	i := int64(len(f.index))
	f.index[string(raw)] = i
	f.order = append(f.order, string(raw))
	return Entry{Index: i, Created: true, Size: i + 1}, ctx.Err()
}

// sample is an attestation in no format that is known here, which is left to the
// ledger.
func sample(i int) Item {
	return Item{Name: fmt.Sprintf("item-%03d", i), Group: fmt.Sprintf("group %d", i%2), Raw: fmt.Appendf(nil, "attestation %d", i)}
}

func samples(n int) list {
	var l list
	for i := range n {
		l = append(l, sample(i))
	}
	return l
}

func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestImportCountsEveryItemOnce(t *testing.T) {
	src := samples(1000)
	src = append(src, Item{Name: "again", Group: "group 0", Raw: src[7].Raw})
	src = append(src, Item{Name: "absent", Err: errors.New("there is no such file")})
	src = append(src, Item{Name: "broken", Raw: []byte(`{"payloadType":1}`)})
	ledger := &fakeLedger{answer: func(raw string, _ int) error {
		if strings.HasSuffix(raw, "99") {
			return reason.Errorf(reason.KeyNotEnrolled, "no key")
		}
		return nil
	}}
	im := Import{Source: src, Ledger: ledger, Sleep: noSleep}
	got, err := im.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Items != 1003 || got.New != 990 || got.Known != 1 || got.Refused != 12 || !got.Complete || got.Size != 990 {
		t.Errorf("report %+v", got)
	}
	var why []string
	for _, r := range got.Refusals {
		why = append(why, fmt.Sprintf("%s %d %s", r.Reason, r.Count, r.Items[0].Name))
	}
	want := []string{"KEY_NOT_ENROLLED 10 item-099", "ENVELOPE_MALFORMED 1 broken", "SOURCE_INCOMPLETE 1 absent"}
	if diff := cmp.Diff(want, why); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	groups := []Group{{"group 0", 501, 0}, {"group 1", 490, 10}}
	if diff := cmp.Diff(groups, got.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if ledger.attempts[`{"payloadType":1}`] != 0 {
		t.Error("what no ledger takes was submitted")
	}
}

func TestWhatOthersDependOnIsLoggedFirst(t *testing.T) {
	src := samples(300)
	for i := range src {
		src[i].First = i%100 == 50
	}
	ledger := new(fakeLedger)
	if _, err := (&Import{Source: src, Ledger: ledger, Sleep: noSleep}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := make(map[string]int)
	for i, raw := range ledger.order {
		at[raw] = i
	}
	for i := 51; i < len(src); i++ {
		if at[string(src[i].Raw)] < at[string(src[50].Raw)] {
			t.Fatalf("item %d was logged before item 50, on which it depends", i)
		}
	}
}

func TestABusyLedgerIsAskedAgain(t *testing.T) {
	busy := &reason.Error{Reason: reason.Overloaded, Message: "busy", RetryAfter: time.Second}
	ledger := &fakeLedger{answer: func(_ string, attempt int) error {
		if attempt <= 3 {
			return busy
		}
		return nil
	}}
	got, err := (&Import{Source: samples(40), Ledger: ledger, Sleep: noSleep}).Run(t.Context())
	if err != nil || got.New != 40 {
		t.Errorf("report %+v, %v", got, err)
	}
	stuck := &fakeLedger{answer: func(string, int) error { return busy }}
	got, err = (&Import{Source: samples(40), Ledger: stuck, Sleep: noSleep}).Run(t.Context())
	if e, ok := reason.Of(err); !ok || e.Reason != reason.Overloaded || got.Complete || got.New != 0 {
		t.Errorf("of a ledger that takes nothing: report %+v, %v", got, err)
	}
}

var endings = []struct {
	name string
	err  error
	ends bool
}{
	{"the ledger cannot be reached", errors.New("connection refused"), true},
	{"the ledger halted", reason.Errorf(reason.LedgerHalted, "halted"), true},
	{"it is a mirror", reason.Errorf(reason.MirrorOnly, "a mirror"), true},
	{"the ledger fails at one item", reason.Errorf(reason.InternalError, "a bug"), false},
	{"one item is refused", reason.Errorf(reason.SignatureInvalid, "bad"), false},
}

func TestWhatEndsAnImport(t *testing.T) {
	for _, tc := range endings {
		t.Run(tc.name, func(t *testing.T) {
			ledger := &fakeLedger{answer: func(raw string, _ int) error {
				if raw == "attestation 500" {
					return tc.err
				}
				return nil
			}}
			got, err := (&Import{Source: samples(2000), Ledger: ledger, Sleep: noSleep}).Run(t.Context())
			if (err != nil) != tc.ends || got.Complete == tc.ends {
				t.Errorf("report %+v, %v", got, err)
			}
			if tc.ends && !errors.Is(err, tc.err) {
				t.Errorf("the error is %v", err)
			}
			if n := got.New + got.Known + got.Refused; n != got.Items {
				t.Errorf("%d of %d items are accounted for", n, got.Items)
			}
		})
	}
}

func TestABrokenSourceAndAnInterruption(t *testing.T) {
	got, err := (&Import{Source: broken{samples(10)}, Ledger: new(fakeLedger), Sleep: noSleep}).Run(t.Context())
	if !errors.Is(err, errBroken) || got.Complete || got.New != 10 {
		t.Errorf("report %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ledger := &fakeLedger{answer: func(raw string, _ int) error {
		if raw == "attestation 100" {
			cancel()
		}
		return nil
	}}
	got, err = (&Import{Source: samples(5000), Ledger: ledger, Sleep: noSleep}).Run(ctx)
	if !errors.Is(err, context.Canceled) || got.Complete || got.Items >= 5000 {
		t.Errorf("report %+v, %v", got, err)
	}
}

func TestStateSparesWhatIsLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	open := func() *State {
		s, err := OpenState(path, "log.example", "list")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := &fakeLedger{answer: func(raw string, _ int) error {
		if raw == "attestation 30" {
			return reason.Errorf(reason.KeyNotEnrolled, "no key")
		}
		return nil
	}}
	s := open()
	if _, err := (&Import{Source: samples(50), Ledger: first, State: s, Sleep: noSleep}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	second := new(fakeLedger)
	s = open()
	got, err := (&Import{Source: samples(60), Ledger: second, State: s, Sleep: noSleep}).Run(t.Context())
	if err != nil || got.Resumed != 49 || got.New != 11 || len(second.order) != 11 {
		t.Errorf("report %+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, other := range [][2]string{{"other.example", "list"}, {"log.example", "another"}} {
		if _, err := OpenState(path, other[0], other[1]); !errors.Is(err, ErrOtherImport) {
			t.Errorf("the state of another import opens: %v", err)
		}
	}
}

func TestADryRunChecksWithTheKeysOfTheImport(t *testing.T) {
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	enrolment, err := attest.Enrol(signer, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	revocation, err := attest.Revoke(signer, "")
	if err != nil {
		t.Fatal(err)
	}
	src := list{{Name: "early", Raw: revocation, First: true}, {Name: "key", Raw: enrolment, First: true}, {Name: "late", Raw: revocation}}
	got, err := (&Import{Source: src}).Run(t.Context())
	if err != nil || got.Passed != 2 || got.Refused != 1 || got.Refusals[0].Items[0].Name != "early" {
		t.Errorf("report %+v, %v", got, err)
	}
	got, err = (&Import{Source: src, Keys: []*attest.PublicKey{signer.Public}}).Run(t.Context())
	if err != nil || got.Passed != 3 {
		t.Errorf("with the key: report %+v, %v", got, err)
	}
}
