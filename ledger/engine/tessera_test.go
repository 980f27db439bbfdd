package engine_test

import (
	"crypto/rand"
	"io"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
)

func TestTessera(t *testing.T) {
	// Tessera reports each of its steps through klog.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	skey, _, err := note.GenerateKey(rand.Reader, enginetest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, func(t *testing.T) func() engine.Log {
		dir := filepath.Join(t.TempDir(), "log")
		return func() engine.Log {
			log, err := engine.OpenTessera(t.Context(), dir, signer)
			if err != nil {
				t.Fatal(err)
			}
			return log
		}
	})
}
