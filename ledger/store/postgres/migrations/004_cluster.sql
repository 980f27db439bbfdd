-- ledger/cluster. Every statement that changes signer or checkpoints holds the lock
-- of the lease's row, and changes nothing unless the row has its epoch.

-- One row: which process publishes. The epoch grows with every new holder.
CREATE TABLE lease (
  one    boolean     PRIMARY KEY DEFAULT true CHECK (one),
  epoch  bigint      NOT NULL,
  holder text        NOT NULL,
  until  timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO lease (epoch, holder, until) VALUES (0, '', '-infinity');

-- One row: the unsigned checkpoint of the tree that was signed last, or is about
-- to be. An older copy must never be restored.
CREATE TABLE signer (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  text bytea
) WITH (fillfactor = 10);
INSERT INTO signer (text) VALUES (NULL);

-- The archive: every signed note that was published, in order and without gaps.
CREATE TABLE checkpoints (
  seq  bigint      PRIMARY KEY,
  size bigint      NOT NULL,
  root bytea       NOT NULL,
  note bytea       NOT NULL,
  at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
