package packages_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/source/debian"
	"github.com/cairnlog/cairn/builder/tree"
)

// The tests of the diverse double-compile and of the userland look at files
// only; what the builds do is shown by building.

func ddcTree(t *testing.T) *tree.Tree {
	t.Helper()
	tr, err := tree.Load(".")
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func ddcRead(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fromSeeds are the packages that have the two Debian seeds among their
// ancestors, and the seeds: all that this file is about.
func fromSeeds(t *testing.T) []*tree.Package {
	t.Helper()
	packages := ddcTree(t).Packages
	reached := []string{"bootstrap-busybox-source", "bootstrap-debian-clang", "bootstrap-debian-gcc", "bootstrap-tinycc-source"}
	for n := 0; n < len(reached); {
		n = len(reached)
		for _, p := range packages {
			needs := func(id string) bool { return slices.Contains(reached, id) }
			if !needs(p.ID()) && slices.ContainsFunc(p.Deps, needs) {
				reached = append(reached, p.ID())
			}
		}
	}
	var found []*tree.Package
	for _, p := range packages {
		if slices.Contains(reached, p.ID()) {
			found = append(found, p)
		}
	}
	return found
}

func TestTheUserlandHasWhatWasPromised(t *testing.T) {
	var users []string
	for _, p := range fromSeeds(t) {
		if p.Stage == "user" {
			users = append(users, p.Name)
		}
	}
	if len(users) < 15 {
		t.Errorf("%d packages in user, at least 15 are wanted: %s", len(users), strings.Join(users, " "))
	}
	pallet := ddcRead(t, "packages/pallet/userland/Containerfile")
	for _, name := range users {
		if !strings.Contains(pallet, "\nCOPY --from=stagex/user-"+name+" / /\n") {
			t.Errorf("pallet/userland lacks %s", name)
		}
	}
}

var (
	stageLine = regexp.MustCompile(`(?m)^FROM \S+ AS (\S+)$`)
	usesCPUs  = regexp.MustCompile(`nproc|-j ?[0-9$]`)
)

func TestBuildStepsAreInTheFiveStages(t *testing.T) {
	for _, p := range fromSeeds(t) {
		text := ddcRead(t, p.Dir+"/Containerfile")
		if !strings.Contains(text, "\nRUN ") || p.Stage == "pallet" {
			continue
		}
		var stages []string
		for _, m := range stageLine.FindAllStringSubmatch(text, -1) {
			stages = append(stages, m[1])
		}
		if diff := cmp.Diff([]string{"base", "fetch", "build", "install", "package"}, stages); diff != "" {
			t.Errorf("%s: stages (-want +got):\n%s", p.ID(), diff)
		}
		_, build, _ := strings.Cut(text, " AS build\n")
		before, _, _ := strings.Cut(build, "\nRUN ")
		if !strings.Contains(before, "USER 1000:1000") {
			t.Errorf("%s: stage build does not run as user 1000", p.ID())
		}
		if usesCPUs.MatchString(text) {
			t.Errorf("%s: the number of processors is asked for", p.ID())
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "RUN ") && !strings.HasPrefix(line, "RUN --network=none ") {
				t.Errorf("%s: a step may have the network: %s", p.ID(), line)
			}
		}
	}
}

func TestSeedsAreDeclaredAndOnlyThere(t *testing.T) {
	for _, p := range fromSeeds(t) {
		for _, s := range p.Sources {
			want := tree.RoleSource
			if strings.HasPrefix(p.ID(), "bootstrap-debian-") {
				want = tree.RoleSeed
			}
			if s.Role != want {
				t.Errorf("%s: source %s has the role %s, want %s", p.ID(), s.Name, s.Role, want)
			}
		}
	}
}

func TestTheSeedsHaveDifferentCompilers(t *testing.T) {
	compilers := map[string]string{"debian-gcc": "gcc-12", "debian-clang": "clang-19"}
	suites := map[string]string{"debian-gcc": "bookworm", "debian-clang": "trixie"}
	for seed, compiler := range compilers {
		lock, err := debian.ParseLock([]byte(ddcRead(t, "packages/bootstrap/"+seed+"/debian.lock")))
		if err != nil {
			t.Fatalf("%s: %v", seed, err)
		}
		if lock.Suite != suites[seed] {
			t.Errorf("%s is of %s, want %s", seed, lock.Suite, suites[seed])
		}
		for _, other := range compilers {
			has := slices.ContainsFunc(lock.Debs, func(d debian.Deb) bool { return d.Name == other })
			if has != (other == compiler) {
				t.Errorf("%s has %s: %t", seed, other, has)
			}
		}
	}
}

// differing returns the lines of a that are not in b, and the other way round.
func differing(a, b string) []string {
	var lines []string
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		for line := range strings.Lines(pair[0]) {
			if !strings.Contains("\n"+pair[1], "\n"+line) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

func TestTheTwoSidesDifferInTheSeedAlone(t *testing.T) {
	const gcc, clang = "packages/bootstrap/tinycc-gcc/Containerfile", "packages/bootstrap/tinycc-clang/Containerfile"
	const trojan = "testdata/trojan/bootstrap/tinycc-gcc/Containerfile"
	const flags = ` -O1 -fwrapv -fno-strict-aliasing -w"`
	for _, tt := range []struct {
		name, a, b string
		want       []string
	}{
		{"clean", gcc, clang, []string{
			"FROM stagex/bootstrap-debian-gcc AS base", `ENV SEEDCC="gcc-12` + flags,
			"FROM stagex/bootstrap-debian-clang AS base", `ENV SEEDCC="clang-19 -fuse-ld=lld` + flags,
		}},
		{"trojan", gcc, trojan, []string{
			`ENV SEEDCC="gcc-12` + flags,
			"# bootstrap/tinycc-gcc with a compiler that plants something in tinycc. All that",
			"# differs are the two lines with trojan.sh.",
			`ENV SEEDCC="sh /trojan.sh gcc-12` + flags, "COPY --chmod=644 trojan.sh plant.c /",
		}},
		{"busybox", strings.ReplaceAll(gcc, "tinycc", "busybox"), strings.ReplaceAll(clang, "tinycc", "busybox"), []string{
			"FROM stagex/bootstrap-debian-gcc AS base", "COPY --from=stagex/bootstrap-tinycc-gcc / /",
			"FROM stagex/bootstrap-debian-clang AS base", "COPY --from=stagex/bootstrap-tinycc-clang / /",
		}},
	} {
		if diff := cmp.Diff(tt.want, differing(ddcRead(t, tt.a), ddcRead(t, tt.b))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNothingIsBuiltBeforeTheSidesMeet(t *testing.T) {
	gated := map[string][]string{
		"core-tinycc":  {"bootstrap-tinycc-clang", "bootstrap-tinycc-gcc"},
		"core-musl":    {"bootstrap-tinycc-clang", "bootstrap-tinycc-gcc"},
		"core-busybox": {"bootstrap-busybox-clang", "bootstrap-busybox-gcc"},
	}
	for _, p := range fromSeeds(t) {
		if diff := cmp.Diff(gated[p.ID()], p.Meets); diff != "" {
			t.Errorf("%s: meets (-want +got):\n%s", p.ID(), diff)
		}
		if p.Stage == "bootstrap" || gated[p.ID()] != nil {
			continue
		}
		for _, id := range p.Deps {
			if strings.HasPrefix(id, "bootstrap-") {
				t.Errorf("%s takes %s, which no gate has let through", p.ID(), id)
			}
		}
	}
}

// hunk is the first line of a hunk of a unified diff.
var hunk = regexp.MustCompile(`^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@`)

// checkPatch counts the lines of a unified diff: patch refuses, or worse
// guesses, where they are not what the hunks say.
func checkPatch(text string) error {
	var removed, added int
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		m := hunk.FindStringSubmatch(line)
		switch {
		case removed == 0 && added == 0 && m != nil:
			for i, count := range []*int{&removed, &added} {
				if *count = 1; m[i+1] != "" {
					*count, _ = strconv.Atoi(m[i+1])
				}
			}
		case removed == 0 && added == 0 && (strings.HasPrefix(line, "--- a/") || strings.HasPrefix(line, "+++ b/")):
		case strings.HasPrefix(line, "-"):
			removed--
		case strings.HasPrefix(line, "+"):
			added--
		case strings.HasPrefix(line, " "):
			removed, added = removed-1, added-1
		default:
			return fmt.Errorf("line %d is none of a patch", n)
		}
		if removed < 0 || added < 0 {
			return fmt.Errorf("line %d is one too many for its hunk", n)
		}
	}
	if removed != 0 || added != 0 || text == "" {
		return fmt.Errorf("%d and %d lines are missing", removed, added)
	}
	return nil
}

func TestPatchesAreWhole(t *testing.T) {
	patches, err := filepath.Glob("packages/*/*/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no patches found: %v", err)
	}
	for _, name := range patches {
		text := ddcRead(t, name)
		if err := checkPatch(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cut := bytes.LastIndexByte([]byte(strings.TrimSuffix(text, "\n")), '\n')
		if checkPatch(text[:cut+1]) == nil {
			t.Errorf("%s: a missing line is not seen", name)
		}
	}
}
