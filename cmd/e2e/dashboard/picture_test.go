package dashboard

import (
	"os"
	"path/filepath"
	"strings"
)

// shots is the folder for screenshots. Without one, none are made.
var shots = os.Getenv("CAIRN_SCREENSHOTS")

// shoot writes a screenshot of the page, at most so high.
func shoot(p *tab, name string, height float64) {
	p.Helper()
	name = strings.Trim(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
	shootAs(p, name[:min(len(name), 80)]+"."+strings.NewReplacer(",", "", " ", "-").Replace(p.look.String())+".png", 0, height)
}

func shootAs(p *tab, name string, top, height float64) {
	p.Helper()
	if shots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(shots, name), p.picture(top, height), 0o644); err != nil {
		p.Fatal(err)
	}
}
