package engine_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/engine/enginetest"
	"github.com/google/go-cmp/cmp"
)

var long = strings.Repeat("long-", 46)

// agreements are builds of which both engines must write the same bytes. In
// each stage but where it says otherwise, /files is there and the shell.
var agreements = []struct{ name, containerfile string }{
	{"modes, owners and kinds", `FROM base AS build
RUN write /o/suid 4755 x; write /o/sgid 2711 x; mkdir /o/sticky 1777; mkdir /o/closed 0; fifo /o/fifo 620; device /o/null 259
RUN write /o/owned 600 x; chown /o/owned 3000000; mkdir /o/theirs 750; chown /o/theirs 65534
FROM scratch
COPY --from=build /o /o
COPY --from=build /o/sticky /o/closed /elsewhere/
`},
	{"links", `FROM base AS build
RUN write /o/a 644 x; link /o/a /o/b; link /o/a /o/c; symlink ../nowhere /o/broken; symlink a /o/short; mkdir /o/d 755; symlink d /o/dir
RUN link /o/b /o/later; write /o/d/in 644 y
FROM scratch
COPY --from=build /o/ /whole/
COPY --from=build /o/a /o/b /o/short /some/
COPY --from=build /o/dir/in /
`},
	{"names", `FROM base AS build
RUN write /o/` + long + ` 644 x; mkdir /o/` + long + `dir/` + long + ` 755; write "/o/tägliche-☃" 644 x; write /o/-dash 644 x; write /o/.hidden 644 x; write /o/back\\slash 644 x
FROM scratch
COPY --from=build /o /
`},
	{"what later layers remove and replace", `FROM base
RUN write /o/gone 644 x; mkdir /o/dir/sub 755; write /o/dir/file 644 x; write /o/becomes-dir 644 x; mkdir /o/becomes-file/x 755; write /o/linked 644 x; link /o/linked /o/link
RUN remove /o/gone; remove /o/dir
RUN mkdir /o/dir 755; write /o/dir/new 644 x; remove /o/becomes-file; write /o/becomes-file 644 x
RUN chmod /o/linked 4755; rename /o/linked /o/moved
RUN remove /o
COPY context-file /o/again
`},
	{"working directories", `FROM base
ARG sub=sub
WORKDIR /one
WORKDIR two
RUN write here 644 x
WORKDIR ../$sub/deep
WORKDIR /
WORKDIR /one
COPY context-file .
WORKDIR /last
`},
	{"working directories of a user", `FROM base
RUN write /etc/passwd 644 u:x:1234:2345::/:/files
USER 1234:2345
WORKDIR /mine/deep
RUN write /mine/deep/x 644 x
USER u
WORKDIR /also
COPY context-file /also/
`},
	{"what the root directory is", `FROM base AS build
RUN list / /listed
FROM scratch
COPY --from=build / /all/
COPY --from=build /listed /
`},
	{"times within a build", `FROM base
COPY context-file /old
RUN write /new 644 x; newer /new /old
RUN newer /new /old
`},
	{"copies from the context", `FROM scratch
COPY . /all/
COPY tree /new/deep
COPY tree/closed /closed
COPY tree/* /flat/
COPY --chmod=0611 context-file /moded
COPY --chown=12:34 tree /owned/
COPY tree/link-to-file tree/link-to-dir /links/
COPY --link context-file /linked/
`},
	{"the context with a name", `FROM scratch
COPY --from=fetch / /fetched
COPY --from=fetch owned /
ADD fetch/archive.tar /unpacked/
`},
	{"archives", `FROM scratch
ADD fetch/archive.tar /unpacked/
ADD context-file fetch/owned /plain/
`},
	{"here-documents", `FROM base
COPY <<one <<"two" /docs/
first $sub
one
second $sub
two
COPY --chmod=755 <<-EOF /script
	write /x 644 x
EOF
RUN <<EOF
write /y 644 x
write /z 644 x
EOF
`},
	{"what only describes the image", `FROM base
LABEL a=b "c d"="e f"
ENV A=1 B="2 3"
ENV PATH=/bin:$PATH
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGINT
USER nobody
ENTRYPOINT ["/files"]
CMD ["-c", "list / /x"]
`},
	{"an image to build on", `FROM stagex/core-base
RUN write /o/new 644 x; remove /o/old; link /o/new /o/newer
COPY --from=stagex/core-base /o/kept /copied
WORKDIR /o
`},
	{"the same from other images again", `FROM scratch
COPY --from=stagex/core-base /o /o
COPY --from=stagex/core-base /o/kept /o/kept
COPY --from=stagex/core-base / /
COPY --from=stagex/core-base /o/old /o/kept
COPY --from=stagex/core-base /o /o
`},
	{"an image with nothing new", "FROM stagex/core-base\n"},
	{"extended attributes", `FROM base AS build
RUN write /o/a 644 x; attribute /o/a user.note hello
FROM scratch
COPY --from=build /o/a /
`},
}

