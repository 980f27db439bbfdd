package survey

// schemaVersion is that of the tables: those of another are made anew.
const schemaVersion = 2

const metaSchema = `
CREATE TABLE IF NOT EXISTS meta (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	origin  TEXT NOT NULL,
	policy  TEXT NOT NULL,
	version INTEGER NOT NULL,
	scanned INTEGER NOT NULL,
	changes INTEGER NOT NULL, -- of anything
	heard   INTEGER NOT NULL, -- changes by who is heard
	segment INTEGER NOT NULL, -- of the archive, where to go on
	offset  INTEGER NOT NULL
) STRICT`

// tables are all but meta.
var tables = []string{
	"tip", "keys", "artifacts", "reports", "aliases", "needs", "packages", "named", "claims", "statements", "words", "made", "materials",
	"environments", "machines", "days", "groups", "tallies", "places", "traits", "notes", "hours",
}

// Where somebody is heard, what others say is apart: it comes last in every list, and
// in no count. Where nobody is, nobody is apart. Entries are their index and one more
// where 0 is none.
const schema = `
CREATE TABLE tip (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	hash TEXT NOT NULL -- leaf hash of the last entry that was looked at
) STRICT;
CREATE TABLE keys (
	id           INTEGER PRIMARY KEY,
	key          TEXT NOT NULL UNIQUE,
	heard        INTEGER NOT NULL,
	operator     TEXT NOT NULL,
	said         INTEGER NOT NULL DEFAULT 0, -- artifacts that it has a word about; of each word:
	signed       INTEGER NOT NULL DEFAULT 0,
	inconclusive INTEGER NOT NULL DEFAULT 0,
	failed       INTEGER NOT NULL DEFAULT 0,
	obtained     INTEGER NOT NULL DEFAULT 0,
	different    INTEGER NOT NULL DEFAULT 0,
	agrees       INTEGER NOT NULL DEFAULT 0,
	disagrees    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX keys_by_said ON keys (heard DESC, said DESC, id);
CREATE TABLE artifacts (
	id       INTEGER PRIMARY KEY,
	digest   TEXT NOT NULL UNIQUE,
	label    TEXT NOT NULL,    -- in a signer's words
	labelled INTEGER NOT NULL, -- whether that is not apart
	heard    INTEGER NOT NULL, -- whether somebody who is heard says anything about it
	verdict  INTEGER NOT NULL,
	due      INTEGER NOT NULL,
	last     INTEGER NOT NULL, -- entry about it, apart only if all are
	said     INTEGER NOT NULL, -- keys that have a word about it
	obtained INTEGER NOT NULL, -- keys that are not apart and obtained it
	built    INTEGER NOT NULL, -- whether anybody claims to have built it
	stage0   INTEGER NOT NULL
) STRICT;
CREATE INDEX artifacts_by_due ON artifacts (due) WHERE heard = 1;
CREATE TABLE reports (
	artifact INTEGER PRIMARY KEY,
	report   TEXT NOT NULL
) STRICT;
CREATE TABLE aliases (
	digest   TEXT NOT NULL,
	apart    INTEGER NOT NULL,
	artifact INTEGER NOT NULL,
	PRIMARY KEY (digest, apart, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_artifact ON aliases (artifact, apart);
CREATE TABLE needs (
	digest   INTEGER NOT NULL, -- the first bytes of it: of two that begin alike, both make due
	artifact INTEGER NOT NULL,
	PRIMARY KEY (digest, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX needs_by_artifact ON needs (artifact);
CREATE TABLE packages (
	id           INTEGER PRIMARY KEY,
	name         TEXT NOT NULL UNIQUE,
	short        TEXT NOT NULL, -- the name within the package URL
	distribution TEXT NOT NULL, -- both empty if not among the places
	arch         TEXT NOT NULL,
	versioned    INTEGER NOT NULL,
	listed       INTEGER NOT NULL, -- by default
	rank         INTEGER NOT NULL, -- of the verdict
	verdict      INTEGER NOT NULL,
	due          INTEGER NOT NULL, -- when the verdict may be over
	artifact     TEXT NOT NULL,
	artifacts    INTEGER NOT NULL,
	last         INTEGER NOT NULL,
	signed       INTEGER NOT NULL, -- operators who signed for it, 2 for more
	stage0       INTEGER NOT NULL,
	others       INTEGER NOT NULL,
	cells        BLOB NOT NULL
) STRICT;
CREATE INDEX packages_by_rank ON packages (listed, rank, name, distribution, arch);
CREATE INDEX packages_by_name ON packages (listed, name, distribution, arch, verdict);
CREATE INDEX packages_by_short ON packages (short, name);
CREATE INDEX packages_by_due ON packages (due) WHERE verdict = 1;
CREATE TABLE named (
	package  INTEGER NOT NULL,
	artifact INTEGER NOT NULL,
	heard    INTEGER NOT NULL, -- entry that named it so last and is not apart; 0 for none
	last     INTEGER NOT NULL, -- entry that named it so last
	built    INTEGER NOT NULL, -- the first of those that are not apart and are of a build
	PRIMARY KEY (package, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX named_in_order ON named (package, heard, last);
CREATE INDEX named_by_artifact ON named (artifact, heard);
CREATE TABLE claims (
	entry       INTEGER PRIMARY KEY,
	at          INTEGER NOT NULL,
	claim       TEXT NOT NULL,
	result      TEXT NOT NULL,
	environment INTEGER NOT NULL -- 0 for none
) STRICT;
CREATE TABLE statements (
	artifact INTEGER NOT NULL,
	apart    INTEGER NOT NULL,
	entry    INTEGER NOT NULL,
	key      INTEGER NOT NULL,
	word     INTEGER NOT NULL,
	output   TEXT NOT NULL, -- empty for none, and for the artifact itself
	PRIMARY KEY (artifact, apart, entry, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX statements_by_key ON statements (key, entry);
CREATE INDEX statements_that_differ ON statements (entry) WHERE word = 5 AND apart = 0;
CREATE TABLE words (
	artifact INTEGER NOT NULL,
	apart    INTEGER NOT NULL,
	key      INTEGER NOT NULL,
	word     INTEGER NOT NULL,
	entry    INTEGER NOT NULL,
	PRIMARY KEY (artifact, apart, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE made (
	artifact  INTEGER NOT NULL,
	apart     INTEGER NOT NULL,
	materials INTEGER NOT NULL,
	PRIMARY KEY (artifact, apart, materials)
) STRICT, WITHOUT ROWID;
CREATE TABLE materials (
	id   INTEGER PRIMARY KEY,
	hash BLOB NOT NULL UNIQUE,
	list TEXT NOT NULL
) STRICT;
CREATE TABLE environments (
	id     INTEGER PRIMARY KEY,
	hash   BLOB NOT NULL UNIQUE,
	text TEXT NOT NULL
) STRICT;
CREATE TABLE machines (
	key         INTEGER NOT NULL,
	environment INTEGER NOT NULL,
	n           INTEGER NOT NULL,
	PRIMARY KEY (key, environment)
) STRICT, WITHOUT ROWID;
CREATE INDEX machines_in_order ON machines (key, n);
CREATE TABLE days (
	key  INTEGER NOT NULL,
	day  INTEGER NOT NULL,
	word INTEGER NOT NULL,
	n    INTEGER NOT NULL,
	PRIMARY KEY (key, day, word)
) STRICT, WITHOUT ROWID;
CREATE TABLE groups (
	listed       INTEGER NOT NULL,
	distribution TEXT NOT NULL,
	arch         TEXT NOT NULL,
	verdict      INTEGER NOT NULL,
	signed       INTEGER NOT NULL,
	stage0       INTEGER NOT NULL,
	n            INTEGER NOT NULL,
	PRIMARY KEY (listed, distribution, arch, verdict, signed, stage0)
) STRICT, WITHOUT ROWID;
CREATE TABLE tallies (
	key          INTEGER NOT NULL,
	listed       INTEGER NOT NULL,
	distribution TEXT NOT NULL,
	arch         TEXT NOT NULL,
	word         INTEGER NOT NULL,
	n            INTEGER NOT NULL,
	PRIMARY KEY (key, listed, distribution, arch, word)
) STRICT, WITHOUT ROWID;
CREATE TABLE places ( -- of packages that somebody names who is not apart
	distribution TEXT NOT NULL,
	arch         TEXT NOT NULL,
	PRIMARY KEY (distribution, arch)
) STRICT, WITHOUT ROWID;
CREATE TABLE traits (
	distribution TEXT NOT NULL,
	kind         INTEGER NOT NULL,
	value        TEXT NOT NULL,
	PRIMARY KEY (distribution, kind, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (
	id    INTEGER PRIMARY KEY,
	size  INTEGER NOT NULL,
	at    INTEGER NOT NULL,
	times TEXT NOT NULL
) STRICT;
CREATE INDEX notes_by_size ON notes (size, at);
CREATE TABLE hours (
	hour INTEGER PRIMARY KEY,
	size INTEGER NOT NULL,
	at   INTEGER NOT NULL
) STRICT;
CREATE INDEX hours_by_size ON hours (size, at)`
