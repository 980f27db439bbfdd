package cli

import (
	"time"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/rekor"
)

// rekorView is an imported entry of a Rekor log, verified here.
type rekorView struct {
	Log      string `json:"log,omitempty"` // URL, as the importer says
	LogID    string `json:"logID,omitempty"`
	UUID     string `json:"uuid,omitempty"`
	LogIndex int64  `json:"logIndex,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Time     string `json:"integratedTime,omitempty"`
	// Proven says that the key with the log's id, which is in the statement, proves
	// the entry; Problem otherwise why it does not.
	Proven  bool   `json:"proven"`
	Problem string `json:"problem,omitempty"`
}

// viewRekor returns nil for statements about anything else.
func viewRekor(st *attest.Statement) *rekorView {
	if st == nil || st.PredicateType != rekor.PredicateEntry {
		return nil
	}
	e, err := rekor.FromStatement(st)
	if err != nil {
		return &rekorView{Problem: err.Error()}
	}
	kind, err := e.Kind()
	if err != nil {
		return &rekorView{Problem: err.Error()}
	}
	return &rekorView{
		Log: e.Log, LogID: e.LogID, UUID: e.UUID, LogIndex: e.LogIndex, Kind: kind,
		Time: time.Unix(e.IntegratedTime, 0).UTC().Format(time.RFC3339), Proven: true,
	}
}

func (v *rekorView) text(p term.Printer) {
	if !v.Proven {
		field(p, "rekor", "%s: %s", p.Paint(term.Bad, "not proven"), v.Problem)
		return
	}
	field(p, "rekor", "entry %d, %s, logged %s", v.LogIndex, v.Kind, v.Time)
	field(p, "", "of %s (claimed)", v.Log)
	field(p, "", "%s by the log with the key sha256:%s: compare it", p.Paint(term.Good, "proven"), v.LogID)
}
