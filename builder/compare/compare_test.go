package compare_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/builder/compare"
	"github.com/cairnlog/cairn/ledger/leaf"
)

func run(t *testing.T, want, got spec) *compare.Report {
	t.Helper()
	r, err := compare.Compare(t.Context(), want.open(t), got.open(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLevels(t *testing.T) {
	base := one(f("a", "x"), f("b", "y"))
	change := func(set func(*spec)) spec {
		s := base
		set(&s)
		return s
	}
	for name, tc := range map[string]struct {
		got    spec
		result leaf.Result
		level  compare.Level
		fields []string // document and path
		runs   []string
	}{
		"the same": {base, leaf.Identical, compare.Manifest, nil, nil},
		"another history": {change(func(s *spec) { s.history = "x" }), leaf.Equivalent, compare.Layers,
			[]string{"manifest /config/digest", "manifest /config/size", "config /history"}, nil},
		"other spaces": {change(func(s *spec) { s.compact = true }), leaf.Equivalent, compare.Layers,
			[]string{"manifest /config/digest", "manifest /config/size", "config /"}, nil},
		"another compression": {change(func(s *spec) { s.zstd = true }), leaf.Equivalent, compare.Layers,
			[]string{"manifest /layers/0/digest", "manifest /layers/0/mediaType", "manifest /layers/0/size"}, nil},
		"another order": {one(f("b", "y"), f("a", "x")), leaf.Equivalent, compare.Content,
			[]string{"manifest /config/digest", "manifest /layers/0/digest", "config /rootfs/diff_ids/0"}, nil},
		"more layers": {spec{layers: [][]file{{f("a", "x")}, {f("b", "y")}}}, leaf.Equivalent, compare.Content,
			[]string{"manifest /config/digest", "manifest /config/size", "manifest /layers/0/digest", "manifest /layers/0/size", "manifest /layers/1",
				"config /rootfs/diff_ids/0", "config /rootfs/diff_ids/1"}, nil},
		"a label": {change(func(s *spec) { s.config = `{"Labels":{"a":"b"},"ArgsEscaped":true,"WorkingDir":"/","Env":[]}` }),
			leaf.Equivalent, compare.Layers, []string{"manifest /config/digest", "manifest /config/size", "config /config"}, nil},
		"an environment": {change(func(s *spec) { s.config = `{"Env":["LD_PRELOAD=x"]}` }), leaf.Different, compare.Layers,
			[]string{"manifest /config/digest", "manifest /config/size", "config /config"}, []string{" /Env"}},
		"an entry point and another order": {spec{layers: [][]file{{f("b", "y"), f("a", "x")}}, config: `{"Entrypoint":["/a"]}`},
			leaf.Different, compare.Content, []string{"manifest /config/digest", "manifest /config/size", "manifest /layers/0/digest",
				"config /config", "config /rootfs/diff_ids/0"}, []string{" /Entrypoint"}},
		"another byte": {one(f("a", "x"), f("b", "z")), leaf.Different, compare.Nothing,
			[]string{"manifest /config/digest", "manifest /layers/0/digest", "config /rootfs/diff_ids/0"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, base, tc.got)
			if r.Result != tc.result || r.Level != tc.level {
				t.Errorf("got %s at level %s, want %s at %s", r.Result, r.Level, tc.result, tc.level)
			}
			if d := cmp.Diff(tc.fields, paths(r.Fields)); d != "" {
				t.Errorf("fields (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.runs, paths(r.Running)); d != "" {
				t.Errorf("running (-want +got):\n%s", d)
			}
			if (len(r.Files) > 0) != (r.Level == compare.Nothing) {
				t.Errorf("%d files at level %s", len(r.Files), r.Level)
			}
		})
	}
}

func paths(fields []compare.Field) (list []string) {
	for _, f := range fields {
		list = append(list, f.Document+" "+f.Path)
	}
	return list
}

func TestFiles(t *testing.T) {
	set := func(f func(*tar.Header)) func(*tar.Header) { return f }
	want := one(f("same", "x"), f("gone", "12345"), with(f("changed", "abc"), set(func(h *tar.Header) {
		h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": "\n"}
	})), of(tar.TypeSymlink, "link", "a\x1b"), of(tar.TypeChar, "device", ""), f("kind", ""), f("deep/er", ""))
	got := one(f("same", "x"), f("new\u202e\n\xff", ""), with(f("changed", "abd"), set(func(h *tar.Header) {
		h.Mode, h.Uid, h.Gid = 0o4755, 1, 2
		h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "2", "SCHILY.xattr.user.c": "3"}
	})), of(tar.TypeSymlink, "link", "b"), with(of(tar.TypeChar, "device", ""), set(func(h *tar.Header) { h.Devminor = 3 })),
		of(tar.TypeSymlink, "kind", "x"))
	r := run(t, want, got)
	empty, size := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", digest.FromString("12345").Encoded()
	files := []compare.File{
		{Path: "/changed", Change: compare.Changed, Attributes: []compare.Attribute{
			{Name: "mode", Want: "0644", Got: "4755"}, {Name: "uid", Want: "0", Got: "1"}, {Name: "gid", Want: "0", Got: "2"},
			{Name: "sha256", Want: digest.FromString("abc").Encoded(), Got: digest.FromString("abd").Encoded()},
			{Name: "xattr user.a", Want: "1", Got: "2"}, {Name: "xattr user.b", Want: `\x0a`, Got: "-"}, {Name: "xattr user.c", Want: "-", Got: "3"},
		}, Bytes: &compare.Bytes{Compared: 3, First: 2, Differing: 1, Want: "616263", Got: "616264", Text: true, Lines: []string{
			"@@ -1,1 +1,1 @@", "-abc", `\\ No newline at end of file`, "+abd", `\\ No newline at end of file`,
		}}},
		{Path: "/deep", Change: compare.Removed, Entry: "d 0755 0 0"},
		{Path: "/deep/er", Change: compare.Removed, Entry: "f 0644 0 0 0 " + empty},
		{Path: "/device", Change: compare.Changed, Attributes: []compare.Attribute{{Name: "device", Want: "0:0", Got: "0:3"}}},
		{Path: "/gone", Change: compare.Removed, Entry: "f 0644 0 0 5 " + size},
		{Path: "/kind", Change: compare.Changed, Attributes: []compare.Attribute{
			{Name: "type", Want: "f", Got: "l"}, {Name: "mode", Want: "0644", Got: "0777"}, {Name: "size", Want: "0", Got: "-"},
			{Name: "sha256", Want: empty, Got: "-"}, {Name: "target", Want: "-", Got: "x"},
		}},
		{Path: "/link", Change: compare.Changed, Attributes: []compare.Attribute{{Name: "target", Want: `a\x1b`, Got: "b"}}},
		{Path: `/new\xe2\x80\xae\x0a\xff`, Change: compare.Added, Entry: "f 0644 0 0 0 " + empty},
	}
	if d := cmp.Diff(files, r.Files, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func TestBytes(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000) // 80,000 bytes
	for name, tc := range map[string]struct {
		want, got string
		bytes     compare.Bytes
	}{
		"binary": {"\x00" + long + "x" + long, "\x00" + long + "y" + long, compare.Bytes{Compared: 160002, First: 80001, Differing: 1, Offset: 79985,
			Want: "30313233343536373839616263646566" + "78303132333435363738396162636465", Got: "30313233343536373839616263646566" + "79303132333435363738396162636465"}},
		"longer":  {"\x00ab", "\x00abcd", compare.Bytes{Compared: 5, First: 3, Differing: 2, Want: "006162", Got: "0061626364"}},
		"shorter": {"\x00" + long, "\x00", compare.Bytes{Compared: 80001, First: 1, Differing: 80000, Want: "00" + "30313233343536373839616263646566" + "303132333435363738396162636465", Got: "00"}},
		"all":     {"\x00\x00\x00", "\x01\x01\x01", compare.Bytes{Compared: 3, Differing: 3, Want: "000000", Got: "010101"}},
		"text": {"a\nb\n", "a\nc\té\x1b[1m\n", compare.Bytes{Compared: 11, First: 2, Differing: 9, Want: "610a620a", Got: "610a6309c3a91b5b316d0a", Text: true,
			Lines: []string{"@@ -1,2 +1,2 @@", " a", "-b", `+c\t\u00e9\x1b[1m`}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, one(f("a", tc.want)), one(f("a", tc.got)))
			if d := cmp.Diff(&tc.bytes, r.Files[0].Bytes); d != "" {
				t.Errorf("bytes (-want +got):\n%s", d)
			}
		})
	}
}

// Hard links share their bytes, which are compared for each.
func TestLinkedFiles(t *testing.T) {
	r := run(t, one(f("a", "x"), of(tar.TypeLink, "b", "a")), one(f("a", "y"), of(tar.TypeLink, "b", "a")))
	if len(r.Files) != 2 || r.Files[0].Bytes == nil || r.Files[1].Bytes == nil {
		t.Errorf("got %+v", r.Files)
	}
}

func TestBounds(t *testing.T) {
	var want, got []file
	for _, name := range strings.Split("abcdefgh", "") {
		want = append(want, f(name, name+strings.Repeat("x\n", 100)))
		got = append(got, f(name, strings.Repeat("y\n", 100)+name))
	}
	o := compare.Options{Fields: 1, Files: 4, Contents: 2, FileBytes: 100, TextLines: 3}
	r, err := o.Compare(t.Context(), one(want...).open(t), spec{layers: [][]file{got}, history: "h"}.open(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 4 || r.MoreFiles != 4 || len(r.Fields) != 2 || r.MoreFields != 3 {
		t.Errorf("got %d files and %d more, %d fields and %d more", len(r.Files), r.MoreFiles, len(r.Fields), r.MoreFields)
	}
	for i, f := range r.Files {
		if (f.Bytes != nil) != (i < 2) {
			t.Errorf("file %d: bytes %+v", i, f.Bytes)
		}
	}
	if b := r.Files[0].Bytes; b.Compared != 100 || !b.Bounded || len(b.Lines) != 3 || b.MoreLines == 0 {
		t.Errorf("bytes %+v", b)
	}
	shows(t, r, "and 4 more files\n", "and 3 more fields\n", "of the first 100 bytes differ", "more lines\n")
	same := strings.Repeat("x", 100)
	r, err = o.Compare(t.Context(), one(f("a", same+"1")).open(t), one(f("a", same+"2")).open(t))
	if err != nil {
		t.Fatal(err)
	}
	if b := r.Files[0].Bytes; b.First != -1 || b.Differing != 0 || !b.Bounded {
		t.Errorf("bytes %+v", b)
	}
	shows(t, r, "the first 100 bytes are the same\n")
}

// shows checks that the report's text has some lines.
func shows(t *testing.T, r *compare.Report, lines ...string) {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range lines {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

func TestErrors(t *testing.T) {
	base := one(f("a", "x"))
	if r, err := compare.Compare(t.Context(), base.open(t), spec{arch: "386", layers: base.layers}.open(t)); err == nil {
		t.Errorf("images for two platforms are %s", r.Result)
	}
	other := spec{layers: base.layers, history: "h"}.open(t)
	blob := filepath.Join(other.Dir, "blobs/sha256", other.Layers[0].Digest.Encoded())
	if err := os.WriteFile(blob, bytes.Repeat([]byte("x"), int(other.Layers[0].Size)), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := compare.Compare(t.Context(), base.open(t), other); err == nil {
		t.Errorf("an image with another layer than it says is %s", r.Result)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := compare.Compare(ctx, base.open(t), one(f("a", "y")).open(t)); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}

// TestText shows the text for each kind of report, and that nothing of the
// images can do more than be read.
func TestText(t *testing.T) {
	evil := "\x1b[31m\u202e\u2066 é"
	want := spec{layers: [][]file{{f("a"+evil, evil), f("b", evil+"\n"), f("d", "\x00\x01")}}, history: evil, config: `{"Env":["A=\u001b\u202e\ud83d\ude00"]}`}
	got := spec{layers: [][]file{{of(tar.TypeSymlink, "a"+evil, evil), f("b", evil+"!\n"), f("c", evil), f("d", "\x00\x02")}}, config: `{"Env":["B"]}`}
	r := run(t, want, got)
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	doc, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{text, string(doc)} {
		for i := range len(s) {
			if c := s[i]; c != '\n' && (c < ' ' || c > '~') {
				t.Fatalf("byte %#x at %d of:\n%s", c, i, s)
			}
		}
	}
	for _, want := range []string{
		"DIFFERENT: the root file systems differ in 4 names\n", "runs differently  config/Env/0: \"A=\\u001b\\u202e\\ud83d\\ude00\" -> \"B\"\n",
		`changed /a\x1b[31m\xe2\x80\xae\xe2\x81\xa6\x20\xc3\xa9` + "\n    type f -> l\n", `added   /c  f 0644 0 0 `,
		`-\x1b[31m\u202e\u2066 \u00e9` + "\n", "1 of 2 bytes differ, from offset 1 (0x1) on\n    at 0x0  0001 wanted\n            0002 got\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	var back compare.Report
	if err := json.Unmarshal(doc, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, &back, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("through JSON (-want +got):\n%s", d)
	}
}

func TestSummaries(t *testing.T) {
	base := one(f("a", "x"), f("b", "y"))
	for want, got := range map[string]spec{
		"IDENTICAL: the manifests are the same": base,
		"EQUIVALENT: the layers are the same":   {layers: base.layers, history: "h"},
		"EQUIVALENT: the root file systems":     one(f("b", "y"), f("a", "x")),
		"DIFFERENT: the root file systems hold": {layers: base.layers, config: `{"User":"1"}`},
		"DIFFERENT: the root file systems diff": one(f("a", "x")),
	} {
		var b strings.Builder
		if err := run(t, base, got).WriteText(&b); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("want %q, got %v\n%s", want, err, b.String())
		}
	}
}

func TestDiffoscope(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		want   compare.Diffoscope
	}{
		"differences": {"printf 'a\\033[m\\nb\\n'; cat \"${@: -2:1}/000\" \"${@: -1}/000\"; exit 1", compare.Diffoscope{Lines: []string{`a\x1b[m`, "b", "xy"}}},
		"none":        {"exit 0", compare.Diffoscope{}},
		"failure":     {"echo wrong >&2; exit 2", compare.Diffoscope{Failure: "exit status 2: wrong"}},
		"no end":      {"sleep 100 & echo $! > $0.pid; wait", compare.Diffoscope{Failure: "it took longer than 200ms"}},
		"long":        {"head -c 100000 /dev/zero | tr '\\0' x; exit 1", compare.Diffoscope{Truncated: true, Lines: []string{strings.Repeat("x", 200) + "... and 800 more bytes"}}},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "diffoscope")
			if err := os.WriteFile(program, []byte("#!/bin/bash\n"+tc.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			o := compare.Options{Diffoscope: program, DiffoscopeTime: 200 * time.Millisecond, DiffoscopeBytes: 1000}
			if name != "no end" {
				o.DiffoscopeTime = time.Minute
			}
			r, err := o.Compare(t.Context(), one(f("a", "x")).open(t), one(f("a", "y")).open(t))
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Files = []string{"/a"}
			if d := cmp.Diff(&tc.want, r.Diffoscope, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
			shows(t, r, "diffoscope\n  000 is /a\n")
			ended(t, program+".pid")
			if tc.want.Failure != "" {
				shows(t, r, "  it failed: "+tc.want.Failure+"\n")
			}
			if tc.want.Truncated {
				shows(t, r, "  and more\n")
			}
		})
	}
}

// ended checks that the process whose id a file holds, if there is one, has
// ended or does so now.
func ended(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Errorf("process %d goes on: %v", pid, err)
	}
}

func BenchmarkCompareEquivalent(b *testing.B) {
	var files, turned []file
	body := strings.Repeat("0123456789abcdef", 1<<16)
	for i := range 32 {
		files = append(files, f("usr/lib/"+strings.Repeat("x", i+1), body))
		turned = append([]file{files[i]}, turned...)
	}
	want, got := one(files...).open(b), one(turned...).open(b)
	b.SetBytes(2 * 32 << 20)
	b.ReportAllocs()
	for b.Loop() {
		r, err := compare.Compare(b.Context(), want, got)
		if err != nil || r.Level != compare.Content {
			b.Fatal(r, err)
		}
	}
}

func BenchmarkCompareIdentical(b *testing.B) {
	want, got := one(f("a", "x")).open(b), one(f("a", "x")).open(b)
	for b.Loop() {
		if _, err := compare.Compare(b.Context(), want, got); err != nil {
			b.Fatal(err)
		}
	}
}
