package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestResultLine(t *testing.T) {
	m := &measurement{
		answered: 40_000, elapsed: 10 * time.Second,
		latencies: []time.Duration{1500 * time.Microsecond, 20 * time.Millisecond, 250 * time.Millisecond},
		failures:  map[string]int{"Unavailable OVERLOADED": 2, "503 X": 3},
		cpu:       load{Server: 150, Client: 17.4, Other: 3}, mem: memory{Peak: 300 << 20, Now: 200 << 20},
	}
	var out bytes.Buffer
	r := newReport(&out)
	r.header()
	r.add(newResult("submit", "grpc", 1024, m))
	lines := strings.Split(out.String(), "\n")
	got := strings.Fields(lines[2])
	want := []string{"submit", "grpc", "1024", "4000", "20.00ms", "250ms", "250ms", "250ms", "5", "150%", "375µs", "17%", "3%", "300MiB", "200MiB"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := "       failures: 3 × 503 X, 2 × Unavailable OVERLOADED"; lines[3] != want {
		t.Errorf("got %q, want %q", lines[3], want)
	}
	// The columns of a line end where those of the header do.
	if len([]rune(lines[1])) != len([]rune(lines[2])) {
		t.Errorf("header and line differ in width:\n%s\n%s", lines[1], lines[2])
	}
}

func TestUnknownUsageIsNotShownAsZero(t *testing.T) {
	line := newResult("submit", "rest", 16, &measurement{answered: 1, elapsed: time.Second}).String()
	if !strings.HasSuffix(line, "-        -") {
		t.Errorf("got %q, want dashes for memory that is not known", line)
	}
}

func TestSummaryLines(t *testing.T) {
	results := []*result{
		{What: "submit", Transport: "grpc", Submitters: 16, Answered: 9, P50: 120 * time.Millisecond},
		{What: "submit", Transport: "grpc", Submitters: 256, Answered: 9},
		{What: "submit", Transport: "grpc", Submitters: 1024, Answered: 9, Rate: 4321.4},
		{What: "submit", Transport: "grpc", Submitters: 4096, Answered: 9},
		{What: "submit", Transport: "rest", Submitters: 16, Answered: 9, P50: 121 * time.Millisecond},
		{What: "submit", Transport: "rest", Submitters: 1024, Answered: 9, Rate: 3999.9},
		{What: "submit", Transport: "rest", Submitters: 4096, Answered: 9, Failed: 1},
		{What: "proof", Transport: "rest", Submitters: 64, Rate: 15000},
		{What: "proof", Transport: "rest", Submitters: 64, Rate: 14999},
		{What: "submit", Transport: "grpc", Submitters: 1024, Answered: 9, Rate: 5000, CPU: load{Other: 88}},
		{What: "proof", Transport: "rest", Submitters: 64, Rate: 14999, CPU: load{Other: 20}},
	}
	want := []string{
		"§10 row 1  submit at 16: p50 120.0ms (to hold ≤ 120ms)  HELD  over grpc",
		"§10 row 1  submit at 1024: 4321/s (to hold ≥ 4000/s)  HELD  over grpc",
		"§10 row 1  submit at 4096: 0 failures (to hold 0)  HELD  over grpc",
		"§10 row 1  submit at 16: p50 121.0ms (to hold ≤ 120ms)  SHORT  over rest",
		"§10 row 1  submit at 1024: 3999/s (to hold ≥ 4000/s)  SHORT  over rest",
		"§10 row 1  submit at 4096: 1 failures (to hold 0)  SHORT  over rest",
		"§10 row 3  inclusion proof over REST at 64: 15000/s (to hold ≥ 15000/s)  HELD",
		"§10 row 3  inclusion proof over REST at 64: 14999/s (to hold ≥ 15000/s)  SHORT",
		"§10 row 1  submit at 1024: 5000/s (to hold ≥ 4000/s)  HELD  over grpc, while others used 88% of a core",
		"§10 row 3  inclusion proof over REST at 64: 14999/s (to hold ≥ 15000/s)  SHORT, while others used 20% of a core",
	}
	if got := summaryLines(results); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A ledger that answers nothing holds nothing, although its p50 is zero and
// none of its answers failed.
func TestSummaryOfNothingIsShort(t *testing.T) {
	for _, submitters := range []int{16, 1024, 4096} {
		lines := summaryLines([]*result{{What: "submit", Submitters: submitters}})
		if len(lines) != 1 || !strings.Contains(lines[0], "SHORT") {
			t.Errorf("got %q, want it to fall short", lines)
		}
	}
}

func TestSummaryOfWitnessed(t *testing.T) {
	run := func(what string, answered int, other float64) *result {
		return &result{What: what, Transport: "grpc", Submitters: 1024, Answered: answered, Seconds: 10, CPU: load{Other: other}}
	}
	const prefix = "§10 row 2  submit at 1024 behind a quorum of witnesses: "
	for name, tt := range map[string]struct {
		results []*result
		want    []string
	}{
		"held":    {[]*result{run(whatAlone, 49_000, 0), run(whatWitnessed, 40_000, 19), run(whatWitnessed, 40_000, 0), run(whatAlone, 51_000, 0)}, []string{prefix + "4000/s, 0.80 of 5000/s without (to hold ≥ 0.8)  HELD  over grpc"}},
		"short":   {[]*result{run(whatAlone, 50_000, 0), run(whatWitnessed, 39_999, 25)}, []string{prefix + "3999/s, 0.79 of 5000/s without (to hold ≥ 0.8)  SHORT  over grpc, while others used 25% of a core"}},
		"nothing": {[]*result{run(whatAlone, 0, 0), run(whatWitnessed, 0, 0)}, []string{prefix + "0/s, 0.00 of 0/s without (to hold ≥ 0.8)  SHORT  over grpc"}},
		"one":     {[]*result{run(whatAlone, 50_000, 0)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summaryLines(tt.results); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	r := &report{results: []*result{{What: "proof", Transport: "rest", Submitters: 64, Rate: 16000, P50: time.Millisecond}}}
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results []result
		Summary []string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != 1 || got.Results[0].P50 != time.Millisecond || len(got.Summary) != 1 {
		t.Errorf("got %s", b)
	}
}

func TestParseOptions(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"defaults", "", ""},
		{"running ledger", "-url http://127.0.0.1:1 -grpc-addr [::1]:2", ""},
		{"another machine", "-url http://192.0.2.1:1 -grpc-addr 127.0.0.1:2", "not on loopback"},
		{"another machine's gRPC", "-url http://127.0.0.1:1 -grpc-addr 192.0.2.1:2", "not on loopback"},
		{"a name", "-url http://localhost:1 -grpc-addr 127.0.0.1:2", "not on loopback"},
		{"TLS", "-url https://127.0.0.1:1 -grpc-addr 127.0.0.1:2", "not of the form"},
		{"URL alone", "-url http://127.0.0.1:1", "go together"},
		{"URL and binary", "-url http://127.0.0.1:1 -grpc-addr 127.0.0.1:2 -ledger x", "a ledger that is started"},
		{"unknown transport", "-transport carrier-pigeon", "neither grpc nor rest"},
		{"no submitters", "-concurrency 16,0", "1 to 8192"},
		{"endless", "-duration 24h", "at most 10m"},
		{"checkpoints without count", "-save-checkpoints x", "needs -count"},
		{"argument", "now", "unexpected argument"},
		{"no witnesses", "-witnesses 0", ""},
		{"too many witnesses", "-witnesses 65", "from 0 to 64"},
		{"more than all witnesses", "-witnesses 2 -quorum 3", "from 1 to the 2"},
		{"no quorum", "-quorum 0", "from 1 to the 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			if tt.args != "" {
				args = strings.Split(tt.args, " ")
			}
			_, err := parseOptions(args, &bytes.Buffer{})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestProcReaders(t *testing.T) {
	stat := []byte("42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 100 1 2 3\n")
	if got := processTime(stat); got != 2*time.Second {
		t.Errorf("got process time %v, want 2s", got)
	}
	if got := processTime([]byte("42 (a) S 1")); got != 0 {
		t.Errorf("got process time %v of a short line, want 0", got)
	}
	if got := machineTime([]byte("cpu  100 10 90 9999 9999 5 5 0 0 0\ncpu0 1 2 3\n")); got != 2100*time.Millisecond {
		t.Errorf("got machine time %v, want 2.1s", got)
	}
	status := []byte("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
	if peak, now := statusBytes(status, "VmHWM:"), statusBytes(status, "VmRSS:"); peak != 2<<20 || now != 1<<20 {
		t.Errorf("got peak %d and now %d", peak, now)
	}
}
