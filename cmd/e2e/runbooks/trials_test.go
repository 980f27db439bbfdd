package runbooks

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
)

// trial runs the commands of a section on an installation in the state that the section
// is for, and checks what comes of it.
type trial struct {
	one     func(m *machine)
	several func(i *installation)
	after   func(m *machine) // checks what comes of it, on a machine that is used for nothing else
}

// trials are those of the document, by the titles of the sections.
var trials = map[string]trial{
	"Back up one machine":            {one: func(m *machine) { m.runUnderLoad("Back up one machine") }},
	"Move one machine":               {one: asItIs},
	"An older copy of one machine":   {one: backedUp},
	"Damaged files of one machine":   {one: damagedMachine},
	"The index of one machine":       {one: func(m *machine) { m.stop(); m.damage(m.data + "/index.db") }},
	"Change a witness":               {one: anotherWitness},
	"Change a worker's token":        {one: func(m *machine) { m.env["FILE"] = m.path("tokens") }},
	"Upgrade one machine":            {one: asItIs},
	"End a log":                      {one: func(m *machine) { m.env["ORIGIN"] = "one.example/next" }, after: ended},
	"A fork was found":               {one: evidence, after: func(m *machine) { m.exists(m.path("backup/evidence/signed.rollback-7")) }},
	"The disk is full":               {one: func(m *machine) { m.kill() }},
	"Too few witnesses":              {one: asItIs},
	"Alerts":                         {one: asItIs},
	"Back up front ends":             {several: asTheyAre},
	"Restore the database":           {several: asTheyAre},
	"An older copy of the database":  {several: dumped},
	"Trillian has an older copy":     {several: olderTrillian},
	"Trillian lost its database":     {several: lostTrillian},
	"Tiles are lost or damaged":      {several: damagedBucket},
	"The bucket is lost":             {several: lostBucket},
	"Change the database's password": {several: asTheyAre},
	"The index of front ends":        {several: asTheyAre},
	"Upgrade front ends":             {several: asTheyAre},
}

func asItIs(*machine) {}

func asTheyAre(*installation) {}

const bundle = "tile/entries/000"

func (w *world) exists(path string) {
	w.t.Helper()
	if _, err := os.Stat(path); err != nil {
		w.t.Error(err)
	}
}

func damagedMachine(m *machine) {
	backedUp(m)
	m.damage(filepath.Join(m.data, "log", bundle))
	m.env["FILE"] = bundle
}

func anotherWitness(m *machine) {
	m.env["FILE"] = m.path("policy.next")
	m.write(m.env["FILE"], fmt.Sprintf("log %s\n%s%sgroup enough 1 w1 w2\nquorum enough\n", m.vkey, m.witness, m.newWitness("w2")))
}

func evidence(m *machine) {
	m.mustCairn("log", "mirror", m.env["LEDGER"], m.path("backup/mirror"))
	m.env["FILE"] = m.path("cairn/signed.rollback-7")
	m.write(m.env["FILE"], "a checkpoint\n")
}

// ended wants the log to be as it was for those who verify, and its ledger not to
// start.
func ended(m *machine) {
	m.refused(reason.ExitUsage, "ledger.key")
	m.verifies()
	m.exists(m.path("backup/next.key"))
	m.data = m.path("backup/final")
	m.audited()
}

// TestRunbooks runs the commands of each section about one machine, all on the same one
// but for those that end a log.
func TestRunbooks(t *testing.T) {
	shared := newMachine(t)
	for _, s := range sections(t) {
		try := trials[s.title]
		if try.one == nil {
			continue
		}
		t.Logf("section %q", s.title)
		if try.after != nil {
			m := newMachine(t)
			try.one(m)
			m.run(s.title)
			try.after(m)
			continue
		}
		try.one(shared)
		shared.run(s.title)
		shared.lives()
	}
}
