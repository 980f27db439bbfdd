package survey

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
)

const (
	benchPackages   = 35_000
	benchRebuilders = 8
)

func benchName(i int) string {
	return fmt.Sprintf("pkg:deb/debian/package-%05d@1.%d-%d?arch=amd64", i, i%40, i%3)
}

// BenchmarkSurvey fills a table with the packages of a distribution, and asks it. What
// it takes to read and verify attestations is not in it.
func BenchmarkSurvey(b *testing.B) {
	f := newFilled(b, benchRebuilders)
	list := make([]*said, 0, benchPackages*benchRebuilders)
	for i := range benchPackages {
		for who := range benchRebuilders {
			w := Obtained
			if (i+who)%97 == 0 {
				w = Different
			}
			list = append(list, word(fmt.Sprint("r", who), benchName(i), leaf.SHA256([]byte(benchName(i))), w))
		}
	}
	begun := time.Now()
	f.says(list...)
	took := time.Since(begun)
	begun = time.Now()
	for i := range benchPackages {
		f.judges(leaf.SHA256([]byte(benchName(i))), ranks[(i*7)%len(ranks)], never)
	}
	b.Logf("%.0f entries/s were taken, and %.0f verdicts/s", float64(len(list))/took.Seconds(), benchPackages/time.Since(begun).Seconds())
	ctx := context.Background()
	for name, ask := range map[string]func() error{
		"first-page": func() error { _, err := f.Packages(ctx, Filter{}); return err },
		"page-by-name": func() error {
			_, err := f.Packages(ctx, Filter{ByName: true, From: "0 " + benchName(20_000)})
			return err
		},
		"rare-arch":     func() error { _, err := f.Packages(ctx, Filter{Arch: "riscv64"}); return err },
		"new-state":     func() error { f.glanced = nil; _, err := f.Packages(ctx, Filter{}); return err },
		"text":          func() error { clear(f.counted); _, err := f.Packages(ctx, Filter{Text: "-0123"}); return err },
		"text-of-all":   func() error { clear(f.counted); _, err := f.Packages(ctx, Filter{Text: "debian"}); return err },
		"strip":         func() error { f.glanced = nil; _, err := f.Strip(ctx); return err },
		"find":          func() error { _, err := f.Find(ctx, "package-3", 20); return err },
		"package":       func() error { _, err := f.Package(ctx, benchName(123)); return err },
		"profile":       func() error { _, err := f.Profile(ctx, keyOf("r1")); return err },
		"summary":       func() error { _, err := f.Summary(ctx); return err },
		"distributions": func() error { _, err := f.Distributions(ctx); return err },
		"disagreements": func() error { _, err := f.Disagreements(ctx, 0, 50); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
