package mirror

import (
	"os"
	"testing"

	"github.com/cairnlog/cairn/ledger/engine"
)

// Batches are of two bundles here: what a batch does not depend on is their
// number, and every entry costs files.
func TestMain(m *testing.M) {
	batchEntries = 2 * engine.TileWidth
	os.Exit(m.Run())
}
