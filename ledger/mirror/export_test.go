package mirror

import "github.com/cairnlog/cairn/ledger/engine"

// Two bundles still: what a batch is made of does not depend on their number,
// and every entry costs files.
func init() { batchEntries = 2 * engine.TileWidth }
