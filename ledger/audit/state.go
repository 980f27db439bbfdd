package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/internal/durable"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
)

const (
	stateSchema = "cairn/audit-state/v2"
	// maxState bounds a state: mostly the keys, of about 500 bytes.
	maxState = 256 << 20
)

// state is how far clean audits of a log came. It is trusted: whoever can write
// it can hide damage.
type state struct {
	Schema string `json:"schema"`
	Origin string `json:"origin"`
	// Note is the audited checkpoint, of a tree of Size entries.
	Note string `json:"note"`
	Size uint64 `json:"size"`
	// Aligned is the compact range of the full bundles below Size.
	Aligned    [][]byte         `json:"aligned"`
	Archive    position         `json:"archive"`
	Last       string           `json:"last"` // the last note of the archive that counts
	Times      map[string]int64 `json:"times"`
	Keys       []stateKey       `json:"keys"`
	Endorsed   []stateEndorsed  `json:"endorsed"`
	Terms      uint64           `json:"terms"` // rows of the query index
	Signatures bool             `json:"signatures"`
	// Unasked is how many certificates nobody asked the issuer of.
	Unasked uint64      `json:"unasked,omitempty"`
	Policy  leaf.Digest `json:"policy"`
}

type stateKey struct {
	PEM       string           `json:"pem"`
	Operator  string           `json:"operator"`
	URL       string           `json:"url,omitempty"`
	Enrolled  uint64           `json:"enrolled"`
	Endorser  leaf.Fingerprint `json:"endorser,omitempty"`
	Revoked   *uint64          `json:"revoked,omitempty"`
	Withdrawn bool             `json:"withdrawn,omitempty"`
	Changed   uint64           `json:"changed"`
}

type stateEndorsed struct {
	Key      leaf.Fingerprint `json:"key"`
	Endorser leaf.Fingerprint `json:"endorser"`
	Index    uint64           `json:"index"`
	Operator string           `json:"operator"`
	URL      string           `json:"url,omitempty"`
}

