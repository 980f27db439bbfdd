-- Which log this database, or this schema of it, is. One row.
CREATE TABLE log (
  one    boolean PRIMARY KEY DEFAULT true CHECK (one),
  origin text    NOT NULL,
  tree   bigint  NOT NULL,
  vkey   text    -- of the key that signs it; null until one is bound
);
