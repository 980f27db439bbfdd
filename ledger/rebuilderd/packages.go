package rebuilderd

import (
	"strings"

	packageurl "github.com/package-url/packageurl-go"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// distros are what rebuilderd calls the namespaces of package URLs.
var distros = map[string]string{
	"alpm/arch":  "archlinux",
	"deb/debian": "debian",
}

// pkg is a binary package of a distribution.
type pkg struct {
	distro, name, version, architecture string
	url                                 string // where it is, if the claim says
}

// packageOf returns the package that a look-up name is of. What names none that
// rebuilderd's clients know, such as sources, is passed over.
func packageOf(uri string) (pkg, bool) {
	p, err := packageurl.FromString(uri)
	if err != nil {
		return pkg{}, false
	}
	distro, ok := distros[p.Type+"/"+p.Namespace]
	if !ok || p.Version == "" || p.Subpath != "" || leaf.Digest(p.Version).Valid() {
		return pkg{}, false
	}
	q := p.Qualifiers.Map()
	if q["arch"] == "source" {
		return pkg{}, false
	}
	found := pkg{distro: distro, name: p.Name, version: p.Version, architecture: q["arch"]}
	if u := q["download_url"]; strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://") {
		found.url = u
	}
	return found, true
}
