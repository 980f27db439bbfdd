package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// A ceiling is what a part of the ledger does with the machine to itself. No
// ledger is faster than its slowest part, and on two cores it is slower than
// each, since the parts share them.

const (
	ceilingEnvelopes = 512
	blobsPerCommit   = 256
	leafSize         = 500 // bytes, about what a reproduction's leaf has
)

// measureCeilings runs while no ledger does.
func (b *bencher) measureCeilings(ctx context.Context) error {
	b.out.ceilingHeader()
	for _, f := range []func(context.Context) error{b.verifyCeilings, b.tesseraCeilings, b.sqliteCeiling} {
		if err := f(ctx); err != nil {
			return fmt.Errorf("measuring a ceiling: %w", err)
		}
	}
	return nil
}

// call is a sender that calls a function.
type call func(wire []byte) error

// send implements sender.
func (c call) send(_ context.Context, wire []byte, _ bool) ([]byte, error) { return nil, c(wire) }

// close implements sender.
func (c call) close() {}

// ceiling measures f, called by a number of workers. Each call does some of
// what the name says, each many of it.
func (b *bencher) ceiling(ctx context.Context, name string, workers, each int, requests []request, f call) error {
	j := job{
		submitters: workers, requests: requests, reuse: true,
		warmup: min(b.warmup, b.ceilingTime), window: b.ceilingTime,
		open: func(int) (sender, error) { return f, nil },
	}
	m, err := j.run(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r := newResult(name, "", workers, m)
	r.Rate *= float64(each)
	b.out.addCeiling(r)
	if r.Answered == 0 {
		return fmt.Errorf("%s: nothing succeeded: %s", name, reasons(r.Failures))
	}
	return nil
}

// verifyCeilings measures Ed25519 by itself, and the way an attestation takes:
// parsed, verified, made into a leaf.
func (b *bencher) verifyCeilings(ctx context.Context) error {
	envelopes, err := b.workshop.prepare(ctx, ceilingEnvelopes, func(env []byte) request { return request{wire: env} })
	if err != nil {
		return err
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signed := make([]request, ceilingEnvelopes)
	for i := range signed {
		msg := make([]byte, len(b.workshop.payloads[0]))
		binary.BigEndian.PutUint64(msg, uint64(i))
		signed[i].wire = append(ed25519.Sign(priv, msg), msg...)
	}
	verify := func(wire []byte) error {
		if !ed25519.Verify(pub, wire[ed25519.SignatureSize:], wire[:ed25519.SignatureSize]) {
			return errors.New("signature refused")
		}
		return nil
	}
	ring := newRing(b.workshop.signers)
	open := func(wire []byte) error {
		_, err := attest.Open(wire, ring)
		return err
	}
	for _, c := range []struct {
		name     string
		requests []request
		f        call
	}{{"ed25519.Verify", signed, verify}, {"attest.Open", envelopes, open}} {
		for _, workers := range []int{1, runtime.NumCPU()} {
			if err := b.ceiling(ctx, c.name, workers, 1, c.requests, c.f); err != nil {
				return err
			}
		}
	}
	return nil
}

// ring is a Keyring that finds keys as fast as the ledger's does.
type ring map[leaf.Fingerprint]*attest.PublicKey

func newRing(signers []*attest.Signer) ring {
	r := make(ring, len(signers))
	for _, s := range signers {
		r[s.Public.Fingerprint] = s.Public
	}
	return r
}

// Lookup implements attest.Keyring.
func (r ring) Lookup(f leaf.Fingerprint) (*attest.PublicKey, bool) {
	k, ok := r[f]
	return k, ok
}

// Hinted implements attest.Keyring.
func (r ring) Hinted(string) []*attest.PublicKey { return nil }

// Candidates implements attest.Keyring.
func (r ring) Candidates() []*attest.PublicKey { return nil }

// tesseraCeilings measures the embedded log without a personality: nothing is
// verified, stored, indexed, signed or proven.
func (b *bencher) tesseraCeilings(ctx context.Context) error {
	for _, appenders := range []int{16, 1024, 4096} {
		if err := b.tesseraCeiling(ctx, appenders); err != nil {
			return err
		}
	}
	return nil
}

func (b *bencher) tesseraCeiling(ctx context.Context, appenders int) (err error) {
	skey, _, err := note.GenerateKey(rand.Reader, "localhost/loadgen")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	log, err := engine.OpenTessera(ctx, filepath.Join(b.work, fmt.Sprintf("tessera-%d", appenders)), signer)
	if err != nil {
		return err
	}
	defer func() {
		// The log closes only when all of it is published.
		err = errors.Join(err, publish(context.WithoutCancel(ctx), log, signer), log.Close())
	}()
	var made atomic.Uint64
	return b.ceiling(ctx, "Tessera alone", appenders, 1, []request{{}}, func([]byte) error {
		leaf := make([]byte, leafSize)
		binary.BigEndian.PutUint64(leaf, made.Add(1))
		_, err := log.Append(ctx, leaf)()
		return err
	})
}

// publish publishes the whole of a log.
func publish(ctx context.Context, log *engine.Tessera, signer note.Signer) error {
	size, err := log.Size(ctx)
	if err != nil {
		return err
	}
	root, err := engine.NewProver(log).Root(ctx, size, size)
	if err != nil {
		return err
	}
	text := torchwood.Checkpoint{Origin: signer.Name(), Tree: tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return err
	}
	return log.Publish(ctx, signed)
}

// sqliteCeiling measures durable commits of attestations' bytes, one at a time
// as the ledger makes them.
func (b *bencher) sqliteCeiling(ctx context.Context) (err error) {
	blobs, err := store.OpenSQLiteBlobs(ctx, filepath.Join(b.work, "ceiling.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	env, err := b.workshop.make()
	if err != nil {
		return err
	}
	var made uint64
	name := fmt.Sprintf("SQLite commits of %d attestations", blobsPerCommit)
	return b.ceiling(ctx, name, 1, blobsPerCommit, []request{{wire: env}}, func(wire []byte) error {
		batch := make([]store.Blob, blobsPerCommit)
		for i := range batch {
			// A digest spread like any other is enough, and hashing all of the
			// bytes is no work of the store's.
			made++
			sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, made))
			batch[i] = store.Blob{Digest: leaf.Digest("sha256:" + hex.EncodeToString(sum[:])), Bytes: wire}
		}
		return blobs.Put(ctx, batch)
	})
}

// ceilingColumns is a table of its own: there is no transport and no server.
const ceilingColumns = "%-34s %8s %10s %9s %9s %9s %8s %10s %10s"

func (r *report) ceilingHeader() {
	r.printf("")
	r.printf("ceilings, with no ledger running:")
	r.printf(ceilingColumns, "what", "workers", "per second", "p50", "p99", "max", "failures", "CPU", "other CPU")
}

func (r *report) addCeiling(res *result) {
	r.ceilings = append(r.ceilings, res)
	r.printf(ceilingColumns, res.What, fmt.Sprint(res.Submitters), fmt.Sprintf("%.0f", res.Rate),
		millis(res.P50), millis(res.P99), millis(res.Max), fmt.Sprint(res.Failed), percent(res.CPU.Client), percent(res.CPU.Other))
	if len(res.Failures) > 0 {
		r.printf("%s failures: %s", strings.Repeat(" ", 6), reasons(res.Failures))
	}
}
