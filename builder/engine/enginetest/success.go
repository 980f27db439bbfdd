package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/google/go-cmp/cmp"
)

func copies(t *testing.T, s *suite) {
	annotations := map[string]string{
		"containerd.io/distribution.source.docker.io": "stagex/core-hello",
		"org.opencontainers.image.version":            "1.0",
		"org.opencontainers.image.created":            "1970-01-01T00:00:01Z",
	}
	_, image := s.build(t, Build{
		Containerfile: "FROM scratch\nCOPY hello /etc/hello\nENTRYPOINT [\"/etc/hello\"]\n",
		Files:         map[string]string{"hello": "hello\n"},
		Edit:          func(r *engine.Request) { r.Annotations = annotations },
	})
	if got := image.Files["etc/hello"]; got.Content != "hello\n" || got.Time > 1 {
		t.Errorf("etc/hello is %+v", got)
	}
	if diff := cmp.Diff([]string{"/etc/hello"}, image.Config.Entrypoint); diff != "" {
		t.Errorf("entry point (-want +got):\n%s", diff)
	}
	for key, want := range annotations {
		if got := image.Annotations[key]; got != want {
			t.Errorf("annotation %s is %q, not %q", key, got, want)
		}
	}
	if image.Platform.OS != "linux" || image.Platform.Architecture != "amd64" {
		t.Errorf("the platform is %+v", image.Platform)
	}
}

func keepsModes(t *testing.T, s *suite) {
	modes := map[string]fs.FileMode{
		"all/.hidden":     0o600,
		"all/run":         0o755,
		"all/setuid":      0o755 | fs.ModeSetuid,
		"all/.dir/.file":  0o444,
		"all/with space":  0o640,
		"all/täglich.txt": 0o644,
	}
	_, image := s.build(t, Build{
		Containerfile: "FROM scratch\nCOPY all /\n",
		Edit: func(r *engine.Request) {
			for name, mode := range modes {
				put(t, filepath.Join(r.Context, name), []byte(name), mode)
			}
			must(t, os.Symlink("../run", filepath.Join(r.Context, "all/.dir/link")))
		},
	})
	for name, mode := range modes {
		in := strings.TrimPrefix(name, "all/")
		if got := image.Files[in]; got.Mode != mode || got.Content != name {
			t.Errorf("%s has mode %v, not %v, and content %q", in, got.Mode, mode, got.Content)
		}
	}
	if got := image.Files[".dir/link"]; got.Link != "../run" {
		t.Errorf(".dir/link is %+v", got)
	}
}

func stages(t *testing.T, s *suite) {
	result, image := s.build(t, Build{Containerfile: `FROM scratch AS first
COPY tool /tool
RUN ["/tool", "write", "/made", "by", "first"]
FROM first AS second
RUN ["/tool", "copy", "/made", "/made", "/twice"]
FROM scratch
COPY --from=second /twice /
COPY --from=first --chmod=0700 /made /chosen
`})
	if got := image.Files["twice"].Content; got != "by first\nby first\n" {
		t.Errorf("twice holds %q", got)
	}
	if got := image.Files["chosen"]; got.Content != "by first\n" || got.Mode != 0o700 {
		t.Errorf("chosen is %+v", got)
	}
	if got := len(image.Files); got != 2 {
		t.Errorf("the image has %d files, not 2: %v", got, image.Files)
	}
	if len(result.Steps) < 5 {
		t.Errorf("too few steps are told of: %+v", result.Steps)
	}
}

func target(t *testing.T, s *suite) {
	_, image := s.build(t, Build{
		Containerfile: "FROM scratch AS package-one\nCOPY one /\nFROM scratch AS package\nCOPY two /\n",
		Files:         map[string]string{"one": "1", "two": "2"},
		Edit:          func(r *engine.Request) { r.Target = "package-one" },
	})
	if _, ok := image.Files["one"]; !ok || len(image.Files) != 1 {
		t.Errorf("the image has %v", image.Files)
	}
}

