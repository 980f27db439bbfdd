package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// update has BuildKit build the image, and, where there is a directory raw, also
// keeps the layers without rewritten times.
func (g *golden) update(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{"rm": removeProgram(), "context.tar": contextTar(t)}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(g.dir("layout")); err != nil {
		t.Fatal(err)
	}
	g.build(t, dir, g.dir("layout"), true)
	if _, err := os.Stat(g.dir("raw")); err != nil {
		return
	}
	raw := filepath.Join(dir, "raw")
	g.build(t, dir, raw, false)
	keepRaw(t, raw, g.dir("raw"))
}

// build calls buildctl as StageX calls Docker's builder, and unpacks the layout
// to out.
func (g *golden) build(t *testing.T, context, out string, rewrite bool) {
	t.Helper()
	platform := g.recipe(t).Platform
	args := []string{
		"build", "--frontend", "dockerfile.v0", "--local", "context=" + context, "--local", "dockerfile=" + g.dir(""),
		"--opt", "filename=Containerfile", "--opt", "platform=" + platform, "--opt", "target=" + g.target,
		"--output", fmt.Sprintf("name=stagex/core-%s:1.2.3,type=oci,rewrite-timestamp=%t,force-compression=true,"+
			"annotation.containerd.io/distribution.source.docker.io=stagex/core-%s,annotation.org.opencontainers.image.version=1.2.3,"+
			"annotation.org.opencontainers.image.created=1970-01-01T00:00:01Z,tar=true,dest=%s.tar", g.name, rewrite, g.name, context),
	}
	for k, v := range goldenArgs {
		args = append(args, "--opt", "build-arg:"+k+"="+v)
	}
	if g.base != "" {
		base := (&golden{name: g.base}).open(t)
		args = append(args, "--oci-layout", "base="+base.Dir,
			"--opt", "context:stagex/core-config=oci-layout://base@"+base.Index.String())
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("buildctl", args...),
		exec.Command("mkdir", "-p", out),
		exec.Command("tar", "-C", out, "-xf", context+".tar"),
		exec.Command("chmod", "-R", "u=rwX,go=rX", out),
	} {
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, b)
		}
	}
}

// keepRaw copies the layers of a layout to numbered files.
func keepRaw(t *testing.T, layout, out string) {
	t.Helper()
	blob := func(digest string) []byte {
		b, err := os.ReadFile(filepath.Join(layout, "blobs", strings.ReplaceAll(digest, ":", "/")))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type descriptors []struct{ Digest string }
	var doc struct{ Manifests, Layers descriptors }
	b, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Layers) == 0 {
			b = blob(doc.Manifests[0].Digest)
		}
	}
	for n, l := range doc.Layers {
		name := filepath.Join(out, fmt.Sprintf("%03d.tar.gz", n))
		if err := os.WriteFile(name, blob(l.Digest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// contextTar returns files of every kind that a layer can hold, with times
// after the epoch.
func contextTar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	long := "long/" + strings.Repeat("directory-with-a-long-name/", 8) + strings.Repeat("x", 99)
	late := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/one", Mode: 0o755, Size: 4},
		{Name: "bin/suid", Mode: 0o4755, Size: 4, Uid: 1, Gid: 2, Uname: "daemon", Gname: "bin"},
		{Name: "bin/two", Typeflag: tar.TypeLink, Linkname: "bin/one", Mode: 0o755},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "sgid/", Typeflag: tar.TypeDir, Mode: 0o2750, Uid: 3000000, Gid: 3000000},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "bin/one", Mode: 0o777},
		{Name: "dangling", Typeflag: tar.TypeSymlink, Linkname: "/no/" + strings.Repeat("where/", 30), Mode: 0o777},
		{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o600},
		{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Name: "big-owner", Mode: 0o600, Size: 4, Uid: 3000000, Gid: 4000000},
		{Name: "naïve/ünï 文字", Mode: 0o644, Size: 4},
		{Name: "not-utf8-\xff\xfe", Mode: 0o644, Size: 4},
		{Name: "space and \\ and \n", Mode: 0o644, Size: 4},
		{Name: long, Mode: 0o644, Size: 4},
		{Name: "hard/" + strings.Repeat("y", 120), Typeflag: tar.TypeLink, Linkname: long, Mode: 0o644},
		{Name: "empty", Mode: 0},
		{Name: "attributes", Mode: 0o755, Size: 4, PAXRecords: map[string]string{
			"SCHILY.xattr.user.note":           "a=b\x00c",
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00" + strings.Repeat("\x00", 12),
		}},
		{Name: "old", Mode: 0o644, ModTime: time.Unix(0, 500), Format: tar.FormatPAX},
	} {
		if h.ModTime.IsZero() {
			h.ModTime, h.Format = late, tar.FormatPAX
			late = late.Add(time.Second)
		}
		if strings.HasPrefix(h.Name, "not-utf8") {
			h.Format, h.ModTime = tar.FormatGNU, late.Truncate(time.Second)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("one\n")[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// removeProgram returns a static program for linux/amd64 that removes what its
// arguments name: unlink, else rmdir. Images have no shell to do that with.
func removeProgram() []byte {
	code := []byte{
		0x8b, 0x1c, 0x24, // mov (%rsp),%ebx: argc
		0x48, 0x8d, 0x6c, 0x24, 0x10, // lea 16(%rsp),%rbp: &argv[1]
		0xff, 0xcb, // next: dec %ebx
		0x74, 0x1c, // jz done
		0x48, 0x8b, 0x7d, 0x00, // mov (%rbp),%rdi
		0x6a, 0x57, 0x58, 0x0f, 0x05, // push $87; pop %rax; syscall: unlink
		0x85, 0xc0, // test %eax,%eax
		0x74, 0x09, // jz removed
		0x48, 0x8b, 0x7d, 0x00, // mov (%rbp),%rdi
		0x6a, 0x54, 0x58, 0x0f, 0x05, // push $84; pop %rax; syscall: rmdir
		0x48, 0x83, 0xc5, 0x08, // removed: add $8,%rbp
		0xeb, 0xe0, // jmp next
		0x31, 0xff, // done: xor %edi,%edi
		0x6a, 0x3c, 0x58, 0x0f, 0x05, // push $60; pop %rax; syscall: exit
	}
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, 2), 62), 1) // ET_EXEC, EM_X86_64, EV_CURRENT
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, base+headers), 64), 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 5) // PT_LOAD, read and execute
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
