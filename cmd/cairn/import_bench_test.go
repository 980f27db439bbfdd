package main

import (
	"os/exec"
	"testing"

	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex/stagextest"
)

// Of each image of the benchmark's tree, so many maintainers of all sign.
const (
	importImages = 1000
	importVotes  = 3
	importKeys   = 6
)

// BenchmarkImportStageX imports 3,000 signatures of 1,000 images by 6 keys with the
// real cairn into a new, real ledger: each is verified there, and its answer here.
func BenchmarkImportStageX(b *testing.B) {
	tree := stagextest.NewTree(b, importImages)
	var signers []*stagextest.Signer
	for i := range importKeys {
		signers = append(signers, stagextest.New(b, uint64(i), 0))
	}
	tree.Maintainers(nil, signers...)
	at := stagextest.Made.AddDate(0, 1, 0)
	for n := range importImages {
		for v := range importVotes {
			payload := stagextest.Payload(stagextest.Name(n), stagextest.Digest(n))
			tree.Add(n, signers[(n+v)%importKeys].Sign(b, payload, at))
		}
	}
	for b.Loop() {
		b.StopTimer()
		ledger, ready, err := runLedger(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		out, err := exec.Command("cairn", "import", "stagex", tree.Dir, "--ledger", ready.HTTP, "-q").CombinedOutput()
		b.StopTimer()
		if err != nil {
			b.Errorf("cairn import: %v\n%s", err, out)
		}
		_ = ledger.Process.Kill()
		_ = ledger.Wait()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*importImages*importVotes)/b.Elapsed().Seconds(), "signatures/s")
}
