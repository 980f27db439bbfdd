package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// collector keeps the distinct checkpoints that answers carry. There are as
// many as the ledger publishes, some tens a second, so all of them are kept
// until the load ends.
type collector struct {
	mu    sync.Mutex
	seen  map[string]bool
	times int
}

// see takes the checkpoint of one answer.
func (c *collector) see(resp *cairnv1.SubmitAttestationResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times++
	c.seen[resp.GetCheckpoint()] = true
}

// savedCheckpoint is one line of the file.
type savedCheckpoint struct {
	Size       int64  `json:"size"`
	Root       []byte `json:"root"` // in base64
	Checkpoint string `json:"checkpoint"`
}

// saveCheckpoints makes one run, and saves the checkpoints of its answers.
func (b *bencher) saveCheckpoints(ctx context.Context) error {
	c := &collector{seen: make(map[string]bool)}
	b.out.header()
	if err := b.submit(ctx, b.transports[0], b.concurrency[0], c.see); err != nil {
		return fmt.Errorf("submitting: %w", err)
	}
	if b.out.results[0].Failed > 0 {
		return errors.New("some submissions failed, so the log has not as many entries as were asked for")
	}
	all, err := b.ledger.readCheckpoints(slices.Collect(maps.Keys(c.seen)))
	if err != nil {
		return err
	}
	kept := spread(all, b.maxKept)
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines) // ends each value with a newline
	for _, s := range kept {
		if err := enc.Encode(s); err != nil {
			return fmt.Errorf("encoding a checkpoint: %w", err)
		}
	}
	if err := os.WriteFile(b.checkpoints, lines.Bytes(), 0o644); err != nil {
		return fmt.Errorf("saving checkpoints: %w", err)
	}
	b.out.printf("saved %d of %d checkpoints in %d answers, sizes %d to %d, to %s",
		len(kept), len(all), c.times, kept[0].Size, kept[len(kept)-1].Size, b.checkpoints)
	return nil
}

// readCheckpoints checks signed checkpoints, and returns them by size. Two of
// one size with different roots are a fork.
func (l *ledger) readCheckpoints(signed []string) ([]savedCheckpoint, error) {
	var all []savedCheckpoint
	for _, s := range signed {
		c, err := l.openCheckpoint(s)
		if err != nil {
			return nil, err
		}
		all = append(all, savedCheckpoint{Size: c.N, Root: c.Hash[:], Checkpoint: s})
	}
	if len(all) == 0 {
		return nil, errors.New("no answer had a checkpoint")
	}
	slices.SortFunc(all, func(a, b savedCheckpoint) int { return int(a.Size - b.Size) })
	for i := 1; i < len(all); i++ {
		if all[i-1].Size == all[i].Size && !bytes.Equal(all[i-1].Root, all[i].Root) {
			return nil, fmt.Errorf("%w: two checkpoints of size %d have different roots", errWrong, all[i].Size)
		}
	}
	return all, nil
}

// spread returns at most most of list, evenly spread, with the first and the
// last. most is at least 2.
func spread[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	kept := make([]T, 0, most)
	for i := range most {
		kept = append(kept, list[i*(len(list)-1)/(most-1)])
	}
	return kept
}
