package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/anchor"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/rekor"
)

// readAnchors reads the anchors that --anchor names, and verifies that they are in
// a Rekor log. What does not verify is handed to the audit, too: it is a finding.
func readAnchors(places []string, keyPath string) ([]audit.Anchor, error) {
	switch {
	case len(places) == 0 && keyPath != "":
		return nil, cmdline.Usagef("give --anchor FILE or --anchor DIR, too", "--rekor-key says how to verify anchors, but none is named")
	case len(places) == 0:
		return nil, nil
	}
	key, err := readRekorKey(keyPath, "")
	if err != nil {
		return nil, err
	}
	var list []audit.Anchor
	for _, place := range places {
		paths, err := anchorFiles(place)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			b, err := cmdline.ReadSmall("anchor", path)
			if err != nil {
				return nil, err
			}
			list = append(list, verifyAnchor(path, b, key))
		}
	}
	return list, nil
}

// anchorFiles returns the file at a place, or the anchors in that directory, of
// which there must be some: an empty directory would make a clean audit say less
// than it seems to.
func anchorFiles(place string) ([]string, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, cmdline.Unreadable("opening "+place, cmdline.PathCause(err))
	}
	if !info.IsDir() {
		return []string{place}, nil
	}
	entries, err := os.ReadDir(place)
	if err != nil {
		return nil, cmdline.Unreadable("reading "+place, cmdline.PathCause(err))
	}
	var paths []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == anchorSuffix {
			paths = append(paths, filepath.Join(place, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, cmdline.Unreadable("reading "+place, fmt.Errorf("no *%s in it: %w", anchorSuffix, fs.ErrNotExist))
	}
	return paths, nil
}

func verifyAnchor(path string, text []byte, key *rekor.Key) audit.Anchor {
	x := audit.Anchor{Where: path}
	a, err := anchor.Parse(text)
	if err != nil {
		x.Kind, x.Problem = "anchor-malformed", err.Error()
		return x
	}
	x.Signed = a.Checkpoint
	if _, err := a.Verify(key); err != nil {
		x.Kind, x.Problem = "anchor-unproven", err.Error()
	}
	return x
}
