package enginetest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/opencontainers/go-digest"
)

func noNetwork(t *testing.T, s *suite) {
	for name, flag := range map[string]string{"without a flag": "", "with --network=none": "--network=none "} {
		result, _ := s.build(t, Build{
			Containerfile: "FROM scratch\nCOPY tool /tool\nRUN " + flag + "[\"/tool\", \"network\"]\n",
		})
		if got := networks(result); got != "none" {
			t.Errorf("%s: the networks of the steps are %q", name, got)
		}
	}
}

// networks joins those of the steps that have one.
func networks(r *engine.Result) string {
	var all []string
	for _, step := range r.Steps {
		if step.Network != "" {
			all = append(all, step.Network)
		}
	}
	return strings.Join(all, " ")
}

// network uses a server on loopback to tell the networks apart: the default may
// be the host's, or one that leads out.
func network(t *testing.T, s *suite) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer server.Close()
	port := server.Addr().(*net.TCPAddr).Port
	result, _ := s.build(t, Build{
		Containerfile: fmt.Sprintf(`FROM scratch
COPY tool /tool
SHELL ["/tool", "-c"]
RUN network
RUN --network=default <<EOF
dial %d
EOF
  run   network
RUN --network=none network
`, port),
		Edit: func(r *engine.Request) { r.NoCache = true },
	})
	if got := networks(result); got != "none default none none" {
		t.Errorf("the networks of the steps are %q", got)
	}
}

func refusesFlags(t *testing.T, s *suite) {
	for flag, want := range map[string]string{
		"--network=host":                              "--network=host is refused",
		"--security=insecure":                         "without privileges",
		"--mount=type=cache,target=/cache":            "a cache would carry",
		"--mount=target=/cache,type=cache,id=shared":  "a cache would carry",
		"--mount=\"type=cache\",target=/cache":        "a cache would carry",
		"--network=none --mount=type=CACHE,target=/c": "a cache would carry",
	} {
		step := s.failStep(t, Build{Containerfile: "FROM scratch\nCOPY tool /tool\nRUN " + flag + " [\"/tool\", \"network\"]\n"})
		if step.Line != 3 || !strings.Contains(step.Error(), want) {
			t.Errorf("RUN %s: %v, in line %d", flag, step, step.Line)
		}
	}
}

func refusesFrontends(t *testing.T, s *suite) {
	for first, want := range map[string]string{
		"# syntax=docker/dockerfile:1":                                "names a frontend",
		"#  Syntax = example/other":                                   "names a frontend",
		"FROM scratch AS other\nONBUILD RUN [\"/tool\", \"network\"]": "ONBUILD is refused",
	} {
		step := s.failStep(t, Build{Containerfile: first + "\nFROM scratch\nCOPY tool /tool\n"})
		if step.Line == 0 || !strings.Contains(step.Error(), want) {
			t.Errorf("%s: %v, in line %d", first, step, step.Line)
		}
	}
}

func refusesSyntaxArgument(t *testing.T, s *suite) {
	err := s.fail(t, Build{
		Containerfile: "FROM scratch\nCOPY tool /tool\n",
		Args:          []tree.Arg{{Name: "BUILDKIT_SYNTAX", Value: "example.org/frontend"}},
	})
	notStep(t, err)
	if !strings.Contains(err.Error(), "names a frontend") {
		t.Errorf("the error does not say why: %v", err)
	}
}

