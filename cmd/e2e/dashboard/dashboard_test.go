package dashboard

import (
	"context"
	"testing"
)

// TestDashboard shows one ledger's pages, and some hostile ones, in one browser.
func TestDashboard(t *testing.T) {
	browser := newBrowser(t)
	v := newVillage(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *village, context.Context)
	}{
		{"pages", testPages},
		{"images", testImages},
		{"no scripts", testNoScripts},
		{"keyboard", testKeyboard},
		{"search", testSearch},
		{"file", testFile},
		{"live log", testLive},
		{"badge and feed", testBadge},
		{"lies", testLies},
		{"fork", testFork},
		{"visits", testVisits},
		{"growth", testGrowth},
		{"saved", testSaved},
		{"hostile texts", testHostile},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, v, browser)
		})
	}
}
