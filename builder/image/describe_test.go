package image_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/image"
)

// describe returns the history of a Containerfile's image, a line per entry:
// "+" for those that make a layer.
func describe(t *testing.T, r *image.Recipe) (*image.Description, string) {
	t.Helper()
	if r.Platform == "" {
		r.Platform = "linux/amd64"
	}
	r.Epoch = image.StageXEpoch()
	d, err := image.StageX1.Describe(r)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, h := range d.Image.History {
		if h.EmptyLayer {
			b.WriteString("  ")
		} else {
			b.WriteString("+ ")
		}
		b.WriteString(strings.ReplaceAll(h.CreatedBy, "\n", "⏎") + "\n")
	}
	return d, b.String()
}

// The wanted texts are those of BuildKit 0.32.2's front end.
func TestHistory(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"ARG": {"ARG G=${FOO}g\nFROM scratch\nARG G N\nARG FOO=x A=$G B=${A:+set}\nARG TARGETARCH BUILDPLATFORM TARGETSTAGE",
			"  ARG G=g N\n  ARG FOO=bar baz A=g B=set\n  ARG TARGETARCH=amd64 BUILDPLATFORM=linux/amd64 TARGETSTAGE=default\n"},
		"ENV": {"FROM scratch\nENV A=1 B=\"x y\" C='$A'\nENV legacy a  b\nENV D=$A${U:-u}",
			"  ENV A=1 B=x y C=$A\n  ENV legacy=a  b\n  ENV D=1u\n"},
		"COPY": {"FROM scratch\nENV A=1\nCOPY --link --chown=1:$A --chmod=755 a* b/ .\nCOPY --parents x/y /z\nCOPY [\"a b\", \"/c d/\"]\nCOPY <<E <<\"F\" x /d/\n1\nE\n2\nF\n",
			"  ENV A=1\n+ COPY --chown=1:1 --chmod=755 a* b/ . # buildkit\n+ COPY --parents x/y /z # buildkit\n+ COPY a b /c d/ # buildkit\n+ COPY x <<E <<F /d/ # buildkit\n"},
		"ADD": {"FROM scratch\nADD --chown=root a.tar https://example.org/x /", "+ ADD --chown=root a.tar https://example.org/x / # buildkit\n"},
		"RUN": {"FROM scratch\nRUN a && \\\n  b\nARG A=1\nARG A=2 B\nRUN [\"x\", \"y z\"]\nENV A=3\nRUN --network=none c",
			"+ RUN /bin/sh -c a &&   b # buildkit\n  ARG A=1\n  ARG A=2 B\n+ RUN |2 A=2 B= x y z # buildkit\n  ENV A=3\n+ RUN |2 A=3 B= /bin/sh -c c # buildkit\n"},
		"RUN with documents": {"FROM scratch\nRUN <<-E\n\ta\n\t b\n\tE\nRUN <<E\n#!/x\ny\nE\nRUN cat <<E > f\n1\nE\n",
			"+ RUN /bin/sh -c a⏎ b⏎ # buildkit\n+ RUN /bin/sh -c /dev/pipes/E # buildkit\n+ RUN /bin/sh -c cat <<E > f⏎1⏎E # buildkit\n"},
		"SHELL": {"FROM scratch\nSHELL [\"/k\", \"-f\"]\nRUN x\nCMD y \"z\"\nENTRYPOINT e",
			"  SHELL [/k -f]\n+ RUN /k -f x # buildkit\n  CMD [\"/k\" \"-f\" \"y \\\"z\\\"\"]\n  ENTRYPOINT [\"/k\" \"-f\" \"e\"]\n"},
		"WORKDIR": {"FROM scratch\nWORKDIR a\nWORKDIR ../b/./c\nWORKDIR /d/../e/\nWORKDIR \"\"\nWORKDIR /\nWORKDIR .",
			"+ WORKDIR /a\n+ WORKDIR /b/c\n+ WORKDIR /d/../e/\n+ WORKDIR /d/../e/\n  WORKDIR /\n  WORKDIR /\n"},
		"others": {"FROM scratch\nENV P=90\nUSER $P:2\nLABEL a=\"b c\" d=$P\nVOLUME /a /b\nVOLUME [\"/c d\"]\nSTOPSIGNAL TERM\nEXPOSE 80 $P/UDP 1-3\nMAINTAINER x",
			"  ENV P=90\n  USER 90:2\n  LABEL a=b c d=90\n  VOLUME [/a /b]\n  VOLUME [/c d]\n  STOPSIGNAL TERM\n  EXPOSE [90/udp 1/tcp 2/tcp 3/tcp 80/tcp]\n  MAINTAINER x\n"},
		"a stage upon a stage": {"FROM scratch AS a\nARG A=1\nCMD x\nFROM a AS b\nRUN y\nENTRYPOINT z",
			"  ARG A=1\n  CMD [\"/bin/sh\" \"-c\" \"x\"]\n+ RUN |1 A=1 /bin/sh -c y # buildkit\n  ENTRYPOINT [\"/bin/sh\" \"-c\" \"z\"]\n"},
		"the later of two stages of a name": {"FROM scratch AS a\nUSER 1\nFROM scratch AS a\nUSER 2\nFROM a", "  USER 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d, got := describe(t, &image.Recipe{Containerfile: []byte(tc.file), Args: map[string]string{"FOO": "bar baz"}})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if n := strings.Count(got, "+ "); d.Layers != n {
				t.Errorf("%d layers, want %d", d.Layers, n)
			}
			for _, h := range d.Image.History {
				if h.Comment != "buildkit.dockerfile.v0" || !h.Created.Equal(time.Unix(1, 0)) {
					t.Errorf("entry %v", h)
				}
			}
		})
	}
}

