package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/cairnlog/cairn/ledger/rekor/rekortest"
)

// TestRekorScripts runs the scripts that need a Rekor log: each has one, whose URL
// is REKOR and whose key is in rekor.pub, and another key is in other.pub.
func TestRekorScripts(t *testing.T) {
	other := rekortest.New(t)
	testscript.Run(t, scripts("testdata/rekor", func(env *testscript.Env) error {
		l := rekortest.New(t)
		env.Values[rekorLog{}] = l
		env.Setenv("REKOR", l.URL)
		for name, key := range map[string]string{"rekor.pub": l.Key.PEM, "other.pub": other.Key.PEM} {
			if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(key), 0o600); err != nil {
				return err
			}
		}
		return setup(t, env)
	}))
}

// rekorLog is the key of a script's Rekor log.
type rekorLog struct{}

// changeRekor is `rekor add FILE`, which logs the body of an entry as it is;
// `rekor intoto FILE PUB`, which logs an attestation that the key signed as an
// intoto entry; and `rekor lies` and `rekor tells`, after which the log shows
// another time than it signed, or the truth.
func changeRekor(ts *testscript.TestScript, neg bool, args []string) {
	l, ok := ts.Value(rekorLog{}).(*rekortest.Log)
	if neg || !ok || len(args) == 0 {
		ts.Fatalf("usage: rekor add FILE, rekor intoto FILE PUB, rekor lies, rekor tells")
	}
	switch args[0] {
	case "lies":
		l.Lie = func(answer models.LogEntry) models.LogEntry {
			return rekortest.Altered(answer, func(uuid string, m *models.LogEntryAnon) string {
				*m.IntegratedTime++
				return uuid
			})
		}
	case "tells":
		l.Lie = nil
	case "add":
		l.Add([]byte(strings.TrimSpace(ts.ReadFile(args[1]))), nil)
	case "intoto":
		body, payload, err := rekortest.Intoto([]byte(ts.ReadFile(args[1])), []byte(ts.ReadFile(args[2])))
		ts.Check(err)
		l.Add(body, payload)
	default:
		ts.Fatalf("rekor %s is unknown", args[0])
	}
}