const base = `FROM scratch AS base
COPY files /files
SHELL ["/files", "-c"]
`

func TestEnginesAgree(t *testing.T) {
	files := filesProgram(t)
	kit, ah := open(t, engine.Options{}), openBuildah(t, engine.Options{})
	layout := buildOne(t, kit, files, base+"FROM base\nRUN write /o/old 644 x; write /o/kept 640 x\nENV FROM_BASE=1\n", "")
	for _, c := range agreements {
		t.Run(c.name, func(t *testing.T) {
			text := c.containerfile
			if strings.Contains(text, "FROM base") {
				text = base + text
			}
			want := enginetest.Read(t, buildOne(t, kit, files, text, layout))
			got := enginetest.Read(t, buildOne(t, ah, files, text, layout))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("images (-buildkit +buildah):\n%s", diff)
			}
		})
	}
}

func filesProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "files")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", name, "./testdata/files")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the tests' program: %v\n%s", err, out)
	}
	return name
}

// buildOne builds with a context of its own, and returns the layout.
func buildOne(t *testing.T, e engine.Engine, files, text, layout string) string {
	t.Helper()
	r := enginetest.Build{
		Containerfile: text,
		Files: map[string]string{
			"context-file": "x\n", "tree/a": "a\n", "tree/sub/b": "b\n", "tree/closed/c": "c\n",
			"fetch/owned": "x\n", "fetch/archive.tar": archive(t),
		},
		Edit: func(r *engine.Request) {
			if layout != "" {
				r.Images = map[string]string{"stagex/core-base": layout}
			}
		},
	}.Request(t, map[string]string{"amd64": files})
	in := func(name string) string { return filepath.Join(r.Context, name) }
	for _, err := range []error{
		os.Rename(in("tool"), in("files")),
		os.Chtimes(in("context-file"), time.Time{}, time.Now().Add(-time.Hour)),
		os.Chmod(in("tree/closed"), 0o700),
		os.Chmod(in("tree/sub/b"), 0o604),
		os.Symlink("../context-file", in("tree/link-to-file")),
		os.Symlink("sub", in("tree/link-to-dir")),
		os.Symlink("/nowhere", in("tree/sub/broken")),
		os.Lchown(in("fetch/owned"), 1000, 1000),
		os.Lchown(in("tree/a"), 1000, 1000),
		os.Link(in("tree/a"), in("tree/sub/hard")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Build(t.Context(), r); err != nil {
		var step *engine.StepError
		if errors.As(err, &step) {
			t.Logf("log of the step:\n%s", step.Log)
		}
		t.Fatalf("%s: %v", e.Info().Name, err)
	}
	return r.Output
}

// archive is a tar with what contexts cannot hold.
func archive(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o750, Uid: 7, Gid: 8},
		{Name: "d/suid", Typeflag: tar.TypeReg, Mode: 0o4711, Uid: 7, Gid: 8},
		{Name: "d/hard", Typeflag: tar.TypeLink, Linkname: "d/suid"},
		{Name: "d/soft", Typeflag: tar.TypeSymlink, Linkname: "suid", Mode: 0o777},
		{Name: "d/implied/file", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "old", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(0, 0)},
		{Name: "new", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(1e9, 5)},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
