package dashboard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// tree is a package a line, with what it is made from, and, behind a bar, what
// became of it, if the policy is not met.
const tree = `
bootstrap-stage0
bootstrap-stage1 bootstrap-stage0
bootstrap-stage2 bootstrap-stage1
bootstrap-stage3 bootstrap-stage2
core-linux-headers bootstrap-stage3
core-musl bootstrap-stage3 core-linux-headers
core-busybox bootstrap-stage3 core-musl
core-binutils bootstrap-stage3 core-musl core-busybox
core-make bootstrap-stage3 core-musl core-busybox
core-zlib core-binutils core-make core-musl
core-gcc core-binutils core-make core-musl core-zlib
core-m4 core-gcc core-binutils core-busybox core-make core-musl
core-bison core-gcc core-m4 core-make core-musl
core-flex core-gcc core-m4 core-make core-musl
core-perl core-gcc core-make core-busybox core-musl
core-autoconf core-perl core-m4 core-busybox
core-automake core-perl core-autoconf core-busybox
core-libtool core-gcc core-m4 core-automake
core-pkgconf core-gcc core-make core-musl
core-bash core-gcc core-bison core-make core-musl
core-openssl core-gcc core-perl core-make core-zlib
core-ca-certificates core-busybox core-perl
core-curl core-gcc core-openssl core-zlib core-pkgconf
core-expat core-gcc core-autoconf core-make
core-libffi core-gcc core-autoconf core-make
core-python core-gcc core-openssl core-zlib core-expat core-libffi
core-ninja core-gcc core-python
core-cmake core-gcc core-curl core-ninja core-openssl
core-llvm core-gcc core-cmake core-ninja core-python
core-clang core-llvm core-cmake core-ninja core-python
core-rust core-clang core-llvm core-cmake core-python core-openssl
core-go core-gcc core-bash core-perl
core-git core-gcc core-curl core-openssl core-zlib core-perl
core-gettext core-gcc core-libtool core-make
core-ncurses core-gcc core-make core-musl
core-readline core-gcc core-ncurses
core-sqlite3 core-gcc core-readline core-zlib
core-xz core-gcc core-make core-musl
core-zstd core-gcc core-make core-musl
core-lua core-gcc core-readline
core-nodejs core-gcc core-python core-openssl core-zlib | two
core-ocaml core-gcc core-make | failed
user-jq core-gcc core-autoconf core-bison
user-nginx core-gcc core-openssl core-zlib core-perl
user-postgres core-gcc core-openssl core-readline core-bison core-flex | differs
user-redis core-gcc core-make core-lua
user-tor core-gcc core-openssl core-zlib | equivocates
user-gpg core-gcc core-gettext core-readline
user-cosign core-go core-git
user-kubectl core-go core-git core-bash
user-ripgrep core-rust core-git
user-eslint core-nodejs
user-typescript core-nodejs core-git
user-helm core-go core-git | untried
user-rustls core-rust | fetched
user-firefox core-rust core-clang core-nodejs core-python | inconclusive
pallet-gcc core-gcc core-binutils core-make core-musl core-busybox
pallet-go core-go core-git core-ca-certificates
pallet-rust core-rust core-gcc core-git
pallet-python core-python core-sqlite3 core-xz core-ca-certificates
pallet-ladder bootstrap-stage3 core-linux-headers core-musl core-busybox
pallet-web pallet-gcc user-nginx core-ca-certificates
`

// The rebuilders of the policy, and others who log.
const people = `
quay https://quay.example cpuVendor=GenuineIntel country=DE engine=buildkit
heron https://heron.example cpuVendor=AuthenticAMD country=FR engine=buildah
larch https://larch.example cpuVendor=AuthenticAMD country=US engine=buildkit
larch-lab https://larch.example cpuVendor=GenuineIntel country=US engine=buildah
moss https://moss.example cpuVendor=GenuineIntel country=JP engine=buildkit
fjord https://fjord.example cpuVendor=AuthenticAMD country=NO engine=buildah
tern https://tern.example cpuVendor=GenuineIntel country=CA engine=buildkit
dune https://dune.example cpuVendor=Ampere country=BR engine=buildkit
`

