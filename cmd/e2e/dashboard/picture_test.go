package dashboard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shots is the folder of the screenshots: CAIRN_SCREENSHOTS, or one that is gone after
// the tests.
var shots string

// prepareShots makes the folder.
func prepareShots(dir string) error {
	shots = filepath.Join(dir, "screenshots")
	if kept := os.Getenv("CAIRN_SCREENSHOTS"); kept != "" {
		shots = kept
	}
	return os.MkdirAll(shots, 0o755)
}

// shoot writes a screenshot of the page, at most so high.
func shoot(p *tab, name string, height float64) {
	p.Helper()
	name = strings.Trim(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
	name = name[:min(len(name), 80)] + "." + strings.ReplaceAll(p.look.String(), " ", "-") + ".png"
	if err := os.WriteFile(filepath.Join(shots, name), p.picture(height), 0o644); err != nil {
		p.Fatal(err)
	}
}

// TestMain of a package needs no picture that nobody can see: an empty one is a
// mistake of the harness.
func looked(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shots, "*.png"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no screenshots: %v", err)
	}
	t.Logf("%d screenshots in %s", len(files), shots)
}
