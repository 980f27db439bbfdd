package audit_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
)

// people are the authors of a small log of their own.
type people struct {
	*testing.T
	log     *audittest.Log
	authors map[string]*audittest.Author
	n       int
}

func newPeople(t *testing.T) *people {
	t.Helper()
	log, err := audittest.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &people{T: t, log: log, authors: make(map[string]*audittest.Author)}
}

func (p *people) author(name string) *audittest.Author {
	p.Helper()
	if p.authors[name] == nil {
		a, err := audittest.NewAuthor()
		if err != nil {
			p.Fatal(err)
		}
		p.authors[name] = a
	}
	return p.authors[name]
}

// log logs what somebody does: "enrols", "attests", or "endorses", "withdraws" and
// "revokes" somebody.
func (p *people) logs(acts ...[3]string) {
	p.Helper()
	for _, act := range acts {
		by, whom := p.author(act[0]), p.author(act[2])
		p.n++
		var e audittest.Entry
		var err error
		switch act[1] {
		case "enrols":
			e, err = by.Enrolment("https://" + act[0] + ".example/")
		case "endorses":
			e, err = by.Endorsement(whom, fmt.Sprintf("https://%s.example/%d", act[2], p.n))
		case "withdraws":
			e, err = by.Withdrawal(whom)
		case "revokes":
			e, err = by.Revocation("")
		case "attests":
			e, err = by.Reproduction(p.n)
		}
		if err == nil {
			err = p.log.Add(p.Context(), e)
		}
		if err != nil {
			p.Fatal(err)
		}
	}
	if err := p.log.Publish(p.Context()); err != nil {
		p.Fatal(err)
	}
}

// audit audits the log as it is now, and wants findings of these kinds.
func (p *people) audit(o audit.Options, want ...string) {
	p.Helper()
	o.Policy = p.log.Policy
	r := run(p.T, open(p.T, p.log.Dir), o)
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Kind)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		p.Errorf("findings %v, want %v\n%+v", got, want, r.Findings)
	}
}

// good is a log of endorsements as a ledger takes them, in two parts.
var good = [2][][3]string{
	{
		{"a", "enrols"}, {"b", "enrols"}, {"a", "endorses", "k"}, {"k", "attests"}, {"b", "endorses", "k"},
		{"a", "withdraws", "k"}, {"k", "attests"}, {"a", "endorses", "l"}, {"a", "endorses", "m"}, {"b", "endorses", "m"}, {"l", "attests"},
	}, {
		{"b", "withdraws", "k"}, {"k", "enrols"}, {"k", "attests"}, {"l", "attests"}, {"a", "withdraws", "m"}, {"m", "attests"},
		{"l", "revokes"}, {"a", "revokes"}, {"m", "attests"}, {"k", "endorses", "n"},
	},
}

func TestEndorsements(t *testing.T) {
	p := newPeople(t)
	state := filepath.Join(t.TempDir(), "state")
	for _, part := range good {
		p.logs(part...)
		p.audit(audit.Options{State: state}) // goes on from the part before
		p.audit(audit.Options{})
		p.audit(audit.Options{NoSignatures: true})
	}
}

func TestEndorsementsThatShouldNotBeLogged(t *testing.T) {
	for _, test := range []struct {
		name string
		bad  [][3]string
		want []string
	}{
		{"by a key that is not known", [][3]string{{"x", "endorses", "k"}}, []string{"attestation-refused"}},
		{"by a key that was endorsed", [][3]string{{"a", "endorses", "k"}, {"k", "endorses", "x"}}, []string{"key-unauthorised"}},
		{"of a key that it would have brought", [][3]string{{"a", "endorses", "k"}, {"k", "endorses", "x"}, {"x", "attests"}},
			[]string{"attestation-refused", "key-unauthorised"}},
		{"after the withdrawal", [][3]string{{"a", "endorses", "k"}, {"a", "withdraws", "k"}, {"k", "attests"}}, []string{"key-revoked"}},
		{"a withdrawal by who did not endorse", [][3]string{{"a", "endorses", "k"}, {"b", "withdraws", "k"}, {"k", "attests"}}, []string{"key-unauthorised"}},
		{"a withdrawal of a key that enrolled itself", [][3]string{{"a", "endorses", "k"}, {"k", "enrols"}, {"a", "withdraws", "k"}, {"k", "attests"}},
			[]string{"key-unauthorised"}},
		{"of a key that revoked itself", [][3]string{{"a", "endorses", "k"}, {"k", "revokes"}, {"b", "endorses", "k"}}, []string{"key-unauthorised"}},
		{"by a key that revoked itself", [][3]string{{"a", "revokes"}, {"a", "endorses", "k"}}, []string{"key-revoked"}},
		{"before it", [][3]string{{"k", "attests"}, {"a", "endorses", "k"}}, []string{"attestation-refused"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeople(t)
			p.logs([3]string{"a", "enrols"}, [3]string{"b", "enrols"})
			p.logs(test.bad...)
			p.audit(audit.Options{}, test.want...)
		})
	}
}

func TestDamagedEndorsements(t *testing.T) {
	for name, test := range map[string]struct {
		db, statement string
		want          []string
	}{
		"a row that is gone":   {"index.db", "DELETE FROM endorsements WHERE idx = 4", []string{"index-row-missing"}},
		"a row of another":     {"index.db", "UPDATE endorsements SET idx = 5 WHERE idx = 4", []string{"index-row-differs"}},
		"another operator":     {"index.db", "UPDATE endorsements SET operator = 'https://mallory.example' WHERE idx = 4", []string{"index-row-differs"}},
		"another endorser":     {"index.db", "UPDATE keys SET endorser = '' WHERE endorser != '' AND enrolled = 4", []string{"index-row-differs"}},
		"a withdrawal":         {"index.db", "UPDATE keys SET withdrawn = 1 WHERE enrolled = 4", []string{"index-row-differs"}},
		"when it changed last": {"index.db", "UPDATE keys SET changed = 2 WHERE enrolled = 4", []string{"index-row-differs"}},
		"lost endorsements": {"blobs.db", "DELETE FROM blobs WHERE CAST(bytes AS TEXT) LIKE '%vnd.cairn.endorse%'",
			[]string{"attestation-missing", "attestation-missing", "attestation-missing", "attestation-missing", "attestation-missing",
				"attestation-unchecked", "attestation-unchecked", "attestation-unchecked"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t)
			p.logs(good[0]...)
			if err := p.log.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", filepath.Join(p.log.Dir, test.db))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			r, err := db.Exec(test.statement)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := r.RowsAffected(); n == 0 {
				t.Fatal("nothing changed")
			}
			p.audit(audit.Options{}, test.want...)
		})
	}
}
