-- store.PostgresIndex. All of it follows from the log.

-- One row: the version of the index (store.IndexVersion), and how many entries it
-- has. Whoever adds entries holds its lock.
CREATE TABLE index_head (
  one     boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL,
  size    bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO index_head (version, size) VALUES (0, 0);

CREATE TABLE entries (
  idx  bigint PRIMARY KEY,
  leaf bytea  NOT NULL
);
CREATE TABLE terms (
  term bytea  NOT NULL,
  idx  bigint NOT NULL,
  PRIMARY KEY (term, idx)
);
CREATE TABLE keys (
  fingerprint text    PRIMARY KEY,
  pem         text    NOT NULL,
  operator    text    NOT NULL,
  url         text    NOT NULL,
  enrolled    bigint  NOT NULL,
  endorser    text    NOT NULL,
  revoked     bigint,
  withdrawn   boolean NOT NULL,
  changed     bigint  NOT NULL
);
CREATE TABLE endorsements (
  key      text   NOT NULL,
  endorser text   NOT NULL,
  idx      bigint NOT NULL,
  operator text   NOT NULL,
  url      text   NOT NULL,
  PRIMARY KEY (key, endorser)
);
-- The entries that changed one of the two above: what a front end that follows the
-- keys reads from where it was.
CREATE TABLE key_changes (
  idx bigint PRIMARY KEY
);
