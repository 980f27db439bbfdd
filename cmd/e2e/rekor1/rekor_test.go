package rekor1

import (
	"encoding/json"
	"strings"
	"testing"
)

// importReport is what cairn import says, as far as the tests read it.
type importReport struct {
	Complete                   bool
	Items, New, Known, Refused int
	Refusals                   []struct{ Reason string }
}

// auditReport is what cairn audit says, as far as the tests read it.
type auditReport struct {
	Clean    bool
	Exit     int
	Counts   struct{ Anchors int }
	Findings []struct {
		Class, Kind, Where string
		Evidence           []string
	}
}

// An entry that rekor-cli made is imported with its proof, and so is the
// attestation that Rekor keeps.
func TestImport(t *testing.T) {
	w := newWorld(t)
	w.write(t, "hello.deb", "hello\n")
	w.run(t, "openssl", "dgst", "-sha256", "-sign", "anchor.key", "-out", "hello.sig", "hello.deb")
	signed := w.upload(t, "--type=hashedrekord", "--artifact="+w.path("hello.deb"), "--signature="+w.path("hello.sig"), "--public-key="+w.path("anchor.key.pub"))
	w.cairn(t, 0, "attest", "build", "hello.deb", "--key", "alice.key", "--builder-id", "https://ci.example", "-O", "hello.attestation")
	attested := w.upload(t, "--type=intoto:0.0.2", "--artifact="+w.path("hello.attestation"), "--public-key="+w.path("alice.key.pub"))

	args := []string{"import", "rekor", signed.index, attested.uuid, "--rekor", w.rekor.URL, "--rekor-key", w.rekor.PublicKey, "--key", "alice.key"}
	var first, again, missing importReport
	w.answer(t, &first, 0, args...)
	if !first.Complete || first.Items != 3 || first.New != 3 {
		t.Errorf("the import of two entries and an attestation: %+v", first)
	}
	w.answer(t, &again, 0, args...)
	if again.New != 0 || again.Known != 3 {
		t.Errorf("the same import again: %+v", again)
	}
	args[2] = "999"
	w.answer(t, &missing, 1, args...)
	if missing.Refused != 1 || missing.Refusals[0].Reason != "NOTHING_FOUND" {
		t.Errorf("the import of an entry that there is not: %+v", missing)
	}
	// It is found by the artifact and by the entry, and its proof verifies again.
	var id string
	for _, name := range []string{"hello.deb", "sha256:" + signed.uuid[16:]} {
		var shown struct {
			Groups []struct{ Claims []struct{ ID, Claim string } }
		}
		w.answer(t, &shown, 0, "show", name)
		for _, c := range shown.Groups[0].Claims {
			if c.Claim == "other" {
				id = c.ID
			}
		}
	}
	shown := w.cairn(t, 0, "show", id)
	for _, want := range []string{"entry " + signed.index + ", hashedrekord 0.0.1, logged 20", "proven by the log with the key sha256:"} {
		if !strings.Contains(shown, want) {
			t.Errorf("cairn show ID does not say %q:\n%s", want, shown)
		}
	}
	// A key that is not the log's.
	args[2], args[7] = signed.index, "anchor.key.pub"
	w.answer(t, &missing, 1, args...)
	if missing.Refused == 0 || missing.Refusals[0].Reason != "REKOR_UNPROVEN" {
		t.Errorf("the import with another key: %+v", missing)
	}
}

// uploaded is an entry that rekor-cli made.
type uploaded struct{ index, uuid string }

func (w *world) upload(t *testing.T, args ...string) uploaded {
	t.Helper()
	var made struct {
		Location string
		Index    json.Number
	}
	out := w.rekor.CLI(t, append([]string{"upload", "--pki-format=x509"}, args...)...)
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatalf("rekor-cli wrote %q: %v", out, err)
	}
	return uploaded{made.Index.String(), made.Location[strings.LastIndex(made.Location, "/")+1:]}
}

