package store_test

import (
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/storetest"
)

func TestSQLiteBlobs(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) func() store.Blobs {
		path := awkwardPath(t)
		return func() store.Blobs {
			s, err := store.OpenSQLiteBlobs(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

func TestSQLiteIndex(t *testing.T) {
	storetest.Index(t, func(t *testing.T) func() store.Index {
		path := awkwardPath(t)
		return func() store.Index {
			x, err := store.OpenSQLiteIndex(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
	})
}

// awkwardPath returns a path with all that means something in a SQLite URI.
func awkwardPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "100% a?b=c&mode=ro#d é.db")
}
