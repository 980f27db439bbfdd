package policy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/policy"
)

// TestDocumentedPolicies parses the examples of docs/policy.md, with keys in the
// place of the dots, and rebuilders for those that an example does not define.
func TestDocumentedPolicies(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	parsed := 0
	for i, block := range strings.Split(string(page), "```") {
		if i%2 == 0 || strings.HasPrefix(strings.TrimSpace(block), "cairn ") {
			continue
		}
		text := complete(block)
		if _, err := policy.Parse([]byte(expand(text))); err != nil {
			t.Errorf("%v, in:\n%s", err, text)
		}
		parsed++
	}
	if parsed < 7 {
		t.Errorf("found %d examples", parsed)
	}
}

func complete(block string) string {
	var b strings.Builder
	if !strings.Contains(block, "\nlog ") {
		b.WriteString(base)
	}
	used := strings.Contains(block, "rebuild-group")
	for _, name := range []string{"alice", "bob", "carol", "debian", "inria"} {
		if used && !strings.Contains(block, "rebuilder "+name) {
			fmt.Fprintf(&b, "rebuilder %[1]s K(%[1]s) operator=https://%[1]s.example\n", name)
		}
	}
	for i, line := range strings.Split(block, "\n") {
		f := strings.Fields(line)
		for j, word := range f {
			switch {
			case !strings.HasSuffix(word, "…"):
			case strings.HasPrefix(word, "sha256:"):
				f[j] = seedOf(fmt.Sprint(i))
			case f[0] == "log":
				f[j] = logVKey(strings.TrimSuffix(word, "+…"))
			case f[0] == "witness":
				f[j] = witnessVKey(strings.TrimSuffix(word, "+…"))
			}
		}
		b.WriteString(strings.Join(f, " ") + "\n")
	}
	return b.String()
}
