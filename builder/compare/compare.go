// Package compare says in which sense two images are the same, and what differs
// where they are not.
//
// Invariants:
//   - IDENTICAL is one manifest digest. EQUIVALENT is one root file system, and one
//     way to run it. Everything else is DIFFERENT.
//   - What is said to be equal has been read and hashed, but for IDENTICAL, where
//     the manifest's digest says all.
//   - A report is bounded, whatever the images hold, and says what it leaves out.
//   - Text of the images is in a report as graphic ASCII alone: names as
//     image.Escape has them, JSON and lines of files with \u and \x escapes.
//
// Schema "cairn.builder.compare/v1" is in docs/builder-formats.md, "The report of a comparison".
package compare

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Schema names the form of a Report as JSON.
const Schema = "cairn.builder.compare/v1"

// Level says in which sense two images are equal.
type Level string

// The levels, from all to nothing.
const (
	Manifest Level = "manifest" // the manifest, and so every byte
	Layers   Level = "layers"   // the uncompressed layers: diff_ids
	Content  Level = "content"  // the root file system: the content digest
	Nothing  Level = "nothing"
)

// Report says how two images compare: the one that is wanted, such as the
// distributed one, and the one that was got.
type Report struct {
	Schema string      `json:"schema"`
	Result leaf.Result `json:"result"`
	// Level is the sense in which the files are the same. With DIFFERENT it may be
	// other than Nothing: then the images run differently.
	Level Level `json:"level"`
	Want  Side  `json:"want"`
	Got   Side  `json:"got"`
	// Running are the fields of the configuration that decide what runs, where they
	// differ.
	Running []Field `json:"running,omitempty"`
	// Fields are where the documents differ: manifest and configuration.
	Fields     []Field `json:"fields,omitempty"`
	MoreFields int     `json:"moreFields,omitempty"` // that are left out
	// Files are the names whose entries differ, sorted.
	Files     []File `json:"files,omitempty"`
	MoreFiles int    `json:"moreFiles,omitempty"` // that are left out

	Diffoscope *Diffoscope `json:"diffoscope,omitempty"`
}

// Side is one of the images.
type Side struct {
	Manifest digest.Digest   `json:"manifest"`
	Config   digest.Digest   `json:"config"`
	Platform string          `json:"platform"`
	DiffIDs  []digest.Digest `json:"diffIds"`
	// Content is the content digest. It is empty where it was not needed.
	Content digest.Digest `json:"content,omitempty"`
}

// Options bound a comparison. Zero means the default that stands beside it.
type Options struct {
	Fields    int   // differing fields of a document: 100
	Files     int   // differing names: 200
	Contents  int   // files of which the bytes are compared: 20
	FileBytes int64 // of one file that are compared: 64 MiB, on disk meanwhile
	TextBytes int64 // of a file that is compared line by line: 256 KiB
	TextLines int   // of one such comparison: 40

	// Diffoscope is the program to ask about the files too; empty for none. It runs
	// many others over what the images hold.
	Diffoscope      string
	DiffoscopeTime  time.Duration // a minute
	DiffoscopeBytes int64         // of its report: 1 MiB
}

func (o Options) withDefaults() Options {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set64 := func(n *int64, v int64) {
		if *n == 0 {
			*n = v
		}
	}
	set(&o.Fields, 100)
	set(&o.Files, 200)
	set(&o.Contents, 20)
	set(&o.TextLines, 40)
	set64(&o.FileBytes, 64<<20)
	set64(&o.TextBytes, 256<<10)
	set64(&o.DiffoscopeBytes, 1<<20)
	if o.DiffoscopeTime == 0 {
		o.DiffoscopeTime = time.Minute
	}
	return o
}

// Compare compares two images within the default bounds. An error says that an
// image could not be read, or that the two are for different platforms; it is
// no result.
func Compare(ctx context.Context, want, got *image.Image) (*Report, error) {
	return Options{}.Compare(ctx, want, got)
}

// Compare compares two images.
func (o Options) Compare(ctx context.Context, want, got *image.Image) (*Report, error) {
	o = o.withDefaults()
	if want.Platform != got.Platform {
		return nil, fmt.Errorf("comparing images: one is for %s, the other for %s", want.Platform, got.Platform)
	}
	r := &Report{Schema: Schema, Want: side(want), Got: side(got)}
	if want.Manifest.Digest == got.Manifest.Digest {
		r.Result, r.Level = leaf.Identical, Manifest
		return r, nil
	}
	if err := r.documents(o, want, got); err != nil {
		return nil, err
	}
	wantContent, gotContent, err := r.contents(ctx, want, got)
	if err != nil {
		return nil, err
	}
	if r.Level != Nothing {
		r.Result = leaf.Equivalent
		if len(r.Running) > 0 {
			r.Result = leaf.Different
		}
		return r, nil
	}
	r.Result = leaf.Different
	return r, o.files(ctx, r, pair[*image.Image]{want, got}, pair[*image.Content]{wantContent, gotContent})
}

// pair is something of the wanted image and of the one that was got.
type pair[T any] struct{ want, got T }

func side(i *image.Image) Side {
	return Side{Manifest: i.Manifest.Digest, Config: i.Config.Digest, Platform: i.Platform, DiffIDs: i.DiffIDs()}
}

// contents sets the level. It reads the layers: also where the diff_ids are the
// same, since so far they are but claims of the configurations.
func (r *Report) contents(ctx context.Context, want, got *image.Image) (w, g *image.Content, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		w, err = want.Content(ctx)
		return err
	})
	group.Go(func() (err error) {
		g, err = got.Content(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, nil, fmt.Errorf("comparing images: %w", err)
	}
	r.Want.Content, r.Got.Content = w.Digest, g.Digest
	switch {
	case slices.Equal(r.Want.DiffIDs, r.Got.DiffIDs):
		r.Level = Layers
	case w.Digest == g.Digest:
		r.Level = Content
	default:
		r.Level = Nothing
	}
	return w, g, nil
}

// documents notes where the manifests and configurations differ.
func (r *Report) documents(o Options, want, got *image.Image) error {
	for _, doc := range []struct {
		name      string
		want, got []byte
	}{{"manifest", want.RawManifest, got.RawManifest}, {"config", want.RawConfig, got.RawConfig}} {
		if bytes.Equal(doc.want, doc.got) {
			continue
		}
		fields, err := diffJSON(doc.want, doc.got)
		if err != nil {
			return fmt.Errorf("comparing the %ss: %w", doc.name, err)
		}
		if len(fields) == 0 {
			fields = []Field{{Path: "/", Want: "the same JSON", Got: "in other bytes"}}
		}
		for i := range fields {
			fields[i].Document = doc.name
		}
		if n := len(fields) - o.Fields; n > 0 {
			fields, r.MoreFields = fields[:o.Fields], r.MoreFields+n
		}
		r.Fields = append(r.Fields, fields...)
	}
	var err error
	r.Running, err = diffRunning(want, got)
	return err
}
