package image

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
)

// deflateSHA256 is the digest of deflateSample, compressed by compress/gzip as
// it is in Go 1.18 to 1.26. From Go 1.27 on, compress/flate writes other bytes.
const deflateSHA256 = "cf2c36ddd117b695bb7149383fa590981a05f757aa98de5deac996f4fa704b8e"

type newGzipFunc func(io.Writer) *gzip.Writer

// newGzip returns the compressor of profile stagex/1: compress/gzip at its
// default level, with an empty header.
func newGzip(w io.Writer) *gzip.Writer { return gzip.NewWriter(w) }

// CheckDeflate reports whether this program was built by a Go toolchain whose
// deflate gives the bytes of the profile. They decide the digest of every
// layer.
func (p Profile) CheckDeflate() error { return p.checkDeflate(newGzip) }

func (p Profile) checkDeflate(newGzip newGzipFunc) error {
	h := sha256.New()
	z := newGzip(h)
	if _, err := z.Write(deflateSample()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != deflateSHA256 {
		return fmt.Errorf("this Go toolchain's deflate (%s) is not that of profile %s (Go 1.18 to 1.26): "+
			"the sample gives sha256:%s, not sha256:%s; build the program with Go 1.26", runtime.Version(), p, got, deflateSHA256)
	}
	return nil
}

// deflateSample returns what shows an encoder's choices: text, matches near and
// as far as the window goes, a long run, and bytes that do not compress. It is
// longer than two windows of deflate.
func deflateSample() []byte {
	var b []byte
	for i := range 3000 {
		b = fmt.Appendf(b, "/usr/lib/%d/entry-%d %04o\n", i%17, i*i, i)
	}
	b = append(b, make([]byte, 5000)...)
	state := uint64(1)
	for range 2500 {
		state = state*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
		b = binary.LittleEndian.AppendUint64(b, state)
		b = append(b, b[len(b)-int(state>>49)-9:][:state>>60]...)
	}
	return append(b, b[:40000]...)
}