func TestDescribeTarget(t *testing.T) {
	file := []byte("FROM scratch AS package-a\nUSER 1\nFROM scratch AS package-b\nARG TARGETSTAGE\n")
	if _, got := describe(t, &image.Recipe{Containerfile: file, Target: "Package-A"}); got != "  USER 1\n" {
		t.Errorf("got %q", got)
	}
	if _, got := describe(t, &image.Recipe{Containerfile: file}); got != "  ARG TARGETSTAGE=package-b\n" {
		t.Errorf("got %q", got)
	}
}

func TestDescribePlatform(t *testing.T) {
	for platform, want := range map[string]string{
		"linux/386": "linux/386", "linux/arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/arm": "linux/arm/v7",
	} {
		d, _ := describe(t, &image.Recipe{Containerfile: []byte("FROM scratch\nARG TARGETPLATFORM\n"), Platform: platform})
		got := strings.TrimSuffix(d.Image.OS+"/"+d.Image.Architecture+"/"+d.Image.Variant, "/")
		if got != want {
			t.Errorf("%s: got %s, want %s", platform, got, want)
		}
	}
}

// What is built for a platform on an image for another is for the former.
func TestDescribeOtherBase(t *testing.T) {
	base := (&golden{name: "armv7", platform: "linux/arm/v7"}).open(t)
	d, got := describe(t, &image.Recipe{
		Containerfile: []byte("FROM --platform=linux/arm stagex/a\nWORKDIR b\n"), Platform: "linux/386",
		Images: map[string]*image.Image{"stagex/a": base},
	})
	if p := d.Image.Platform; p.OS != "linux" || p.Architecture != "386" || p.Variant != "" {
		t.Errorf("got platform %v", p)
	}
	if d.Base != base || d.Layers != 1 || !strings.HasSuffix(got, "+ WORKDIR /b\n") {
		t.Errorf("got %d layers upon %v, history\n%s", d.Layers, d.Base.Dir, got)
	}
	for _, config := range []string{`{"config":{"OnBuild":["RUN x"]}}`, `{"config":5}`} {
		base.RawConfig = []byte(config)
		if _, err := image.StageX1.Describe(&image.Recipe{
			Containerfile: []byte("FROM stagex/a\n"), Platform: "linux/386", Epoch: image.StageXEpoch(),
			Images: map[string]*image.Image{"stagex/a": base},
		}); err == nil {
			t.Errorf("an image with the configuration %s is built upon", config)
		}
	}
}

func TestDescribeRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		want  string
		spoil func(*image.Recipe)
	}{
		"nothing":             {"no instructions", func(r *image.Recipe) { r.Containerfile = nil }},
		"no stage":            {"no stage", func(r *image.Recipe) { r.Containerfile = []byte("ARG A\n") }},
		"unknown instruction": {"unknown instruction", func(r *image.Recipe) { r.Containerfile = []byte("FROM scratch\nFOO\n") }},
		"unknown target":      {`no stage "x"`, func(r *image.Recipe) { r.Target = "x" }},
		"unknown image":       {"no such image was given", func(r *image.Recipe) { r.Containerfile = []byte("FROM stagex/x\n") }},
		"a later stage":       {"no such image", func(r *image.Recipe) { r.Containerfile = []byte("FROM b AS a\nFROM scratch AS b\nFROM a\n") }},
		"platform":            {"platform", func(r *image.Recipe) { r.Platform = "" }},
		"build platform":      {"platform", func(r *image.Recipe) { r.BuildPlatform = "/" }},
		"Windows":             {"Windows", func(r *image.Recipe) { r.Platform = "windows/amd64" }},
		"no epoch":            {"epoch", func(r *image.Recipe) { r.Epoch = time.Time{} }},
		"a bad word":          {"${", func(r *image.Recipe) { r.Containerfile = []byte("FROM scratch\nUSER ${\n") }},
		"HEALTHCHECK":         {"does not cover", func(r *image.Recipe) { r.Containerfile = []byte("FROM scratch\nHEALTHCHECK NONE\n") }},
		"ONBUILD of a stage":  {"ONBUILD", func(r *image.Recipe) { r.Containerfile = []byte("FROM scratch AS a\nONBUILD RUN x\nFROM a\n") }},
		"an empty volume":     {"empty name", func(r *image.Recipe) { r.Containerfile = []byte("FROM scratch\nVOLUME $UNSET\n") }},
		"EXPOSE of an address": {"not of the form", func(r *image.Recipe) {
			r.Containerfile = []byte("FROM scratch\nEXPOSE 127.0.0.1:80:80\n")
		}},
		"a stage named like an image": {"would take the image", func(r *image.Recipe) {
			r.Containerfile = []byte("FROM scratch AS a\n")
			r.Images = map[string]*image.Image{"a": {}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &image.Recipe{Containerfile: []byte("FROM scratch\n"), Platform: "linux/amd64", Epoch: image.StageXEpoch()}
			tc.spoil(r)
			if _, err := image.StageX1.Describe(r); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func FuzzDescribe(f *testing.F) {
	for _, g := range goldens {
		if g.base == "" {
			f.Add(readFile(f, g.dir("Containerfile")))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &image.Recipe{Containerfile: text, Platform: "linux/amd64", Epoch: image.StageXEpoch(), Args: goldenArgs}
		d, err := image.StageX1.Describe(r)
		if err != nil {
			return
		}
		layers := 0
		for _, h := range d.Image.History {
			if !h.EmptyLayer {
				layers++
			}
		}
		if layers != d.Layers {
			t.Errorf("the history has %d layers, the description %d", layers, d.Layers)
		}
	})
}
