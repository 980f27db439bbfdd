package distributed

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/client"
)

// lease is the default of the configuration.
const lease = 3 * time.Second

// fault is something that happens to a log under load. strike does it, and returns
// when it was done, and how it is undone.
type fault struct {
	name   string
	strike func(*real) (at time.Time, undo func())
}

var faults = slices.Concat([]fault{
	{"kill -9 of a front end that follows", func(r *real) (time.Time, func()) { return r.killed(others(three, r.Leader())[rand.IntN(2)]) }},
	{"kill -9 of the publisher", func(r *real) (time.Time, func()) { return r.killed(r.Leader()) }},
	{"SIGSTOP of the publisher, for less than its lease", func(r *real) (time.Time, func()) {
		return r.paused(r.Leader(), lease/6+rand.N(lease/2), false)
	}},
	{"SIGSTOP of a front end that follows", func(r *real) (time.Time, func()) {
		return r.paused(others(three, r.Leader())[rand.IntN(2)], lease+rand.N(lease), false)
	}},
	{"SIGSTOP of the publisher, for 30 s", func(r *real) (time.Time, func()) { return r.paused(r.Leader(), 30*time.Second, true) }},
	{"restart of PostgreSQL", func(r *real) (time.Time, func()) { return r.restarted((*real).stopDatabase) }},
	{"kill -9 of PostgreSQL", func(r *real) (time.Time, func()) { return r.restarted((*real).killDatabase) }},
	{"kill -9 of Trillian's first log server", func(r *real) (time.Time, func()) { return r.peerKilled(r.peers.Servers[0]) }},
	{"kill -9 of Trillian's second log server", func(r *real) (time.Time, func()) { return r.peerKilled(r.peers.Servers[1]) }},
	{"kill -9 of Trillian's first signer", func(r *real) (time.Time, func()) { return r.peerKilled(r.peers.Signers[0]) }},
	{"kill -9 of Trillian's second signer", func(r *real) (time.Time, func()) { return r.peerKilled(r.peers.Signers[1]) }},
	{"SIGSTOP of Trillian's first signer", func(r *real) (time.Time, func()) { return r.peerPaused(r.peers.Signers[0]) }},
	{"SIGSTOP of Trillian's first signer while it stores a root", func(r *real) (time.Time, func()) {
		defer r.await(r.peersDB, "treehead")()
		return r.peerPaused(r.peers.Signers[0])
	}},
	{"kill -9 of a witness", func(r *real) (time.Time, func()) {
		w, at := r.witnesses[rand.IntN(3)], time.Now()
		w.Kill(r.t)
		return at, func() { w.start(r.t) }
	}},
}, midSignature(stateStored), midSignature(noteSigned), midSignature(noteArchived))

// point is a place in a publication at which the publisher can be met.
type point struct {
	name  string
	table string // whose row is written, but not committed; else, a witness is asked
}

var (
	stateStored  = point{"while the signer's state is stored", "signer"}
	noteSigned   = point{"having signed, before a witness has it", ""}
	noteArchived = point{"while its checkpoint is archived", "checkpoints"}
)

// midSignature is what can happen to a publisher at a point of a publication.
func midSignature(p point) []fault {
	return []fault{
		{"kill -9 of the publisher " + p.name, func(r *real) (time.Time, func()) {
			leader, at := r.meet(p, syscall.SIGKILL)
			r.Front(leader).Wait(r.t)
			return at, func() { r.start(leader) }
		}},
		{"SIGSTOP of the publisher " + p.name, func(r *real) (time.Time, func()) {
			leader, at := r.meet(p, syscall.SIGSTOP)
			return at, r.wake(leader, lease+rand.N(2*lease), true)
		}},
	}
}

// hold has a transaction that writes to one of the tables wait while its lock is held
// by somebody else.
const hold = `CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(hashtext(TG_TABLE_NAME)); RETURN NULL; END $$;`

func holding(event, table string) string {
	return "CREATE TRIGGER held AFTER " + event + " ON " + table + " FOR EACH ROW EXECUTE FUNCTION held();"
}

// holdable makes the tables so.
func (r *real) holdable() {
	r.t.Helper()
	for database, statements := range map[string]string{
		r.Database: hold + holding("UPDATE", "signer") + holding("INSERT", "checkpoints"),
		r.peersDB:  hold + holding("INSERT", "treehead"),
	} {
		conn, closed := r.connect(database)
		r.exec(conn, statements)
		closed()
	}
}

