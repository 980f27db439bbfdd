package survey_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/web"
)

// BenchmarkFirstPage asks for the first page of the matrix over HTTP, as browsers do:
// 35,000 packages × 8 rebuilders stand in the table.
func BenchmarkFirstPage(b *testing.B) {
	table, published, pol := survey.Distribution35000(b)
	board := checkpoint.NewBoard()
	if err := board.Show(published); err != nil {
		b.Fatal(err)
	}
	site, err := web.New(web.Config{
		Board: board, Survey: table, Policy: pol, Ready: func() error { return nil },
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return published.At },
	})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(site)
	defer server.Close()
	size := 0
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/packages", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip") // so that the answer is not decompressed
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "gzip" {
			b.Fatalf("status %d, %v: %.200s", resp.StatusCode, err, body)
		}
		_ = resp.Body.Close()
		size = len(body)
	}
	b.ReportMetric(float64(size), "compressed-bytes")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/page")
}