// A checkpoint is anchored, and shows later that a ledger was rolled back.
func TestAnchor(t *testing.T) {
	w := newWorld(t)
	w.submit(t, "first")
	w.ledger.Stop(t)
	w.run(t, "cp", "-a", "ledger", "backup") // with what must never be restored
	w.start(t, "ledger")
	w.submit(t, "second")
	made, again := w.anchor(t), w.anchor(t)
	if !made.Created || again.Created || made.UUID != again.UUID {
		t.Errorf("anchored twice: %+v, then %+v", made, again)
	}
	// rekor-cli finds it as it is, by its own rules.
	w.rekor.CLI(t, "verify", "--uuid="+made.UUID)
	w.submit(t, "third")
	w.anchor(t)
	w.audits(t, "ledger", 0, 2, "")
	w.ledger.Stop(t)
	w.audits(t, "ledger", 0, 2, "")
	w.tampered(t)

	// The ledger goes back to its backup, which by itself is flawless.
	w.cairn(t, 0, "audit", "backup")
	w.audits(t, "backup", 5, 2, "checkpoint-shrank")
	// And then on, in another way. A user sees it for the first time.
	w.start(t, "backup")
	w.run(t, "mv", "state", "forgotten")
	for _, name := range []string{"other", "another", "more"} {
		w.submit(t, name)
	}
	w.ledger.Stop(t)
	w.cairn(t, 0, "audit", "backup")
	report := w.audits(t, "backup", 5, 2, "anchor-contradicted")
	if e := report.Findings[0].Evidence; len(e) != 2 || e[0] == e[1] || !strings.Contains(w.read(t, "anchors/3.anchor"), strings.Split(e[0], "\n")[2]) {
		t.Errorf("the evidence is %q, want the anchored checkpoint and the audited one", e)
	}
}

// submit logs a build of something new.
func (w *world) submit(t *testing.T, name string) {
	t.Helper()
	w.write(t, name, name)
	w.cairn(t, 0, "attest", "build", name, "--key", "alice.key", "--builder-id", "https://ci.example", "-O", name+".attestation")
	w.cairn(t, 0, "submit", name+".attestation")
}

// anchored is what cairn anchor says, as far as the tests read it.
type anchored struct {
	Created bool
	UUID    string
}

func (w *world) anchor(t *testing.T) (v anchored) {
	t.Helper()
	w.answer(t, &v, 0, "anchor", "--rekor", w.rekor.URL, "--rekor-key", w.rekor.PublicKey, "--key", "anchor.key", "--out", "anchors/")
	return v
}

// audits audits a directory with the anchors. kind is that of the first finding.
func (w *world) audits(t *testing.T, dir string, exit, anchors int, kind string) *auditReport {
	t.Helper()
	r := new(auditReport)
	w.answer(t, r, exit, "audit", dir, "--anchor", "anchors", "--rekor-key", w.rekor.PublicKey)
	if r.Clean != (exit == 0) || r.Counts.Anchors != anchors || (kind == "") != (len(r.Findings) == 0) || kind != "" && r.Findings[0].Kind != kind {
		t.Fatalf("auditing %s with the anchors: %+v, want %d anchors and %q", dir, r, anchors, kind)
	}
	return r
}

// tampered changes an anchor in its checkpoint, and then in its proof.
func (w *world) tampered(t *testing.T) {
	t.Helper()
	good := w.read(t, "anchors/3.anchor")
	for old, kind := range map[string]string{`\n3\n`: "anchor-unproven", `"integratedTime":1`: "anchor-unproven", `"hashes"`: "anchor-malformed"} {
		bad := strings.Replace(good, old, strings.NewReplacer("3", "4", "1", "2", "hashes", "hushes").Replace(old), 1)
		if bad == good {
			t.Fatalf("the anchor has no %q: %s", old, good)
		}
		w.write(t, "anchors/3.anchor", bad)
		w.audits(t, "ledger", 10, 1, kind)
	}
	w.write(t, "anchors/3.anchor", good)
}
