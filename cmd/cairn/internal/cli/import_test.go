package cli_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// TestAnImportIsHeldToItsBytes answers the submission of one attestation with the
// entry of another, with its true proof.
func TestAnImportIsHeldToItsBytes(t *testing.T) {
	w := populated(t)
	var earlier *cairnv1.SubmitAttestationResponse
	w.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.SubmitAttestationResponse); ok {
			earlier = proto.Clone(r).(*cairnv1.SubmitAttestationResponse)
		}
	}
	w.must("submit", "@/a.attestation")
	w.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.SubmitAttestationResponse); ok {
			proto.Reset(r)
			proto.Merge(r, earlier)
		}
	}
	w.write("new.attestation", w.build("@/hello.deb"))
	f := w.mustFail("import", "oss-rebuild", "@/new.attestation")
	if f.Exit != 5 || !strings.Contains(f.Error, "something else than what was submitted") {
		t.Errorf("got %+v", f)
	}
	f = w.mustFail("submit", "@/new.attestation", "--wait", "sequenced")
	if f.Exit != 5 || !strings.Contains(f.Error, "something else than what was submitted") {
		t.Errorf("of a sequenced entry: got %+v", f)
	}
}