// parseState reads a state. It accepts one text of each.
func parseState(text []byte) (*state, error) {
	var version struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(text, &version); err == nil && version.Schema != stateSchema {
		return nil, fmt.Errorf("it has schema %.40q, and this program writes %q: remove it, and all is audited again", version.Schema, stateSchema)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var s state
	if err := d.Decode(&s); err != nil {
		return nil, err
	}
	if again, err := s.marshal(); err != nil || !bytes.Equal(again, text) {
		return nil, errors.New("it is not as an audit writes it")
	}
	ones := 0
	for full := s.Size / engine.TileWidth; full > 0; full &= full - 1 {
		ones++
	}
	tooLong := func(h []byte) bool { return len(h) != hashSize }
	switch {
	case s.Origin == "" || s.Note == "":
		return nil, errors.New("it names no log")
	case len(s.Aligned) != ones || slices.ContainsFunc(s.Aligned, tooLong):
		return nil, errors.New("its hashes are not those of its size")
	case s.Archive.Notes < 0:
		return nil, errors.New("its place in the archive is none")
	}
	return &s, nil
}

func (s *state) marshal() ([]byte, error) {
	b, err := json.Marshal(s)
	return append(b, '\n'), err
}

// loadState reads the state of an earlier run, or nil if there is none.
func loadState(path string) (*state, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err == nil && len(text) > maxState {
		err = fmt.Errorf("over the limit of %d bytes", maxState)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	s, err := parseState(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrState, path, err)
	}
	info, err := os.Stat(identitiesPath(path))
	if err != nil || uint64(info.Size()) < s.Size*shortIdentity {
		return nil, fmt.Errorf("%w: %s, which belongs to it, is missing or too short", ErrState, identitiesPath(path))
	}
	return s, nil
}

// resume sets the tree, the keys and the history up: as an earlier run left
// them, if there is one of this log, policy and kind. If the log contradicts the
// state, the audit begins at the first entry, and the state's checkpoint is
// compared too: that tells damage from a fork.
func (a *auditor) resume(ctx context.Context) error {
	a.tree = newTree(nil)
	s, err := loadState(a.o.State)
	if err != nil || s == nil {
		return err
	}
	switch {
	case s.Origin != a.end.origin:
		return fmt.Errorf("%w: it is of the log %q, and this is %q", ErrState, s.Origin, a.end.origin)
	case s.Policy != leaf.SHA256([]byte(a.o.Policy.String())):
		return fmt.Errorf("%w: it is of another policy", ErrState)
	case !s.Signatures && !a.o.NoSignatures:
		return fmt.Errorf("%w: it is of an audit without signatures", ErrState)
	case s.Unasked > 0 && a.o.Certificate != nil:
		return fmt.Errorf("%w: it is of an audit without a trusted root, and there are %d certificates", ErrState, s.Unasked)
	}
	note := a.verify.check("the checkpoint of the state", []byte(s.Note))
	if !usable(note) || note.N() != s.Size {
		return fmt.Errorf("%w: its checkpoint is not signed by a log of the policy, or is of another size", ErrState)
	}
	if s.Size > a.end.N() {
		a.add(Finding{Class: Fork, Kind: "checkpoint-shrank", Where: a.end.where,
			What:     fmt.Sprintf("size %d, but an earlier audit saw size %d", a.end.N(), s.Size),
			Evidence: []string{s.Note, string(a.end.signed)}})
		return nil
	}
	aligned := s.Size - s.Size%engine.TileWidth
	t := newTree(nil)
	err = t.restore(aligned, s.Aligned, func(level, index uint64, width int) ([]byte, error) {
		tile, _, err := a.readGrown(ctx, int(level), index, engine.TileWidthAt(level, index, a.end.N()), tileSize)
		if err == nil && len(tile) < width*hashSize {
			err = fmt.Errorf("%s is too short", tilePath(int(level), index, width))
		}
		return tile, err
	})
	if err != nil {
		a.contras = note
		return ctx.Err()
	}
	return a.adopt(t, s, note)
}

// adopt goes on from a state.
func (a *auditor) adopt(t *tree, s *state, note *checked) error {
	var list []keys.Key
	for _, k := range s.Keys {
		key, err := attest.ParsePublicKey([]byte(k.PEM))
		if err != nil {
			return fmt.Errorf("%w: a key of it: %w", ErrState, err)
		}
		list = append(list, keys.Key{
			Fingerprint: key.Fingerprint, PEM: k.PEM, Operator: k.Operator, URL: k.URL,
			Enrolled: k.Enrolled, Endorser: k.Endorser, Revoked: k.Revoked, Withdrawn: k.Withdrawn, Changed: k.Changed,
		})
	}
	var standing []keys.Endorsement
	for _, e := range s.Endorsed {
		standing = append(standing, keys.Endorsement(e))
	}
	if err := a.ring.Reset(s.Size, list, standing); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if s.Last != "" {
		if last := a.verify.check("the last checkpoint of the state", []byte(s.Last)); usable(last) {
			a.past.last = last
		}
	}
	for name, t := range s.Times {
		a.past.times[name] = t
	}
	a.tree, a.cursor, a.contras, a.aligned = t, s, note, s.Aligned
	a.past.position, a.past.resumeAt = s.Archive, s.Archive
	a.unasked.Store(s.Unasked)
	a.report.Resumed, a.report.From = true, s.Size
	return nil
}

// saveState writes what a later run goes on from, if nothing was found.
func (a *auditor) saveState() error {
	if a.o.State == "" || a.findings.count() > 0 {
		return nil
	}
	s := &state{
		Schema: stateSchema, Origin: a.end.origin, Note: string(a.end.signed), Size: a.end.N(), Aligned: a.aligned,
		Archive: a.past.resumeAt, Times: a.past.times, Signatures: !a.o.NoSignatures, Unasked: a.unasked.Load(),
		Policy: leaf.SHA256([]byte(a.o.Policy.String())), Keys: []stateKey{}, Endorsed: []stateEndorsed{},
	}
	if s.Aligned == nil {
		s.Aligned = [][]byte{}
	}
	if a.terms != nil {
		s.Terms = a.terms.total
	}
	if last := a.past.last; last != nil && last.N() <= a.end.N() {
		s.Last = string(last.signed)
	}
	list, standing := a.ring.Snapshot()
	for _, k := range list {
		s.Keys = append(s.Keys, stateKey{k.PEM, k.Operator, k.URL, k.Enrolled, k.Endorser, k.Revoked, k.Withdrawn, k.Changed})
	}
	for _, e := range standing {
		s.Endorsed = append(s.Endorsed, stateEndorsed(e))
	}
	text, err := s.marshal()
	if err == nil {
		err = a.ids.w.Flush()
	}
	if err == nil {
		err = a.ids.f.Sync()
	}
	if err == nil {
		err = durable.WriteFile(a.o.State, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the state %s: %w", a.o.State, err)
	}
	return nil
}
