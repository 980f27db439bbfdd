package compare

import (
	"bufio"
	"fmt"
	"io"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// WriteText writes the report for people to read. What it has from the images
// is graphic ASCII, and safe to show.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s: %s\n", r.Result, r.summary())
	r.digests(b)
	for _, f := range r.Running {
		fmt.Fprintf(b, "runs differently  config%s: %s -> %s\n", f.Path, f.Want, f.Got)
	}
	for _, f := range r.Fields {
		fmt.Fprintf(b, "%s %s: %s -> %s\n", f.Document, f.Path, f.Want, f.Got)
	}
	more(b, "", r.MoreFields, "field")
	for i := range r.Files {
		r.Files[i].text(b)
	}
	more(b, "", r.MoreFiles, "file")
	if d := r.Diffoscope; d != nil {
		d.text(b)
	}
	return b.Flush()
}

func (r *Report) summary() string {
	switch {
	case r.Result == leaf.Identical:
		return "the manifests are the same, and so is every byte"
	case r.Result == leaf.Equivalent && r.Level == Layers:
		return "the layers are the same, uncompressed; manifest or configuration differ"
	case r.Result == leaf.Equivalent:
		return "the root file systems hold the same; their layers differ"
	case r.Level != Nothing:
		return "the root file systems hold the same, and run differently"
	}
	return fmt.Sprintf("the root file systems differ in %d names", len(r.Files)+r.MoreFiles)
}

func (r *Report) digests(w io.Writer) {
	for _, d := range []struct{ name, want, got string }{
		{"manifest", r.Want.Manifest.String(), r.Got.Manifest.String()},
		{"config", r.Want.Config.String(), r.Got.Config.String()},
		{"content", r.Want.Content.String(), r.Got.Content.String()},
	} {
		switch {
		case d.want == "":
		case d.want == d.got:
			fmt.Fprintf(w, "  %-8s %s, both\n", d.name, d.want)
		default:
			fmt.Fprintf(w, "  %-8s %s wanted\n  %-8s %s got\n", d.name, d.want, "", d.got)
		}
	}
}

func (f *File) text(w io.Writer) {
	fmt.Fprintf(w, "%-7s %s", f.Change, f.Path)
	if f.Entry != "" {
		fmt.Fprintf(w, "  %s", f.Entry)
	}
	fmt.Fprintln(w)
	for _, a := range f.Attributes {
		fmt.Fprintf(w, "    %s %s -> %s\n", a.Name, a.Want, a.Got)
	}
	b := f.Bytes
	if b == nil {
		return
	}
	switch {
	case b.First < 0:
		fmt.Fprintf(w, "    the first %d bytes are the same\n", b.Compared)
	case b.Bounded:
		fmt.Fprintf(w, "    %d of the first %d bytes differ, from offset %d (0x%x) on\n", b.Differing, b.Compared, b.First, b.First)
	default:
		fmt.Fprintf(w, "    %d of %d bytes differ, from offset %d (0x%x) on\n", b.Differing, b.Compared, b.First, b.First)
	}
	if len(b.Lines) == 0 && b.First >= 0 {
		fmt.Fprintf(w, "    at 0x%x  %s wanted\n    %*s  %s got\n", b.Offset, b.Want, len(fmt.Sprintf("at 0x%x", b.Offset)), "", b.Got)
	}
	for _, line := range b.Lines {
		fmt.Fprintf(w, "      %s\n", line)
	}
	more(w, "      ", b.MoreLines, "line")
}

func (d *Diffoscope) text(w io.Writer) {
	fmt.Fprintln(w, "diffoscope")
	for i, name := range d.Files {
		fmt.Fprintf(w, "  %03d is %s\n", i, name)
	}
	for _, line := range d.Lines {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if d.Truncated {
		fmt.Fprintln(w, "  and more")
	}
	if d.Failure != "" {
		fmt.Fprintf(w, "  it failed: %s\n", d.Failure)
	}
}

func more(w io.Writer, indent string, n int, what string) {
	switch {
	case n == 1:
		fmt.Fprintf(w, "%sand 1 more %s\n", indent, what)
	case n > 1:
		fmt.Fprintf(w, "%sand %d more %ss\n", indent, n, what)
	}
}
