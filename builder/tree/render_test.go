package tree_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/tree"
)

var update = flag.Bool("update", false, "write the golden files")

func TestRender(t *testing.T) {
	g := small(t, nil).graph(t)
	renderers := map[string]func(io.Writer) error{
		"small.txt": g.WriteText, "small.json": g.WriteJSON, "small.dot": g.WriteDOT, "small.svg": g.WriteSVG,
	}
	for name, render := range renderers {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := render(&b); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "output", b.String(), string(want))
			if err := render(failing{}); !errors.Is(err, errFull) {
				t.Errorf("a writer's error is lost: %v", err)
			}
		})
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestJSONHasItsLists(t *testing.T) {
	var b bytes.Buffer
	if err := chainTree("a").graph(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "null") {
		t.Errorf("a list is null:\n%s", b.String())
	}
	var doc tree.GraphDoc
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	equal(t, "schema", doc.Schema, "cairn.builder.graph/v1")
}

// What a package says of itself must not become markup.
func TestSVGIsEscaped(t *testing.T) {
	f := chainTree("a")
	f["packages/core/a/package.toml"] += "version = \"<v>&\"\ndescription = \"</title><script>alert(1)</script>\"\n"
	var b bytes.Buffer
	if err := f.graph(t).WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script") || !strings.Contains(b.String(), "core-a &lt;v&gt;&amp;, depth 0") {
		t.Errorf("not escaped:\n%s", b.String())
	}
	wellFormed(t, b.Bytes())
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// wide returns a tree of n packages in five layers.
func wide(n int) files {
	lines := []string{"p0"}
	for i := 1; i < n; i++ {
		lines = append(lines, fmt.Sprintf("p%d p%d p%d", i, i/5, i/3))
	}
	return chainTree(lines...)
}

func TestSVGOfManyIsNotTooHigh(t *testing.T) {
	for _, n := range []int{1, 30, 150, 151, 513} {
		var b bytes.Buffer
		if err := wide(n).graph(t).WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		wellFormed(t, b.Bytes())
		var width, height float64
		if _, err := fmt.Sscanf(b.String(), `<svg xmlns="http://www.w3.org/2000/svg" width="%f" height="%f"`, &width, &height); err != nil {
			t.Fatal(err)
		}
		if height > 2400 || width > 12000 {
			t.Errorf("%d packages make %.0f × %.0f pixels", n, width, height)
		}
		if got := strings.Count(b.String(), `<g class="node `); got != n {
			t.Errorf("%d boxes for %d packages", got, n)
		}
	}
}