func (r *real) exec(conn *pgx.Conn, statement string, args ...any) {
	r.t.Helper()
	if _, err := conn.Exec(r.t.Context(), statement, args...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) connect(database string) (conn *pgx.Conn, closed func()) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), database)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, func() { _ = conn.Close(context.Background()) }
}

// meet signals the publisher at a point. What the database was asked to do it does
// then, and the witness is asked all the same.
func (r *real) meet(p point, sig syscall.Signal) (leader string, at time.Time) {
	r.t.Helper()
	if p.table == "" {
		reached, signalled := make(chan struct{}), make(chan struct{})
		asked := func() {
			close(reached)
			<-signalled
		}
		defer close(signalled)
		r.witnesses[rand.IntN(3)].asked.Store(&asked)
		select {
		case <-reached:
		case <-time.After(e2etest.Patience):
			r.t.Fatal("the witness is not asked")
		}
		return r.signalled(sig)
	}
	closed := r.await(r.Database, p.table)
	defer closed()
	return r.signalled(sig)
}

// await waits until something is written to a table, and has that wait until closed
// is called.
func (r *real) await(database, table string) (closed func()) {
	r.t.Helper()
	conn, closed := r.connect(database)
	r.exec(conn, "SELECT pg_advisory_lock(hashtext($1))", table)
	for deadline := time.Now().Add(e2etest.Patience); ; {
		var waiting bool
		err := conn.QueryRow(r.t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)").Scan(&waiting)
		if err != nil || time.Now().After(deadline) {
			closed()
			r.t.Fatalf("nothing writes to table %s: %v", table, err)
		}
		if waiting {
			return closed // the lock ends with the connection
		}
	}
}

func (r *real) signalled(sig syscall.Signal) (leader string, at time.Time) {
	r.t.Helper()
	leader, at = r.Leader(), time.Now()
	if sig == syscall.SIGSTOP {
		r.Pause(leader)
	} else {
		r.Front(leader).Signal(r.t, sig)
	}
	return leader, at
}

func (r *real) killed(front string) (time.Time, func()) {
	at := time.Now()
	r.Kill(front)
	return at, func() { r.start(front) }
}

func (r *real) peerKilled(p *e2etest.Process) (time.Time, func()) {
	at := time.Now()
	p.Kill(r.t)
	return at, func() { r.peers.Again(r.t, p) }
}

func (r *real) peerPaused(p *e2etest.Process) (time.Time, func()) {
	at := time.Now()
	p.Signal(r.t, syscall.SIGSTOP)
	return at, func() { p.Signal(r.t, syscall.SIGCONT) }
}

func (r *real) paused(front string, d time.Duration, replaced bool) (time.Time, func()) {
	at := time.Now()
	r.Pause(front)
	return at, r.wake(front, d, replaced)
}

const stepsDown = "this process publishes no more"

// wake returns what lets a front end go on that was just paused, after some time. If
// another has replaced it, it must step down.
func (r *real) wake(front string, d time.Duration, replaced bool) func() {
	over, terms := time.After(d), strings.Count(r.Front(front).Stderr.String(), stepsDown)
	return func() {
		if replaced {
			r.Leader(front)
		}
		<-over
		r.Resume(front)
		if replaced {
			r.Front(front).Stderr.AwaitN(r.t, stepsDown, terms+1)
		}
	}
}

func (r *real) stopDatabase() error { return r.database.Stop() }
func (r *real) killDatabase() error { return r.database.Kill() }

func (r *real) restarted(end func(*real) error) (time.Time, func()) {
	at := time.Now()
	if err := end(r); err != nil {
		r.t.Fatal(err)
	}
	if err := r.database.Restart(); err != nil {
		r.t.Fatal(err)
	}
	return at, func() {}
}

// probe submits something to the front ends that run, until it is published.
func (l *load) probe(n int) error {
	ctx, cancel := context.WithTimeout(l.r.t.Context(), e2etest.Patience)
	defer cancel()
	for i := n; ; i++ {
		front := three[i%len(three)]
		f := l.r.Front(front)
		if f.Paused() || f.Gone() {
			continue
		}
		_, err := l.r.submitIn(ctx, front, l.signers[0].about(-n), "published")
		if err == nil || !mayPass(err) || ctx.Err() != nil {
			return err
		}
		if err := client.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
