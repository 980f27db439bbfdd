package sigstore

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// object is a JSON object of a bundle.
type object = map[string]any

// tampered is one thing that is wrong with a bundle. Each is made of the bundle of
// the third of three entries, with that of the first at hand.
var tampered = []struct {
	name   string
	change func(entry, proof, checkpoint, first object)
	says   string
}{
	{"a hash of the path", func(_, proof, _, _ object) {
		path := proof["hashes"].([]any)
		path[0] = flipped(path[0].(string))
	}, "does not match expected root"},
	{"a hash less", func(_, proof, _, _ object) { proof["hashes"] = []any{} }, "inclusion"},
	{"the checkpoint's signature", func(_, _, c, _ object) { c["envelope"] = edited(c, 4, 20) }, "invalid signature"},
	{"the checkpoint's root", func(_, _, c, _ object) { c["envelope"] = edited(c, 2, 5) }, "invalid signature"},
	{"the checkpoint's size", func(_, _, c, _ object) { c["envelope"] = edited(c, 1, 0) }, "invalid signature"},
	{"the checkpoint's origin", func(_, _, c, _ object) { c["envelope"] = edited(c, 0, 0) }, "checkpoint"},
	{"another checkpoint of the log", func(_, proof, _, first object) {
		proof["checkpoint"] = first["inclusionProof"].(object)["checkpoint"]
	}, "inclusion"},
	{"the index", func(entry, proof, _, _ object) { entry["logIndex"], proof["logIndex"] = "1", "1" }, "inclusion"},
	{"no proof", func(entry, _, _, _ object) { delete(entry, "inclusionProof") }, ""},
	{"the log's id", func(entry, _, _, _ object) {
		id := entry["logId"].(object)
		id["keyId"] = flipped(id["keyId"].(string))
	}, "log"},
	{"the whole entry of another artifact", func(entry, _, _, first object) {
		for member, value := range first {
			entry[member] = value
		}
		if _, ok := first["logIndex"]; !ok {
			delete(entry, "logIndex")
		}
	}, ""},
}

// computed is what cosign does not read, since it knows better: it makes the body of
// the key and signature that it verifies, and takes the root from the checkpoint.
var computed = []struct {
	name   string
	change func(entry, proof, first object)
}{
	{"the body", func(entry, _, first object) { entry["canonicalizedBody"] = first["canonicalizedBody"] }},
	{"the root beside the checkpoint", func(_, proof, _ object) { proof["rootHash"] = flipped(proof["rootHash"].(string)) }},
	{"the index of the proof beside that of the entry", func(_, proof, _ object) { proof["logIndex"] = "0" }},
}

// flipped changes a bit of base64.
func flipped(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err) // cosign wrote it
	}
	b[0] ^= 1
	return base64.StdEncoding.EncodeToString(b)
}

// edited changes a character in a line of a checkpoint.
func edited(checkpoint object, line, at int) string {
	lines := strings.SplitAfter(checkpoint["envelope"].(string), "\n")
	l := []rune(lines[line])
	if l[at]++; l[at] == ':' || l[at] == '[' || l[at] == '{' || l[at] == ',' || l[at] == '0' {
		l[at] = '7'
	}
	lines[line] = string(l)
	return strings.Join(lines, "")
}

func TestCosignFindsTampering(t *testing.T) {
	w := newWorld(t, "").configured()
	w.mustCosign("generate-key-pair")
	for i := range 3 {
		name := fmt.Sprint("file", i)
		w.write(name, name+"\n")
		w.signBlob("cosign", name, name+".json")
	}
	for _, tt := range tampered {
		w.tamper(func(entry, first object) {
			proof := entry["inclusionProof"].(object)
			tt.change(entry, proof, proof["checkpoint"].(object), first)
		})
		if ok, says := w.verifyBlob("cosign", "file2", "tampered.json"); ok || !strings.Contains(says, tt.says) {
			t.Errorf("%s: accepted %t, cosign says %q, want %q", tt.name, ok, says, tt.says)
		}
	}
	for _, tt := range computed {
		w.tamper(func(entry, first object) { tt.change(entry, entry["inclusionProof"].(object), first) })
		if ok, says := w.verifyBlob("cosign", "file2", "tampered.json"); !ok {
			t.Errorf("%s is not ignored any more: it belongs to what is tampered with: %s", tt.name, says)
		}
	}
	for bundle, want := range map[string]bool{"file2.json": true, "file0.json": false} {
		if ok, says := w.verifyBlob("cosign", "file2", bundle); ok != want {
			t.Errorf("%s: accepted %t: %s", bundle, ok, says)
		}
	}
	w.mustCosign("generate-key-pair", "--output-key-prefix", "other")
	if ok, _ := w.verifyBlob("other", "file2", "file2.json"); ok {
		t.Error("the bundle is accepted with another key")
	}
}

// tamper writes the bundle of the third entry, changed.
func (w *world) tamper(change func(entry, first object)) {
	w.t.Helper()
	var bundle, other object
	w.parse(w.read("file2.json"), &bundle)
	w.parse(w.read("file0.json"), &other)
	change(entryOf(bundle), entryOf(other))
	text, err := json.Marshal(bundle)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("tampered.json", string(text))
}

func entryOf(bundle object) object {
	return bundle["verificationMaterial"].(object)["tlogEntries"].([]any)[0].(object)
}
