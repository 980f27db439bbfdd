package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"time"
)

// RewriteTimestamps copies the tar of a layer from r to w, with no time after
// epoch: what BuildKit's exporter does for rewrite-timestamp=true. Whatever
// else the headers say stays: names, owners, PAX records, and the format where
// the header still fits it. It reads r to its end, so padding after the end of
// the archive is dropped. Memory is bounded.
func RewriteTimestamps(w io.Writer, r io.Reader, epoch time.Time) error {
	t, out := tar.NewReader(r), tar.NewWriter(w)
	buf := make([]byte, 128<<10)
	for {
		hdr, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the tar of a layer: %w", err)
		}
		if err := refuseSparse(hdr); err != nil {
			return fmt.Errorf("rewriting %q: %w", hdr.Name, err)
		}
		for _, tm := range []*time.Time{&hdr.ModTime, &hdr.AccessTime, &hdr.ChangeTime} {
			if tm.After(epoch) {
				*tm = epoch
			}
		}
		if err := out.WriteHeader(hdr); err != nil {
			return fmt.Errorf("rewriting the header of %q: %w", hdr.Name, err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{t}, buf); err != nil {
			return fmt.Errorf("copying %q: %w", hdr.Name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("ending the tar of a layer: %w", err)
	}
	_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, buf)
	return err
}