// base builds an image of a tool and of a file for other tests to build on.
func (s *suite) base(t *testing.T, arch string) string {
	t.Helper()
	r := Build{Containerfile: "FROM scratch\nCOPY tool /bin/tool\nENV FROM_BASE=yes\n", Arch: arch}.Request(t, s.tools)
	if _, err := s.engine.Build(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r.Output
}

func images(t *testing.T, s *suite) {
	amd64, i386 := s.base(t, "amd64"), s.base(t, "386")
	result, image := s.build(t, Build{
		Containerfile: `FROM --platform=linux/386 stagex/bootstrap-base AS old
RUN ["/bin/tool", "environ", "/old"]
FROM stagex/core-base AS new
RUN ["/bin/tool", "environ", "/new"]
FROM scratch
COPY --from=old /old /
COPY --from=new /new /
COPY --from=stagex/core-base /bin /bin
`,
		Edit: func(r *engine.Request) {
			r.Images = map[string]string{"stagex/core-base": amd64, "stagex/bootstrap-base": i386}
		},
	})
	if got := networks(result); got != "none none" {
		t.Errorf("the networks of the steps are %q: %+v", got, result.Steps)
	}
	for name, arch := range map[string]string{"old": "386", "new": "amd64"} {
		got := image.Files[name].Content
		if !strings.Contains(got, "arch "+arch+"\n") || !strings.Contains(got, "FROM_BASE=yes") {
			t.Errorf("%s was not made in the image for %s: %s", name, arch, got)
		}
	}
	if image.Files["bin/tool"].Content == "" {
		t.Errorf("COPY --from an image copied nothing: %v", image.Files)
	}
}

func imagesUntouched(t *testing.T, s *suite) {
	base := s.base(t, "amd64")
	before := list(t, base)
	s.build(t, Build{
		Containerfile: "FROM stagex/core-base\nRUN [\"/bin/tool\", \"say\", \"hello\"]\n",
		Edit:          func(r *engine.Request) { r.Images = map[string]string{"stagex/core-base": base} },
	})
	if diff := cmp.Diff(before, list(t, base)); diff != "" {
		t.Errorf("the layout of the image changed (-before +after):\n%s", diff)
	}
}

// list returns the sizes of all files below dir.
func list(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		all[name] = fi.Size()
		return err
	}))
	return all
}

func runs386(t *testing.T, s *suite) {
	_, image := s.build(t, Build{
		Containerfile: "FROM scratch AS build\nCOPY tool /tool\nRUN [\"/tool\", \"environ\", \"/out\"]\nFROM scratch\nCOPY --from=build /out /\n",
		Arch:          "386",
	})
	if got := image.Files["out"].Content; !strings.Contains(got, "arch 386\n") {
		t.Errorf("the program is not of 32 bits: %s", got)
	}
	if image.Platform.Architecture != "386" {
		t.Errorf("the platform is %+v", image.Platform)
	}
}

func arguments(t *testing.T, s *suite) {
	_, image := s.build(t, Build{
		Containerfile: `FROM scratch AS build
ARG VERSION
ARG TARGETARCH
ARG UNSET=default
ENV MADE=${VERSION}-${TARGETARCH}-${UNSET}
COPY tool file-${VERSION} /
WORKDIR /work
RUN ["/tool", "environ", "/out"]
FROM scratch
COPY --from=build /out /file-1.2 /
`,
		Files: map[string]string{"file-1.2": "named"},
		Args:  []tree.Arg{{Name: "VERSION", Value: "1.2"}},
	})
	got := image.Files["out"].Content
	for _, want := range []string{"MADE=1.2-amd64-default", "VERSION=1.2", "dir /work\n", "uid 0\n", "umask 022\n", "files 16384\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("a step's surroundings lack %q: %s", want, got)
		}
	}
	if image.Files["file-1.2"].Content != "named" {
		t.Errorf("file-1.2 is %+v", image.Files["file-1.2"])
	}
}

