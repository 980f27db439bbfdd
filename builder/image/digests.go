package image

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Digests is what a tree's digests/<stage>.txt files say: the digest of the
// manifest of each image, by the image's ID, such as core-musl.
type Digests map[string]digest.Digest

const maxDigestsBytes = 16 << 20 // of one file; StageX's longest has 30 KB

var digestsLine = regexp.MustCompile(`^([0-9a-f]{64}) ([a-z0-9]+)-([A-Za-z0-9][A-Za-z0-9._+-]*)$`)

// ParseDigests parses the text of digests/<stage>.txt: one line per image, with
// the 64 lower-case hex digits of a SHA-256, one space, and the stage and name
// with a hyphen between them. Lines are sorted bytewise by name, without a name
// twice, each ends with a newline, and there is nothing else. Errors name the
// line.
func ParseDigests(stage string, text []byte) (Digests, error) {
	d := make(Digests)
	last := ""
	for n, line := range bytes.SplitAfter(text, []byte("\n")) {
		if len(line) == 0 {
			break // after the last newline
		}
		where := fmt.Sprintf("digests of %s: line %d", stage, n+1)
		line, ended := bytes.CutSuffix(line, []byte("\n"))
		m := digestsLine.FindSubmatch(line)
		switch {
		case !ended:
			return nil, fmt.Errorf("%s does not end with a newline", where)
		case m == nil:
			return nil, fmt.Errorf("%s is not \"<64 hex digits> %s-<name>\": %.100q", where, stage, line)
		case string(m[2]) != stage:
			return nil, fmt.Errorf("%s is of stage %s", where, m[2])
		case string(m[3]) <= last:
			return nil, fmt.Errorf("%s: %s does not come after %s: names are sorted, each once", where, m[3], last)
		}
		last = string(m[3])
		d[stage+"-"+last] = digest.NewDigestFromEncoded(digest.SHA256, string(m[1]))
	}
	return d, nil
}

// Format returns the text of digests/<stage>.txt.
func (d Digests) Format(stage string) []byte {
	var b bytes.Buffer
	for _, id := range slices.Sorted(maps.Keys(d)) {
		if s, _, _ := strings.Cut(id, "-"); s == stage {
			fmt.Fprintf(&b, "%s %s\n", d[id].Encoded(), id)
		}
	}
	return b.Bytes()
}

// Stages returns the stages of the images, sorted.
func (d Digests) Stages() []string {
	stages := make(map[string]bool)
	for id := range d {
		stage, _, _ := strings.Cut(id, "-")
		stages[stage] = true
	}
	return slices.Sorted(maps.Keys(stages))
}

// ReadDigests reads every <stage>.txt of a directory, of which there must be at
// least one.
func ReadDigests(dir string) (Digests, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the digests: %w", err)
	}
	defer root.Close()
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no <stage>.txt", dir)
	}
	all := make(Digests)
	for _, name := range names {
		base := filepath.Base(name)
		text, err := readFile(root, base, maxDigestsBytes)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		d, err := ParseDigests(strings.TrimSuffix(base, ".txt"), text)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, d)
	}
	return all, nil
}

// WriteDigests writes <stage>.txt for every stage in d to a directory, each
// complete or not at all. Files of other stages are left alone.
func WriteDigests(dir string, d Digests) error {
	if len(d) == 0 {
		return errors.New("writing digests: there are none")
	}
	for id, dgst := range d {
		if err := checkDigest(dgst); err != nil {
			return fmt.Errorf("writing digests: %s: %w", id, err)
		}
		if !digestsLine.MatchString(dgst.Encoded() + " " + id) {
			return fmt.Errorf("writing digests: %.100q is not <stage>-<name>", id)
		}
	}
	for _, stage := range d.Stages() {
		if err := replaceFile(filepath.Join(dir, stage+".txt"), d.Format(stage)); err != nil {
			return fmt.Errorf("writing digests: %w", err)
		}
	}
	return nil
}

func replaceFile(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".digests-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if cerr := f.Chmod(0o644); err == nil {
		err = cerr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// OutDigests reads the digests of the layouts that are the directories of out,
// out/<stage>-<name>. Of a layout with several platforms only the first manifest
// counts, as StageX's tools have it: others are in none of its digests.
func OutDigests(out string) (Digests, error) {
	entries, err := os.ReadDir(out)
	if err != nil {
		return nil, fmt.Errorf("reading the images: %w", err)
	}
	d := make(Digests)
	for _, e := range entries {
		id := e.Name()
		if !e.IsDir() || strings.HasPrefix(id, ".") {
			continue
		}
		images, err := Images(filepath.Join(out, id))
		if err != nil {
			return nil, err
		}
		d[id] = images[0].Manifest.Digest
	}
	return d, nil
}

// State says how an image's digest relates to what a tree's digests say.
type State string

// The states.
const (
	Equal   State = "equal"
	Differs State = "differs"
	Missing State = "missing" // in the digests, and not built
	Extra   State = "extra"   // built, and not in the digests
)

// DigestCheck is the state of one image.
type DigestCheck struct {
	ID    string        `json:"id"`
	State State         `json:"state"`
	Want  digest.Digest `json:"want,omitempty"` // in the tree's digests
	Got   digest.Digest `json:"got,omitempty"`  // built
}

// CheckDigests compares what was built with what a tree's digests say, by ID.
// Nothing compared is an error, not an empty answer.
func CheckDigests(want, got Digests) ([]DigestCheck, error) {
	ids := make(map[string]bool)
	for _, d := range []Digests{want, got} {
		for id := range d {
			ids[id] = true
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("checking digests: there are neither digests nor images")
	}
	var checks []DigestCheck
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		c := DigestCheck{ID: id, State: Equal, Want: want[id], Got: got[id]}
		switch {
		case c.Got == "":
			c.State = Missing
		case c.Want == "":
			c.State = Extra
		case c.Got != c.Want:
			c.State = Differs
		}
		checks = append(checks, c)
	}
	return checks, nil
}