func wantsNetwork(t *testing.T, s *suite) {
	for _, command := range []string{`"resolve", "www.example.org"`, `"dial", "9"`} {
		step := s.failStep(t, Build{Containerfile: "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", " + command + "]\n"})
		if !strings.Contains(step.Error(), "has none") || !strings.Contains(step.Step, "RUN") {
			t.Errorf("the error does not say that the step has no network: %v", step)
		}
	}
}

func pullsNothing(t *testing.T, s *suite) {
	sum := strings.Repeat("0", 64)
	for instruction, name := range map[string]string{
		"FROM stagex/core-absent":                                                                           "stagex/core-absent",
		"FROM example.org/some/image:1@sha256:" + sum:                                                       "example.org/some/image",
		"FROM scratch\nCOPY --from=stagex/core-absent /bin /bin":                                            "stagex/core-absent",
		"FROM scratch\nADD https://example.org/file.tar /":                                                  "https://example.org/file.tar",
		"FROM scratch\nADD --checksum=sha256:" + sum + " http://a.test/ / ":                                 "http://a.test/",
		"FROM scratch\nADD git@example.org:some/thing.git /":                                                "example.org",
		"FROM scratch\nADD https://example.org/thing.git#main /":                                            "example.org/thing.git",
		"FROM scratch\nCOPY tool /\nRUN --mount=from=stagex/core-absent,target=/x [\"/tool\", \"network\"]": "stagex/core-absent",
	} {
		step := s.failStep(t, Build{Containerfile: instruction + "\nCOPY tool /tool\n"})
		if step.Line == 0 || !strings.Contains(step.Error(), name) || !strings.Contains(step.Error(), "nothing is pulled") {
			t.Errorf("%s: the error does not say what is missing: %v", instruction, step)
		}
	}
}

func hidesHost(t *testing.T, s *suite) {
	host, err := os.Hostname()
	must(t, err)
	s.build(t, Build{
		Containerfile: "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\", \"host\", \"" + host + "\"]\n",
	})
}

// corruptImage changes a layer of an image that was built elsewhere, so that
// the engine has no good copy of it.
func corruptImage(t *testing.T, s *suite) {
	_, image := s.build(t, Build{Containerfile: uuid, Edit: func(r *engine.Request) { r.NoCache = true }})
	dir := t.TempDir()
	layer := forge(t, dir, image.Files["uuid"].Content, nil)
	name := blobName(dir, layer)
	data, err := os.ReadFile(name)
	must(t, err)
	data[len(data)-9] ^= 1 // in the checksum of the gzip stream's end
	must(t, os.WriteFile(name, data, 0o644))
	err = s.fail(t, Build{
		Containerfile: "FROM scratch\nCOPY --from=stagex/core-forged /file /\n",
		Edit:          func(r *engine.Request) { r.Images = map[string]string{"stagex/core-forged": dir} },
	})
	if !strings.Contains(err.Error(), layer.Encoded()) {
		t.Errorf("the error does not name the digest: %v", err)
	}
	notStep(t, err)
}

func triggers(t *testing.T, s *suite) {
	dir := t.TempDir()
	forge(t, dir, "content", []string{"RUN make"})
	err := s.fail(t, Build{
		Containerfile: "FROM stagex/core-forged\nCOPY tool /\n",
		Edit:          func(r *engine.Request) { r.Images = map[string]string{"stagex/core-forged": dir} },
	})
	if !strings.Contains(err.Error(), "ONBUILD") || !strings.Contains(err.Error(), "stagex/core-forged") {
		t.Errorf("the error does not say which image has triggers: %v", err)
	}
	notStep(t, err)
}

// forge writes a layout that no engine has made, with one file of this content,
// and returns the digest of its layer.
func forge(t *testing.T, dir, content string, onBuild []string) digest.Digest {
	t.Helper()
	put(t, filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
	layer, diffID := forgeLayer(t, content)
	f := forger{t, dir}
	blob := f.blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)
	config := f.json("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"OnBuild": onBuild},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []digest.Digest{diffID}},
	})
	manifest := f.json("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []any{blob},
	})
	manifest["platform"] = map[string]string{"architecture": "amd64", "os": "linux"}
	index := f.json("application/vnd.oci.image.index.v1+json", f.index(manifest))
	f.put("index.json", f.index(index))
	return blob["digest"].(digest.Digest)
}
