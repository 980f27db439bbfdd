package dashboard

import (
	"os"
	"path/filepath"
	"strings"
)

// shots is the folder of the screenshots: CAIRN_SCREENSHOTS, or one that is gone after
// the tests. kept is set if somebody will look at them.
var (
	shots string
	kept  bool
)

// prepareShots makes the folder.
func prepareShots(dir string) error {
	shots = filepath.Join(dir, "screenshots")
	if folder := os.Getenv("CAIRN_SCREENSHOTS"); folder != "" {
		shots, kept = folder, true
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
	shootAs(p, name[:min(len(name), 80)]+"."+strings.NewReplacer(",", "", " ", "-").Replace(p.look.String())+".png", height)
}

func shootAs(p *tab, name string, height float64) {
	p.Helper()
	if err := os.WriteFile(filepath.Join(shots, name), p.picture(height), 0o644); err != nil {
		p.Fatal(err)
	}
}
