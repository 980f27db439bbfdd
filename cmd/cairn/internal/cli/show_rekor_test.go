package cli

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/rekor"
	"github.com/cairnlog/cairn/ledger/rekor/rekortest"
)

// Anybody may sign a statement that a Rekor log has something: it is shown as
// proven only if its proof verifies.
func TestShownRekorEntriesAreProven(t *testing.T) {
	l := rekortest.New(t)
	c, err := rekor.NewClient(l.URL, l.Key, rekor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.Add([]byte(`{"apiVersion":"0.0.1","kind":"rpm","spec":{}}`), nil)
	f, err := c.Get(t.Context(), "1000")
	if err != nil {
		t.Fatal(err)
	}
	good, err := f.Statement(l.URL, l.Key)
	if err != nil {
		t.Fatal(err)
	}
	if v := viewRekor(good); v == nil || !v.Proven || v.Kind != "rpm 0.0.1" || v.LogID != l.Key.ID || v.Time != "2026-09-21T14:13:20Z" {
		t.Errorf("a good one is %+v", v)
	}
	for old, change := range map[string]string{
		`"integratedTime":1790000000`: `"integratedTime":1790000001`,
		`"logIndex":1000`:             `"logIndex":1001`,
		`"log":"`:                     `"log2":"`,
	} {
		bad := *good
		bad.Predicate = []byte(strings.Replace(string(good.Predicate), old, change, 1))
		if string(bad.Predicate) == string(good.Predicate) {
			t.Fatalf("the predicate has no %s", old)
		}
		if v := viewRekor(&bad); v.Proven || v.Problem == "" {
			t.Errorf("with %s it is %+v", change, v)
		}
	}
	// A key that did not sign anything.
	var p rekor.Predicate
	if err := json.Unmarshal(good.Predicate, &p); err != nil {
		t.Fatal(err)
	}
	p.PublicKey = rekortest.New(t).Key.PEM
	bad, err := attest.NewStatement(rekor.PredicateEntry, p)
	if err != nil {
		t.Fatal(err)
	}
	if v := viewRekor(bad); v.Proven {
		t.Error("another key proves it")
	}
	if v := viewRekor(&attest.Statement{PredicateType: attest.PredicateProvenance}); v != nil {
		t.Errorf("another statement is %+v", v)
	}
}
