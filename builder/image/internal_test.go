package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestOtherDeflate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	_, err := StageX1.write(t.Context(), dir, nil, func(w io.Writer) *gzip.Writer {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		return z
	})
	if err == nil || !strings.Contains(err.Error(), "this Go toolchain's deflate") || !strings.Contains(err.Error(), "profile stagex/1") {
		t.Errorf("got %v, want an error that names toolchain and profile", err)
	}
}

// A name of an extended attribute with an equals sign is in no PAX record, so
// only a test has one.
func TestEscapedAttributes(t *testing.T) {
	a, b := Entry{Xattrs: []Xattr{{"a=b", "c"}}}, Entry{Xattrs: []Xattr{{"a", "b=c"}}}
	if a.String() == b.String() {
		t.Errorf("both are %q", a.String())
	}
}

func TestEntryLimits(t *testing.T) {
	layer := func(names ...string) io.Reader {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range names {
			if err := w.WriteHeader(&tar.Header{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	if _, err := readLayer(layer("a", "b", "c"), 0, 2); err == nil || !strings.Contains(err.Error(), "more than 2 headers") {
		t.Errorf("three headers of two: %v", err)
	}
	for _, tc := range []struct {
		layers [][]string
		ok     bool
	}{
		{[][]string{{"a", "b", "c"}}, true},
		{[][]string{{"a", "b", "c", "d"}}, false},
		{[][]string{{"a/b/c/d"}}, false},
		{[][]string{{"a/b/c"}, {".wh.a", "b", "c", "d"}}, true},
		{[][]string{{"a/b/c"}, {"a/.wh..wh..opq", "b", "c"}}, true},
		{[][]string{{"a/b/c"}, {"a", "b", "c"}}, true},
		{[][]string{{"a", "b"}, {"c"}, {"d"}}, false},
	} {
		fs := newRootfs(4)
		var err error
		for n, names := range tc.layers {
			l, lerr := readLayer(layer(names...), n, 10)
			if lerr != nil {
				t.Fatal(lerr)
			}
			if err = fs.apply(l); err != nil {
				break
			}
		}
		if (err == nil) != tc.ok {
			t.Errorf("%q: got %v, with four files allowed", tc.layers, err)
		}
		if err == nil && fs.count != len(fs.entries()) {
			t.Errorf("%q: %d files counted, there are %d", tc.layers, fs.count, len(fs.entries()))
		}
	}
}
