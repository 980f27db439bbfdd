package store

import "time"

// What is here is for the front ends of one log that share a PostgreSQL database;
// package postgres says what its tables are worth.

// retryRebuilt is when to ask an index again that is being rebuilt.
const retryRebuilt = 10 * time.Second

// lockQueue is the statement that a transaction begins with which places entries,
// or which others must not place entries beside. What follows it sees what was
// placed before.
const lockQueue = "SELECT next FROM queue_head FOR UPDATE"
