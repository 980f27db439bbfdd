-- A log that is being moved here is not served: only `cairn-ledger migrate` opens it.
ALTER TABLE log ADD COLUMN moving boolean NOT NULL DEFAULT false;
