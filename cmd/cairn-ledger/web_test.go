package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// TestReadEvidence: the newest files are shown, of each no more than a checkpoint has.
func TestReadEvidence(t *testing.T) {
	if list, err := readEvidence(""); err != nil || len(list) != 0 {
		t.Errorf("without a place: %v, %v", list, err)
	}
	dir := t.TempDir()
	begun := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for i := range maxEvidence + 3 {
		path := filepath.Join(dir, fmt.Sprintf("signed.rollback-%d", i))
		if err := os.WriteFile(path, []byte(strings.Repeat("x", checkpoint.MaxNote+i)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, begun, begun.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "signed.rollback-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := readEvidence(filepath.Join(dir, "signed.rollback-*"))
	if err != nil || len(list) != maxEvidence || list[0].Name != fmt.Sprintf("signed.rollback-%d", maxEvidence+2) ||
		!list[0].At.Equal(begun.Add((maxEvidence+2)*time.Hour)) || len(list[0].Text) != checkpoint.MaxNote {
		t.Errorf("%d files, %v", len(list), err)
	}
}
