package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// request is one with an empty context.
func request(t testing.TB) *Request {
	t.Helper()
	return &Request{
		ID: "core-x", Context: t.TempDir(), Platform: "linux/amd64",
		Args: []Arg{{"NAME", "two"}, {"SOURCE_DATE_EPOCH", "1"}},
		Images: map[string]string{
			"stagex/core-a": imageLayout(t, `{}`), "stagex/core-b": "/nowhere",
			"stagex/core-shell": imageLayout(t, `{"config":{"Shell":["/x","-c"]}}`),
		},
	}
}

// imageLayout is an OCI layout of an image with this configuration and no layers.
func imageLayout(t testing.TB, config string) string {
	t.Helper()
	dir := t.TempDir()
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	blob := func(data []byte, mediaType string) ocispec.Descriptor {
		d := digest.FromBytes(data)
		if err := os.WriteFile(filepath.Join(blobs, d.Encoded()), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	manifest := ocispec.Manifest{Config: blob([]byte(config), ocispec.MediaTypeImageConfig)}
	desc := blob(encode(manifest), ocispec.MediaTypeImageManifest)
	inner := blob(encode(ocispec.Index{Manifests: []ocispec.Descriptor{desc}}), ocispec.MediaTypeImageIndex)
	index := encode(ocispec.Index{Manifests: []ocispec.Descriptor{inner}})
	if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPlanFindsWhatIsNeeded(t *testing.T) {
	r := request(t)
	p, err := newPlan([]byte(`ARG BASE=stagex/core-a
ARG NAME
FROM scratch AS unused
COPY --from=stagex/core-b /x /
FROM ${BASE} AS one
RUN make
FROM one AS two
WORKDIR /
WORKDIR /w
RUN --network=default fetch \
	all
FROM scratch
COPY --from=${NAME} /x /
ENV A=1
`), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.images, " "); got != "stagex/core-a" {
		t.Errorf("the images needed are %q", got)
	}
	if !p.online || !p.fetch {
		t.Errorf("online is %v, fetch is %v", p.online, p.fetch)
	}
	var got []string
	for _, s := range p.stages {
		for _, step := range s.steps {
			got = append(got, step.Name+"|"+step.Network)
		}
	}
	want := []string{
		"[one 2/2] RUN make|none", "[two 2/3] WORKDIR /w|", "[two 3/3] RUN --network=default fetch 	all|default",
		"[stage-3 2/2] COPY --from=${NAME} /x /|",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got the steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPlanBlamesTheContainerfile(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"no stage", "ARG A\n", 0, "no stages"},
		{"an unknown instruction", "FROM scratch\nFROB x\n", 2, "FROB"},
		{"an image that was not given", "FROM scratch\n\nCOPY --from=stagex/core-c / /\n", 3, "stagex/core-c"},
		{"a base that was not given", "FROM stagex/core-c\n", 1, "nothing is pulled"},
		{"a mount that was not given", "FROM scratch\nRUN --mount=from=x,target=/x [\"/y\"]\n", 2, "nothing is pulled"},
		{"a stage by a number that is none", "FROM scratch\nCOPY --from=7 / /\n", 0, "line 2: 7 is"},
		{"a later stage", "FROM scratch\nCOPY --from=last /x /\nFROM scratch AS last\nCOPY --from=0 / /\n", 2, "last"},
		{"a URL", "FROM scratch\nADD https://example.org/x /\n", 2, "https://example.org/x"},
		{"a repository", "FROM scratch\nADD git@example.org:x.git /\n", 2, "git@example.org"},
		{"privileges", "FROM scratch\nRUN --security=insecure [\"/x\"]\n", 2, "insecure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newPlan([]byte(c.text), request(t))
			var step *stepError
			if !errors.As(err, &step) {
				t.Fatalf("got %v, which does not blame the Containerfile", err)
			}
			if step.line != c.line || !strings.Contains(err.Error(), c.want) {
				t.Errorf("line %d: %v; want line %d and %q", step.line, err, c.line, c.want)
			}
		})
	}
}

func TestTranslate(t *testing.T) {
	const workdir = "RUN [\"/cairn-workdir\"]\n"
	for _, c := range []struct{ name, text, want string }{
		{"network", "FROM scratch\nRUN --mount=type=tmpfs,target=/x \\\n --network=default a --network=default\n", "FROM scratch\nRUN --mount=type=tmpfs,target=/x \\\n --network=host a --network=default\n"},
		{"no network", "FROM scratch\nRUN --network=none a\nRUN b --network=default\n", "FROM scratch\nRUN --network=none a\nRUN b --network=default\n"},
		{"fetch", "FROM scratch\ncopy --from=fetch a /--from=fetch\n", "FROM scratch\ncopy --from=fetch --chown=0:0 a /--from=fetch\n"},
		{"fetch with an owner", "FROM scratch\nCOPY --from=fetch --chown=1 a /\n", "FROM scratch\nCOPY --from=fetch --chown=1 a /\n"},
		{"a stage named fetch", "FROM scratch AS fetch\nCOPY a /\nFROM scratch\nCOPY --from=fetch a /\n", "FROM scratch AS fetch\nCOPY a /\nFROM scratch\nCOPY --from=fetch a /\n"},
		{"a working directory", "FROM scratch\nWORKDIR /a\nworkdir b/..\n", "FROM scratch\nWORKDIR /a\n" + workdir + "workdir b/..\n" + workdir},
		{"the last line without end", "FROM scratch\nWORKDIR /a", "FROM scratch\nWORKDIR /a\n" + workdir},
		{"the root directory", "FROM scratch\nWORKDIR //.\n", "FROM scratch\nWORKDIR //.\n"},
		{"a long line", "FROM scratch\nWORKDIR \\\n/a \n# end\n", "FROM scratch\nWORKDIR \\\n/a \n" + workdir + "# end\n"},
		{"the shell of an image", "FROM stagex/core-a\nRUN a\nFROM stagex/core-shell \\\n AS b\nRUN b\nFROM scratch\nCOPY --from=b / /\n", "FROM stagex/core-a\nRUN a\nFROM stagex/core-shell \\\n AS b\nSHELL [\"/x\",\"-c\"]\nRUN b\nFROM scratch\nCOPY --from=b / /\n"},
		{"a here-document", "FROM scratch\nCOPY <<E /x\nWORKDIR /a\nRUN --network=default\nE\n", "FROM scratch\nCOPY <<E /x\nWORKDIR /a\nRUN --network=default\nE\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := newPlan([]byte(c.text), request(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(p.text); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestTranslateOfAContextWithModes(t *testing.T) {
	with := func(t *testing.T, names ...string) *Request {
		r := request(t)
		r.Containerfile = filepath.Join(r.Context, "Containerfile")
		for _, name := range append(names, "suid") {
			if err := os.WriteFile(filepath.Join(r.Context, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(r.Context, "suid"), 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		return r
	}
	p, err := newPlan([]byte("FROM scratch AS a\nCOPY suid /\nCOPY --chown=1:1 suid /b\nCOPY <<E /c\nE\nFROM scratch\nCOPY --from=a / /\n"), with(t))
	if err != nil {
		t.Fatal(err)
	}
	want := "FROM scratch AS a\nCOPY --from=cairn.context --chown=0:0 suid /\nCOPY --from=cairn.context --chown=1:1 suid /b\nCOPY <<E /c\nE\nFROM scratch\nCOPY --from=a / /\n"
	if got := string(p.text); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for name, c := range map[string]struct {
		text string
		r    *Request
	}{
		"ADD":               {"FROM scratch\nADD suid /\n", with(t)},
		"mixed":             {"FROM scratch\nCOPY suid <<E /x/\nE\n", with(t)},
		".dockerignore":     {"FROM scratch\nCOPY suid /\n", with(t, ".dockerignore")},
		"ADD with an owner": {"FROM scratch\nADD --chown=1 x /\n", request(t)},
	} {
		_, err := newPlan([]byte(c.text), c.r)
		var step *stepError
		if err == nil || errors.As(err, &step) {
			t.Errorf("%s: got %v, want an error that blames buildah", name, err)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("FROM scratch\nWORKDIR /a\nRUN --network=default x\nCOPY --from=fetch a /\n")
	f.Add("# escape=`\nFROM scratch\nWORKDIR `\n/a\nCOPY <<A <<B /\nA\nB\n")
	f.Add("ARG A=1\nFROM stagex/core-a AS x\nFROM x\nCOPY --from=0 --from=x a b\n")
	r := request(f)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := newPlan([]byte(text), r)
		if err != nil {
			return
		}
		// What buildah gets is a Containerfile with the same stages.
		again, err := newPlan(p.text, r)
		if err != nil {
			t.Fatalf("the translation does not parse: %v\n%s", err, p.text)
		}
		if len(again.stages) != len(p.stages) || len(again.images) != len(p.images) {
			t.Errorf("the translation has %d stages, not %d:\n%s", len(again.stages), len(p.stages), p.text)
		}
	})
}
