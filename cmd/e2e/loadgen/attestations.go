package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// workshop makes unique signed attestations.
type workshop struct {
	signers []*attest.Signer
	// payloads holds one Statement for each signer, about the artifact with
	// the placeholder's digest.
	payloads [][]byte
	seed     [16]byte
	made     atomic.Uint64
}

// placeholder stands for an artifact's digest in a payload.
var placeholder = strings.Repeat("0", 64)

func newWorkshop(keys, padding int) (*workshop, error) {
	w := &workshop{}
	_, _ = rand.Read(w.seed[:]) // never fails
	for i := range keys {
		s, _, err := attest.GenerateEd25519()
		if err != nil {
			return nil, err
		}
		payload, err := statement(i, padding)
		if err != nil {
			return nil, err
		}
		w.signers = append(w.signers, s)
		w.payloads = append(w.payloads, payload)
	}
	// One is opened, so that a bad one is found before a load is made of it.
	env, err := w.make()
	if err != nil {
		return nil, err
	}
	if _, err := attest.Open(env, w.keyring()); err != nil {
		return nil, fmt.Errorf("checking the attestations to be sent: %w", err)
	}
	return w, nil
}

// statement returns a reproduction such as rebuilders send, about 750 bytes.
func statement(i, padding int) ([]byte, error) {
	digest := map[string]string{"sha256": placeholder}
	name := fmt.Sprintf("core-%d", i)
	environment := map[string]string{
		"os": "linux", "kernel": "6.12.9", "arch": "x86_64", "cpuVendor": "AuthenticAMD",
	}
	if padding > 0 {
		environment["padding"] = strings.Repeat("x", padding)
	}
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
		Result:      leaf.Identical,
		Obtained:    attest.Built,
		Outputs:     []attest.ResourceDescriptor{{Name: name, Digest: digest}},
		Rebuilder:   attest.Builder{ID: fmt.Sprintf("https://rebuilder-%d.example", i), Operator: operator(i)},
		Environment: environment,
	}, attest.ResourceDescriptor{
		Name:   name,
		URI:    "pkg:oci/" + name + "@sha256:" + placeholder + "?arch=amd64&repository_url=docker.io%2Fstagex%2F" + name,
		Digest: digest,
	})
	if err != nil {
		return nil, fmt.Errorf("making a statement: %w", err)
	}
	return json.Marshal(st)
}

func operator(i int) string { return fmt.Sprintf("https://operator-%d.example/", i) }

// make returns an attestation that was never made before.
func (w *workshop) make() ([]byte, error) {
	n := w.made.Add(1)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(w.seed[:], n))
	i := int(n % uint64(len(w.signers)))
	payload := bytes.ReplaceAll(w.payloads[i], []byte(placeholder), hex.AppendEncode(nil, sum[:]))
	return w.signers[i].SignPayload(attest.TypeStatement, payload)
}

// prepare makes n attestations on all cores, and frames each as a request.
func (w *workshop) prepare(ctx context.Context, n int, frame func(envelope []byte) request) ([]request, error) {
	requests := make([]request, n)
	err := onAllCores(ctx, n, func(i int) error {
		env, err := w.make()
		if err != nil {
			return fmt.Errorf("signing an attestation: %w", err)
		}
		requests[i] = frame(env)
		return nil
	})
	return requests, err
}

func (w *workshop) keyring() attest.Keyring {
	keys := make([]*attest.PublicKey, 0, len(w.signers))
	for _, s := range w.signers {
		keys = append(keys, s.Public)
	}
	return attest.NewKeyring(keys...)
}

// onAllCores calls f for 0 to n-1, and returns the first error.
func onAllCores(ctx context.Context, n int, f func(i int) error) error {
	var next atomic.Int64
	var once sync.Once
	var failed error
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = f(i)
				}
				if err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}