// village is the world that the pages are shown of.
type village struct {
	*world
	rebuilders []*person // of the policy, in its order
	stranger   *person   // whom the policy does not hear
	retired    *person   // whose key is revoked
	images     map[string]*artifact
	others     []*artifact // of other distributions
	seed       leaf.Digest
	built      map[string]int64 // the entry that says first that a package was built
	earlier    string           // a signed checkpoint of before
	failed     int64            // a job of the queue
}

// entry is the path of the entry that says that a package was built.
func (v *village) entry(name string) string { return fmt.Sprintf("/e/%d", v.built[name]) }

func newVillage(t testing.TB) *village {
	t.Helper()
	v := &village{images: make(map[string]*artifact), built: make(map[string]int64), seed: leaf.SHA256([]byte("hex0-seed"))}
	more := ""
	for line := range strings.Lines(strings.TrimSpace(people)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		p := newPerson(t, f[0], f[1], f[2])
		v.rebuilders = append(v.rebuilders, p)
		more += fmt.Sprintf("rebuilder %s %s operator=%s\n", p.name, p.key(), p.operator)
	}
	more += "rebuild-group three 3 quay heron larch larch-lab moss fjord tern dune\nrebuild-quorum three\nseed " + string(v.seed) + "\n"
	v.world = newWorld(t, more)
	v.stranger = newPerson(t, "stranger", "https://stranger.example", "cpuVendor=GenuineIntel engine=podman")
	v.retired = newPerson(t, "retired", "https://quay.example", "engine=buildkit")
	v.enrol(t, append(slices.Clone(v.rebuilders), v.stranger, v.retired)...)
	v.logTree(t)
	v.logDistributions(t)
	v.logKeys(t)
	v.jobs(t)
	v.settled(t, "/packages.json", v.known)
	return v
}

// known reports whether /packages.json has the verdicts that follow from the tree and
// the distributions.
func (v *village) known(view map[string]any) bool {
	text, err := json.Marshal(view["verdicts"])
	if err != nil {
		return false
	}
	var bar struct {
		Verdicts []struct{ Verdict, Count any }
	}
	if err := json.Unmarshal(text, &bar); err != nil {
		return false
	}
	return fmt.Sprint(bar.Verdicts) == "[{reproduced 65} {differs 5} {failed 1} {unproven 19} {untried 2}]"
}

// logTree logs who built what of the tree.
func (v *village) logTree(t testing.TB) {
	t.Helper()
	var raw [][]byte
	first := make(map[string]int) // of what is logged, by package
	for i, line := range strings.Split(strings.TrimSpace(tree), "\n") {
		line, fate, _ := strings.Cut(line, " | ")
		f := strings.Fields(line)
		from := []attest.ResourceDescriptor{source(strings.SplitN(f[0], "-", 2)[1] + ".tar.xz")}
		if i == 0 {
			from = append(from, attest.ResourceDescriptor{Name: "hex0-seed", Digest: digestSet(v.seed), Annotations: map[string]any{"role": attest.RoleSeed}})
		}
		for _, m := range f[1:] {
			role := attest.RoleToolchain
			if slices.Contains([]string{"core-musl", "core-zlib", "core-openssl"}, m) {
				role = attest.RoleLibrary
			}
			from = append(from, v.images[m].material(role))
		}
		a := image(f[0], from...)
		v.images[f[0]], first[f[0]] = a, len(raw)
		raw = append(raw, v.fate(t, a, i, fate)...)
	}
	entries := v.submit(t, raw...)
	for name, i := range first {
		v.built[name] = entries[i]
	}
	v.earlier, _ = v.checkpoint(t)
}

// fate is what the rebuilders log of the nth artifact.
func (v *village) fate(t testing.TB, a *artifact, n int, fate string) (raw [][]byte) {
	t.Helper()
	r := v.rebuilders
	other := leaf.SHA256([]byte("another " + a.name))
	switch fate {
	case "two":
		return [][]byte{r[0].built(t, a), r[1].got(t, a, leaf.Identical)}
	case "failed":
		return [][]byte{v.stranger.built(t, a), r[0].got(t, a, leaf.BuildFailed), r[4].got(t, a, leaf.BuildFailed)}
	case "untried":
		return [][]byte{v.stranger.built(t, a), r[2].fetched(t, a)}
	case "fetched":
		return [][]byte{r[0].fetched(t, a), r[3].fetched(t, a)}
	case "inconclusive":
		return [][]byte{r[0].built(t, a), r[5].got(t, a, leaf.Inconclusive)}
	}
	raw = append(raw, r[0].built(t, a))
	switch fate {
	case "differs":
		raw = append(raw, r[6].got(t, a, leaf.Different, other))
	case "equivocates":
		raw = append(raw, r[5].got(t, a, leaf.Identical), r[5].got(t, a, leaf.Different, other))
	}
	// The lower a package, the more have built it.
	for i := 1; i < 5; i++ {
		if n < 12 || (n+i)%4 != 0 {
			raw = append(raw, r[i].got(t, a, leaf.Identical))
		}
	}
	if n < 30 && n%3 != 0 {
		raw = append(raw, r[7].got(t, a, leaf.Identical))
	}
	return raw
}