func heredocs(t *testing.T, s *suite) {
	_, image := s.build(t, Build{Containerfile: `FROM scratch AS build
ARG WORD=expanded
COPY tool /tool
SHELL ["/tool", "-c"]
RUN <<-EOF
	write /one first
	copy /one /one /two
EOF
COPY <<-EOF <<"PLAIN" /
	line ${WORD}
EOF
line ${WORD}
PLAIN
FROM scratch
COPY --from=build /two /EOF /PLAIN /
`})
	for name, want := range map[string]string{"two": "first\nfirst\n", "EOF": "line expanded\n", "PLAIN": "line ${WORD}\n"} {
		if got := image.Files[name].Content; got != want {
			t.Errorf("%s holds %q, not %q", name, got, want)
		}
	}
}

func archives(t *testing.T, s *suite) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	must(t, w.WriteHeader(&tar.Header{Name: "hello-1.0/bin/hello", Mode: 0o750, Size: 5, Typeflag: tar.TypeReg}))
	_, err := w.Write([]byte("hello"))
	must(t, err)
	must(t, w.WriteHeader(&tar.Header{Name: "hello-1.0/link", Linkname: "bin/hello", Typeflag: tar.TypeSymlink}))
	must(t, w.Close())
	must(t, z.Close())
	_, image := s.build(t, Build{
		Containerfile: "FROM scratch\nARG HELLO_SOURCE\nADD fetch/${HELLO_SOURCE} /src\nCOPY --from=fetch ${HELLO_SOURCE} /kept/\n",
		Files:         map[string]string{"fetch/hello.tar.gz": packed.String()},
		Args:          []tree.Arg{{Name: "HELLO_SOURCE", Value: "hello.tar.gz"}},
	})
	if got := image.Files["src/hello-1.0/bin/hello"]; got.Content != "hello" || got.Mode != 0o750 {
		t.Errorf("the unpacked file is %+v", got)
	}
	if got := image.Files["src/hello-1.0/link"]; got.Link != "bin/hello" {
		t.Errorf("the unpacked link is %+v", got)
	}
	if got := image.Files["kept/hello.tar.gz"].Content; got != packed.String() {
		t.Errorf("COPY did not keep the archive: %d bytes", len(got))
	}
}

func shell(t *testing.T, s *suite) {
	_, image := s.build(t, Build{Containerfile: `FROM scratch AS build
COPY tool /tool
SHELL ["/tool", "-c"]
RUN write /out made by the shell
FROM scratch
COPY --from=build /out /
`})
	if got := image.Files["out"].Content; got != "made by the shell\n" {
		t.Errorf("out holds %q", got)
	}
}

func reproduces(t *testing.T, s *suite) {
	file := `FROM scratch AS build
COPY . /src
WORKDIR /src
RUN ["/src/tool", "environ", "/out"]
FROM scratch
COPY --from=build /out /
COPY --from=build /src/sub /sub
`
	var first *Image
	for i, path := range []string{"a", "much/longer/than the first"} {
		_, image := s.build(t, Build{
			Containerfile: file,
			Files:         map[string]string{"sub/one": "1", "sub/two": "2"},
			Dir:           filepath.Join(t.TempDir(), path),
			Edit:          func(r *engine.Request) { r.NoCache = true },
		})
		if i == 0 {
			first = image
		} else if image.Manifest != first.Manifest {
			t.Errorf("in the directory %q the digest is another (-a +b):\n%s", path, cmp.Diff(first, image))
		}
	}
}

func seesChange(t *testing.T, s *suite) {
	for i := range 2 {
		want := fmt.Sprintf("version %d", i)
		_, image := s.build(t, Build{
			Containerfile: "FROM scratch\nCOPY file /\n",
			Files:         map[string]string{"file": want},
			Edit: func(r *engine.Request) {
				fi, err := os.Stat("/")
				must(t, err)
				must(t, os.Chtimes(filepath.Join(r.Context, "file"), fi.ModTime(), fi.ModTime()))
			},
		})
		if got := image.Files["file"].Content; got != want {
			t.Errorf("the image has %q, not %q", got, want)
		}
	}
}
