-- store.PostgresSequence. What is here is nowhere else until the log has it.

-- One row: the index that is given out next. Whoever places entries holds its lock.
CREATE TABLE queue_head (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  next bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO queue_head (next) VALUES (0);

-- One row: the entries below this index left the queue. Apart from queue_head, so
-- that they leave while others are placed.
CREATE TABLE queue_tail (
  one     boolean PRIMARY KEY DEFAULT true CHECK (one),
  trimmed bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO queue_tail (trimmed) VALUES (0);

CREATE TABLE queue (
  idx  bigint PRIMARY KEY,
  leaf bytea  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
CREATE TABLE queue_terms (
  term bytea  PRIMARY KEY,
  idx  bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
CREATE INDEX queue_terms_idx ON queue_terms (idx);

-- The latest entry with each mark, kept for ever: about as many as there are keys.
CREATE TABLE marks (
  mark bytea  PRIMARY KEY,
  idx  bigint NOT NULL
);

-- What an answer of the index is worth: while it has less than what left the queue,
-- it is being rebuilt.
CREATE VIEW index_state AS
  SELECT version, size, trimmed FROM index_head CROSS JOIN queue_tail;