// logDistributions logs packages that distributions made, and few rebuilt.
func (v *village) logDistributions(t testing.TB) {
	t.Helper()
	r := v.rebuilders
	var raw [][]byte
	for i, name := range strings.Fields("bash coreutils dash dpkg findutils grep gzip hostname init-system-helpers libc6 mawk ncurses-base perl-base sed sysvinit-utils tar util-linux zlib1g") {
		a := &artifact{name: name + ".deb", digest: leaf.SHA256([]byte("deb " + name)), from: []attest.ResourceDescriptor{source(name + ".dsc")}}
		a.purl = fmt.Sprintf("pkg:deb/debian/%s@%d.%d-1?arch=amd64", name, 1+i%5, i)
		v.others = append(v.others, a)
		raw = append(raw, r[1].built(t, a), r[4].got(t, a, leaf.Identical))
		switch i % 6 {
		case 0:
			raw = append(raw, r[5].got(t, a, leaf.Different, leaf.SHA256([]byte("another deb "+name))))
		case 1:
		default:
			raw = append(raw, r[2].got(t, a, leaf.Identical), r[6].got(t, a, leaf.Identical))
		}
	}
	for i, name := range strings.Fields("acl archlinux-keyring bzip2 filesystem gawk glibc libarchive pacman readline systemd tzdata xz") {
		a := &artifact{name: name + ".pkg.tar.zst", digest: leaf.SHA256([]byte("alpm " + name))}
		a.purl = fmt.Sprintf("pkg:alpm/arch/%s@%d.0-1?arch=x86_64", name, i+1)
		v.others = append(v.others, a)
		raw = append(raw, r[7].built(t, a))
		if i%4 == 0 {
			raw = append(raw, r[3].got(t, a, leaf.BuildFailed))
		} else {
			raw = append(raw, r[3].got(t, a, leaf.Identical), r[0].got(t, a, leaf.Identical))
		}
	}
	v.submit(t, raw...)
}

// logKeys logs what keys say of keys, and what an OpenPGP key signed.
func (v *village) logKeys(t testing.TB) {
	t.Helper()
	endorsed := newPerson(t, "quay-two", "https://quay.example", "")
	endorsement, err := attest.Endorse(v.rebuilders[0].signer, endorsed.signer.Public, "https://quay.example", "https://quay.example/keys")
	if err != nil {
		t.Fatal(err)
	}
	v.submit(t, endorsement, v.retired.built(t, v.images["core-musl"]))
	revocation, err := attest.Revoke(v.retired.signer, "the machine was sold")
	if err != nil {
		t.Fatal(err)
	}
	v.submit(t, revocation)
	pgp := pgptest.New(t, "A Maintainer")
	v.submit(t, pgp.Public())
	v.submit(t, pgp.Sign(pgptest.Buildinfo(leaf.SHA256([]byte("app")), 1)))
}

// jobs has a worker at the queue: a job failed, and two wait.
func (v *village) jobs(t testing.TB) {
	t.Helper()
	w := v.worker(t)
	const uri = "git+https://codeberg.example/stagex/stagex"
	v.failed = w.queue("core-ocaml", uri, v.images["core-ocaml"].digest)
	j := w.takes("heron-1", "https://heron.example")
	j.writes("make all\nmake: *** [all] Error 2\n")
	j.fails("STEP_FAILED", "step 7 of 9 exited with 2")
	w.queue("core-lua", uri, v.images["core-lua"].digest)
	w.queue("user-jq", uri, v.images["user-jq"].digest)
}
