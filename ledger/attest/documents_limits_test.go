package attest

import (
	"runtime"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
)

// hugeDocuments are as large as an attestation may be, and must take no more than a
// few times that to refuse.
var hugeDocuments = []struct{ name, format, text string }{
	{"a folded field", FormatBuildinfo, "Format: 1.0\nSource:" + strings.Repeat("\n a", 340_000) + "\n"},
	{"empty lines that continue a field", FormatBuildinfo, "Format: 1.0\nX:" + strings.Repeat("\n .", 340_000) + "\nSource: a\n"},
	{"one long field", FormatBuildinfo, "Format: 1.0\nInstalled-Build-Depends: " + strings.Repeat("a", 1_000_000) + "\n"},
	{"many fields", FormatBuildinfo, strings.Repeat("a:\n", 340_000)},
	{"many formats", FormatArchBuildinfo, strings.Repeat("format = 1\n", 90_000)},
	{"one long name", FormatArchBuildinfo, "format = 2\npkgname = " + strings.Repeat("a-", 500_000) + "\n"},
	{"many sums", FormatSHA256Sums, strings.Repeat(strings.Repeat("a", 64)+"  x\n", 15_000)},
	{"a long name of a file", FormatSHA256Sums, strings.Repeat("a", 64) + "  " + strings.Repeat("/", 1_000_000) + "x"},
	{"many comments", FormatBuildcompare, "ok=1\n" + strings.Repeat("#\n", 500_000)},
	{"one long value", FormatBuildcompare, `okFiles="` + strings.Repeat("a ", 500_000) + "\"\n"},
}

func TestHugeDocuments(t *testing.T) {
	for _, tt := range hugeDocuments {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := documentOf(t, tt.format).attestation([]byte(tt.text))
		runtime.ReadMemStats(&after)
		refusal, ok := reason.Of(err)
		switch mib := (after.TotalAlloc - before.TotalAlloc) >> 20; {
		case mib > 200:
			t.Errorf("%s: took %d MiB", tt.name, mib)
		case tt.name == "a long name of a file" && err == nil:
		case !ok:
			t.Errorf("%s: %v", tt.name, err)
		case len(refusal.Message) > 2000:
			t.Errorf("%s: a message of %d bytes", tt.name, len(refusal.Message))
		}
	}
}
