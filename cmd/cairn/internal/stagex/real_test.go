package stagex_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex"
)

// realCommit is the last of StageX's repository that has signatures.
const realCommit = "b4f0c7df806aa3ae2b3bab36472db71f3337aac3"

// TestRealSignatures reads the 7,714 signatures that StageX's maintainers made
// until 2025. Their keys are not in the repository, so that none of them counts.
func TestRealSignatures(t *testing.T) {
	repository := os.Getenv("CAIRN_STAGEX_REPOSITORY")
	if repository == "" {
		t.Skip("CAIRN_STAGEX_REPOSITORY does not name a clone of StageX's git repository, with commit " + realCommit[:8])
	}
	tree, err := importer.OpenTree(t.Context(), repository, realCommit)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	src := &stagex.Source{Store: stagex.NewTreeStore("stagex", tree)}
	r, err := (&importer.Import{Source: src}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, g := range r.Groups {
		got[strings.TrimPrefix(g.Name, "pgp container image signature by ")] = g.Refused
	}
	for _, list := range r.Refusals {
		got[string(list.Reason)] = list.Count
	}
	want := map[string]int{
		"8e47a1ec35a1551d": 2258, "8e401478a3fbef72": 1915, "44a86cff1fdf0e85": 1568,
		"e1f4160251db4c2e": 1422, "dd9f5d50caa0bad4": 472, "fc678714aca347cb": 74, "unreadable": 3,
		"KEY_NOT_ENROLLED": 7709, "FORMAT_UNKNOWN": 2, "SIGNATURE_MISPLACED": 2, "ENVELOPE_MALFORMED": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Items != 7714 {
		t.Errorf("of %d signatures (-want +got):\n%s", r.Items, diff)
	}
	images, err := stagex.ReadImages(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	maintainers, err := stagex.ReadMaintainers(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 378 || len(maintainers) != 7 {
		t.Errorf("%d images, %d maintainers", len(images), len(maintainers))
	}
}
