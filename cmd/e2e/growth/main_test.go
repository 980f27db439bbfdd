package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"log/checkpoint": "ledger.example\n4\nroot\n\nsig\n", "log/tile/entries/000.p/4": "12345678", "log/tile/0/000.p/4": "1234",
		"log/tile/1/000": "12", "blobs.db": "1234567890123456", "log/checkpoints/000000000": "1234",
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{dir}, &out, &out); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, want := range []string{
		"4 entries", "blobs.db 1 16 4.0 250.00", "entry bundles (partial) 1 8 2.0 250.00", "hash tiles, level 0 (partial) 1 4 1.0 250.00",
		"hash tiles, level 1 1 2 0.5 250.00", "archive of checkpoints 1 4 1.0 250.00",
	} {
		if !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
}

func TestUsage(t *testing.T) {
	var out bytes.Buffer
	for _, args := range [][]string{{}, {"a", "b"}, {"-database", "postgres:///x", "a"}, {t.TempDir()}} {
		if err := run(t.Context(), args, &out, &out); err == nil {
			t.Errorf("growth %q says nothing is wrong", args)
		}
	}
}
