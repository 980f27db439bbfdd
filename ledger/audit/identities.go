package audit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// identities finds entries of the same identity in bounded memory: eight bytes
// of each identity are kept in a file, at the place of its entry, and compared
// at the end, a part of them at a time. What is equal there is read again.
type identities struct {
	f    *os.File
	w    *bufio.Writer
	temp bool
	n    uint64
}

const (
	shortIdentity = 8
	// identityPart is about how many are compared at a time: 16 bytes each.
	identityPart = 1 << 20
	// noIdentity stands for an entry that is lost.
	noIdentity = 0
)

// identitiesPath is the file that belongs to a state.
func identitiesPath(state string) string { return state + ".identities" }

// openIdentities opens the file of a state, which must have n identities, or a
// temporary one.
func openIdentities(state string, n uint64) (*identities, error) {
	var ids identities
	var err error
	if ids.temp = state == ""; ids.temp {
		ids.f, err = os.CreateTemp("", "cairn-audit-")
	} else {
		ids.f, err = os.OpenFile(identitiesPath(state), os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the file of identities: %w", err)
	}
	if ids.temp {
		_ = os.Remove(ids.f.Name()) // it lives until it is closed
	}
	// What an interrupted run added is not part of the state.
	at := int64(n * shortIdentity)
	if err = ids.f.Truncate(at); err == nil {
		_, err = ids.f.Seek(at, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the file of identities: %w", err), ids.f.Close())
	}
	ids.w, ids.n = bufio.NewWriterSize(ids.f, 1<<16), n
	return &ids, nil
}

// add adds a batch's identities.
func (ids *identities) add(b *batch) error {
	var short [shortIdentity]byte
	for _, l := range b.leaves {
		clear(short[:])
		if l != nil {
			id := l.Identity()
			copy(short[:], id[:])
		}
		if _, err := ids.w.Write(short[:]); err != nil {
			return fmt.Errorf("writing the file of identities: %w", err)
		}
	}
	ids.n += uint64(len(b.leaves))
	return nil
}

func (ids *identities) close() error {
	return errors.Join(ids.w.Flush(), ids.f.Close())
}

// equal calls found with the places of identities that may be equal, all of one
// at a time.
func (ids *identities) equal(found func(indexes []uint64) error) error {
	if err := ids.w.Flush(); err != nil {
		return err
	}
	parts := ids.n/identityPart + 1
	for part := range parts {
		if err := ids.equalIn(part, parts, found); err != nil {
			return fmt.Errorf("comparing identities: %w", err)
		}
	}
	return nil
}

func (ids *identities) equalIn(part, parts uint64, found func([]uint64) error) error {
	type place struct{ short, index uint64 }
	var places []place
	r := bufio.NewReaderSize(io.NewSectionReader(ids.f, 0, int64(ids.n*shortIdentity)), 1<<16)
	var short [shortIdentity]byte
	for i := range ids.n {
		if _, err := io.ReadFull(r, short[:]); err != nil {
			return err
		}
		if v := binary.BigEndian.Uint64(short[:]); v%parts == part && v != noIdentity {
			places = append(places, place{v, i})
		}
	}
	slices.SortFunc(places, func(x, y place) int { return cmp.Or(cmp.Compare(x.short, y.short), cmp.Compare(x.index, y.index)) })
	for i := 0; i < len(places); {
		j := i + 1
		for j < len(places) && places[j].short == places[i].short {
			j++
		}
		if j > i+1 {
			var same []uint64
			for _, p := range places[i:j] {
				same = append(same, p.index)
			}
			if err := found(same); err != nil {
				return err
			}
		}
		i = j
	}
	return nil
}

// checkRepeats finds entries of the same attestation.
func (a *auditor) checkRepeats(ctx context.Context) error {
	return a.ids.equal(func(indexes []uint64) error {
		first := make(map[[32]byte]uint64)
		for _, i := range indexes {
			l, _, err := a.leafAt(ctx, i)
			if err != nil {
				return err
			}
			if l == nil {
				continue
			}
			if j, ok := first[l.Identity()]; ok {
				a.find(Corrupt, "entry-repeated", entry(i), "it is the same attestation as entry %d", j)
				continue
			}
			first[l.Identity()] = i
		}
		return ctx.Err()
	})
}

// leafAt reads an entry again, and returns nil if it cannot.
func (a *auditor) leafAt(ctx context.Context, i uint64) (*leaf.Leaf, []byte, error) {
	n := i / engine.TileWidth
	data, _, err := a.readGrown(ctx, -1, n, engine.TileWidthAt(0, n, a.end.N()), maxBundle)
	if _, damaged := damageOf(err); damaged || isMissing(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var text []byte
	for range i%engine.TileWidth + 1 {
		if text, data, err = torchwood.ReadTileEntry(data); err != nil {
			return nil, nil, nil
		}
	}
	l, err := leaf.Parse(text)
	if err != nil {
		return nil, nil, nil
	}
	return l, text, nil
}
