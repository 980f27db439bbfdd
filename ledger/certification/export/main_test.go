package export

import (
	"os"
	"testing"
)

// Batches are small here: what is exported does not depend on their size.
func TestMain(m *testing.M) {
	batchSize = 2
	os.Exit(m.Run())
}
