package attest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

var updateDocuments = flag.Bool("update", false, "write the golden files of documents again")

// attestation derives what a document says that some key signed.
func (d *document) attestation(payload []byte) (*Attestation, error) {
	a := &Attestation{Raw: payload, Keys: []*PublicKey{{Fingerprint: leaf.Fingerprint("openpgp:" + strings.Repeat("0123456789", 4))}}}
	if err := d.read(a, payload); err != nil {
		return nil, err
	}
	a.Claim.Format = d.format
	return a, a.finish(payload)
}

func documentOf(t testing.TB, format string) *document {
	t.Helper()
	for i := range documents {
		if documents[i].format == format {
			return &documents[i]
		}
	}
	t.Fatalf("no document has the format %s", format)
	return nil
}

// golden is what a document is read as.
type golden struct {
	Claim Claim    `json:"claim"`
	Names []string `json:"names"`
	Leaf  string   `json:"leaf"`
}

func goldenFiles(t testing.TB, format string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "documents", format, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files of %s: %v", format, err)
	}
	var inputs []string
	for _, f := range files {
		if filepath.Ext(f) != ".json" {
			inputs = append(inputs, f)
		}
	}
	return inputs
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDocuments compares what real and typical documents are read as with golden
// files, which change only together with the format's name.
func TestDocuments(t *testing.T) {
	for i := range documents {
		d := &documents[i]
		for _, name := range goldenFiles(t, d.format) {
			t.Run(strings.TrimPrefix(filepath.ToSlash(name), "testdata/documents/"), func(t *testing.T) { checkGolden(t, d, name) })
		}
	}
}

func checkGolden(t *testing.T, d *document, name string) {
	payload := readFile(t, name)
	for i := range documents {
		if o := &documents[i]; o.is(payload) != (o == d) {
			t.Errorf("it is taken for %s: %t", o.format, o.is(payload))
		}
	}
	a, err := d.attestation(payload)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(golden{a.Claim, a.names, string(a.Text)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *updateDocuments {
		if err := os.WriteFile(name+".json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, name+".json")), string(got)); diff != "" {
		t.Errorf("it is read differently (-golden +now): %s", diff)
	}
}

// TestDocumentsAgain reads each document in each other's place, and a second time:
// what is read depends on the bytes alone.
func TestDocumentsAgain(t *testing.T) {
	a := &Attestation{}
	for i := range documents {
		d := &documents[i]
		for _, name := range goldenFiles(t, d.format) {
			want, err := d.attestation(readFile(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.read(a, readFile(t, name)); err != nil {
				t.Fatal(err)
			}
			a.Claim.Format = d.format
			if diff := cmp.Diff(want.Claim, a.Claim) + cmp.Diff(want.names, a.names); diff != "" {
				t.Errorf("%s after others: %s", name, diff)
			}
		}
	}
}

// checkDocument gives a document's parser arbitrary bytes, and checks what holds
// for all that it accepts.
func checkDocument(t *testing.T, d *document, payload []byte) {
	before := bytes.Clone(payload)
	a, err := d.attestation(payload)
	if !bytes.Equal(payload, before) {
		t.Fatal("it was changed")
	}
	if err != nil {
		if e, ok := reason.Of(err); !ok || e.Reason == reason.InternalError || len(err.Error()) > 2000 {
			t.Fatalf("refused with %.3000v", err)
		}
		return
	}
	if l, err := leaf.Parse(a.Text); err != nil || cmp.Diff(a.Leaf, l) != "" {
		t.Fatalf("the leaf does not parse to itself: %v", err)
	}
	again, err := d.attestation(payload)
	if err != nil || !bytes.Equal(again.Text, a.Text) || cmp.Diff(a.Claim, again.Claim) != "" {
		t.Fatalf("it is read as something else the second time: %v", err)
	}
	for _, rs := range [][]Resource{a.Claim.Subjects, a.Claim.Materials} {
		for _, r := range rs {
			if !isPurl(r.URI) && r.URI != "" {
				t.Fatalf("the URI %q is no package URL", r.URI)
			}
			if canonical, err := CanonicalPurl(r.URI); r.URI != "" && (err != nil || canonical != r.URI) {
				t.Fatalf("%q has the canonical form %q, %v", r.URI, canonical, err)
			}
		}
	}
	for _, n := range a.names {
		if canonical, err := CanonicalPurl(n); err != nil || canonical != n {
			t.Fatalf("the name %q has the canonical form %q, %v", n, canonical, err)
		}
	}
}

func fuzzDocument(f *testing.F, format string, tests []refusal) {
	d := documentOf(f, format)
	for _, name := range goldenFiles(f, format) {
		f.Add(readFile(f, name))
	}
	for _, tt := range tests {
		if len(tt.payload) < 1<<13 { // what is over a limit mutates slowly
			f.Add([]byte(tt.payload))
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) { checkDocument(t, d, payload) })
}

// refusal is a document that is refused, and what is said of it.
type refusal struct {
	payload string
	want    reason.Reason
	says    string
}

func checkRefusals(t *testing.T, format string, tests []refusal) {
	d := documentOf(t, format)
	for _, tt := range tests {
		_, err := d.attestation([]byte(tt.payload))
		if e, ok := reason.Of(err); !ok || e.Reason != tt.want || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.200q: %v\nwant %s, %q", tt.payload, err, tt.want, tt.says)
		}
	}
}

func FuzzSimpleSigning(f *testing.F) { fuzzDocument(f, FormatSimpleSigning, simpleSigningRefusals()) }
func FuzzBuildinfo(f *testing.F)     { fuzzDocument(f, FormatBuildinfo, buildinfoRefusals()) }
func FuzzSHA256Sums(f *testing.F)    { fuzzDocument(f, FormatSHA256Sums, sha256SumsRefusals()) }
func FuzzArchBuildinfo(f *testing.F) { fuzzDocument(f, FormatArchBuildinfo, archBuildinfoRefusals()) }
func FuzzBuildcompare(f *testing.F)  { fuzzDocument(f, FormatBuildcompare, buildcompareRefusals()) }
