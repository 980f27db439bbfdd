package audit_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// mirrored makes a mirror's directory of a ledger's.
func mirrored(t *testing.T, ledger string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mirror")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(ledger, "log"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".state")); err != nil {
		t.Fatal(err)
	}
	d := &damaged{dir}
	for _, raw := range attestations(t, ledger) {
		h := leaf.SHA256(raw).Hex()
		d.put(t, filepath.Join("attestations", h[:2], h), raw)
	}
	return dir
}

// attestations returns all that a ledger's database has, in its order.
func attestations(t *testing.T, ledger string) (raws [][]byte) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(ledger, blobsDB))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.Query("SELECT bytes FROM blobs ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
	}
	return raws
}

// served serves a mirror's directory.
func served(t *testing.T, dir string) audit.Copy {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	c, err := audit.OpenURL(t.Context(), s.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestEverySourceIsAudited(t *testing.T) {
	for name, c := range map[string]func(t *testing.T) audit.Copy{
		"ledger": func(t *testing.T) audit.Copy { return open(t, copyOf(t)) },
		"mirror": func(t *testing.T) audit.Copy { return open(t, mirrored(t, copyOf(t))) },
		"served": func(t *testing.T) audit.Copy { return served(t, mirrored(t, copyOf(t))) },
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, c(t), audit.Options{})
			wantClean(t, r)
			if r.Counts.Entries.Load() != worldSize || r.Counts.Attestations.Load() != worldSize {
				t.Errorf("counts %+v", &r.Counts)
			}
		})
	}
}

// TestSources holds every driver to what Source promises.
func TestSources(t *testing.T) {
	ledger := copyOf(t)
	mirror := mirrored(t, ledger)
	if err := unix.Mkfifo(filepath.Join(ledger, "log", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	raws := attestations(t, ledger)
	for name, c := range map[string]audit.Copy{
		"ledger": open(t, ledger), "mirror": open(t, mirror), "served": served(t, mirror),
	} {
		t.Run(name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(ledger, bundle1))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Read(t.Context(), "tile/entries/001", 1<<20); err != nil || !bytes.Equal(got, want) {
				t.Errorf("Read() = %d bytes, %v", len(got), err)
			}
			if _, err := c.Read(t.Context(), "tile/entries/900", 1<<20); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Read() of what is not there: %v", err)
			}
			var damage *audit.Damage
			if _, err := c.Read(t.Context(), "tile/entries/001", 100); !errors.As(err, &damage) {
				t.Errorf("Read() over its limit: %v", err)
			}
			unknown := leaf.SHA256([]byte("nowhere"))
			got, err := c.Attestations(t.Context(), []leaf.Digest{leaf.SHA256(raws[9]), unknown, leaf.SHA256(raws[3]), leaf.SHA256(raws[600])})
			if err != nil || len(got) != 4 || !bytes.Equal(got[0], raws[9]) || got[1] != nil || !bytes.Equal(got[2], raws[3]) || !bytes.Equal(got[3], raws[600]) {
				t.Errorf("Attestations() = %d, %v", len(got), err)
			}
			last := ""
			err = c.Files(t.Context(), func(f audit.File) error {
				if f.Path == "pipe" && f.Problem == "" {
					t.Error("a pipe is a file")
				}
				last = f.Path
				return nil
			})
			if !errors.Is(err, audit.ErrUnlisted) && (err != nil || last == "") {
				t.Errorf("Files(): %v, last %q", err, last)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := c.Read(ctx, "checkpoint", 1<<20); err == nil || errors.As(err, &damage) {
				t.Errorf("Read() after its context ended: %v", err)
			}
		})
	}
}

func TestMirrorsAttestations(t *testing.T) {
	raws := attestations(t, copyOf(t))
	path := func(i int) string {
		h := leaf.SHA256(raws[i]).Hex()
		return filepath.Join("attestations", h[:2], h)
	}
	for _, x := range []damage{
		{"a dropped attestation", remove(path(600)), "attestation-missing", 3},
		{"a flipped bit", flip(path(600), 500), "attestation-bytes", 10},
		{"an empty file", edit(path(600), func([]byte) []byte { return nil }), "attestation-bytes", 10},
		{"a symbolic link", link(path(600)), "file-irregular", 10},
		{"no attestations", remove("attestations"), "attestations-missing", 3},
		{"a stray attestation", create("attestations/00/"+hex.EncodeToString(make([]byte, 31)), nil), "file-stray", 10},
		{"an attestation in another's directory", create("attestations/ff/"+hex.EncodeToString(make([]byte, 32)), nil), "file-stray", 10},
		{"a tile far behind what is published", create("tile/0/900", make([]byte, 256*32)), "file-stray", 10},
	} {
		t.Run(x.name, func(t *testing.T) {
			d := &damaged{mirrored(t, copyOf(t))}
			x.do(t, d)
			x.check(t, run(t, open(t, d.dir), audit.Options{}))
		})
	}
}

// A server that fails has told nothing about the log.
func TestServerThatFails(t *testing.T) {
	files := http.FileServer(http.Dir(mirrored(t, copyOf(t))))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tile/entries/001" {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	c, err := audit.OpenURL(t.Context(), s.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.Run(t.Context(), c, audit.Options{Policy: built().log.Policy})
	var unanswered *client.UnansweredError
	if !errors.As(err, &unanswered) || r.Clean || r.ExitCode() == 0 || len(r.Findings) > 0 {
		t.Errorf("Run() = %+v, %v", r.Findings, err)
	}
}

func TestOpenDirRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{t.TempDir(), file, filepath.Join(t.TempDir(), "nowhere")} {
		if _, err := audit.OpenDir(place); err == nil {
			t.Errorf("%s was opened", place)
		}
	}
}
