package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// withheldPath is the file that says which attestations no source held yet. It
// has a line for each, by index:
//
//	<index> <envelope, 64 hex>
//
// Lines of entries from which on copying goes on do not count: these are looked
// at again.
const withheldPath = indexDir + "/withheld"

// maxWithheld bounds that file: it has 80 bytes for an entry.
const maxWithheld = 1 << 30

// wanted is an attestation to copy.
type wanted struct {
	index    uint64
	envelope leaf.Digest
}

func marshalWithheld(list []wanted) []byte {
	var b []byte
	for _, w := range list {
		b = strconv.AppendUint(b, w.index, 10)
		b = append(b, ' ')
		b = append(b, w.envelope.Hex()...)
		b = append(b, '\n')
	}
	return b
}

func parseWithheld(b []byte) ([]wanted, error) {
	var list []wanted
	for line := range bytes.Lines(b) {
		number, hash, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		index, nerr := strconv.ParseUint(number, 10, 63)
		envelope, derr := leaf.ParseDigest("sha256:" + hash)
		if nerr != nil || derr != nil || len(list) > 0 && list[len(list)-1].index >= index {
			return nil, fmt.Errorf("invalid or misplaced line %.100q", line)
		}
		list = append(list, wanted{index, envelope})
	}
	if !bytes.Equal(marshalWithheld(list), b) {
		return nil, errors.New("it is not written as it is here")
	}
	return list, nil
}

// readWithheld reads which attestations the copy lacks, of entries before an
// index. Those of the others are looked at again.
func (c *copier) readWithheld(ctx context.Context, before int64) error {
	b, err := c.local.Read(ctx, withheldPath, maxWithheld)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := parseWithheld(b)
	if err != nil {
		return fmt.Errorf("reading %s: %w", withheldPath, err)
	}
	c.lackedBefore = make(map[uint64]bool, len(list))
	for _, w := range list {
		c.lackedBefore[w.index] = true
		if w.index < uint64(max(before, 0)) {
			c.withheld = append(c.withheld, w)
		}
	}
	c.early = len(c.withheld)
	return nil
}

// saveWithheld has the batch say which attestations the copy lacks.
func (c *copier) saveWithheld() error {
	if len(c.withheld) == 0 && len(c.lackedBefore) == 0 {
		return nil
	}
	return c.batch.Put(withheldPath, marshalWithheld(c.withheld))
}

// askAgain asks for the attestations that no source held when their entries were
// copied.
func (c *copier) askAgain(ctx context.Context) error {
	early, late := c.withheld[:c.early:c.early], c.withheld[c.early:]
	var still []wanted
	for len(early) > 0 {
		n := min(len(early), batchEntries)
		missing, err := c.attestations(ctx, early[:n])
		if err != nil {
			return err
		}
		still, early = append(still, missing...), early[n:]
		if err := c.batch.Commit(); err != nil {
			return err
		}
	}
	if c.report.Recovered == 0 {
		return nil
	}
	c.withheld = append(still, late...)
	if err := c.saveWithheld(); err != nil {
		return err
	}
	return c.batch.Commit()
}
