package verdict

import (
	"fmt"
	"strings"
	"testing"
)

// people enrols four rebuilders of three operators, and returns a policy that
// asks for two operators: alice and annie are of the same.
func (w *world) people(more ...string) string {
	w.t.Helper()
	text := w.base
	for _, p := range [][2]string{{"alice", "first"}, {"annie", "first"}, {"bob", "second"}, {"carol", "third"}} {
		operator := "https://" + p[1] + ".example"
		if w.keys[p[0]] == "" {
			w.enrol(p[0], operator)
		}
		text += fmt.Sprintf("rebuilder %s %s operator=%s\n", p[0], w.keys[p[0]], operator)
	}
	text += "rebuild-group rebuilders 2 alice annie bob carol\nrebuild-quorum rebuilders\n"
	for _, line := range more {
		text += line + "\n"
	}
	w.policies++
	return w.write(fmt.Sprintf("%d.policy", w.policies), text)
}

// TestStory is four rebuilders of three operators, of which a policy asks for
// two.
func TestStory(t *testing.T) {
	w := newWorld(t)
	policy := w.people("dissent block")
	tolerant := w.people("dissent tolerate 1")
	from := []string{source("hello.tar.gz")}
	want := func(t *testing.T, policy, digest string, exit int, word, reason string) verdict {
		t.Helper()
		code, v := w.verify(policy, digest)
		if code != exit || v.Verdict != word || v.Accepted != (exit == 0) || v.Schema != "cairn/verify/v1" {
			t.Errorf("exit code %d and %+v, want %d and %s", code, v, exit, word)
		}
		if reasons := strings.Join(v.Reasons, "\n"); !strings.Contains(reasons, reason) {
			t.Errorf("the reasons do not say %q:\n%s", reason, reasons)
		}
		return v
	}

	t.Run("equal digests of two operators", func(t *testing.T) {
		digest := w.artifact("equal")
		w.builds("alice", "equal", from...)
		want(t, policy, digest, 3, "unproven", "")
		w.reproduces("bob", "equal", "equal", from)
		want(t, policy, digest, 0, "reproduced", "")
	})
	t.Run("one operator with two keys", func(t *testing.T) {
		digest := w.artifact("twokeys")
		w.builds("alice", "twokeys", from...)
		w.reproduces("annie", "twokeys", "twokeys", from)
		want(t, policy, digest, 3, "unproven", "")
	})
	t.Run("one dissents", func(t *testing.T) {
		digest := w.artifact("dissent")
		w.artifact("other")
		w.builds("alice", "dissent", from...)
		w.reproduces("bob", "dissent", "dissent", from)
		want(t, policy, digest, 0, "reproduced", "")
		w.reproduces("carol", "dissent", "other", from)
		want(t, policy, digest, 1, "differs", "https://third.example")
		want(t, tolerant, digest, 0, "reproduced", "")
	})
	t.Run("everything was fetched, nothing built", func(t *testing.T) {
		digest := w.artifact("substituted")
		for _, who := range []string{"alice", "bob", "carol"} {
			w.reproduces(who, "substituted", "substituted", from, "--obtained", "SUBSTITUTED")
		}
		code, v := w.verify(policy, digest)
		if code != 3 || v.Accepted {
			t.Errorf("exit code %d, %+v", code, v)
		}
	})
	t.Run("nobody heard of it", func(t *testing.T) {
		want(t, policy, w.artifact("unknown"), 3, "untried", "")
	})
	t.Run("a material deep down has one rebuilder", func(t *testing.T) {
		deep, lib := w.artifact("deep"), w.artifact("lib")
		w.builds("alice", "deep", from...)
		for _, who := range []string{"alice", "bob"} {
			w.builds(who, "lib", made("deep", deep), from[0])
			w.builds(who, "equal", from...)
		}
		app := w.artifact("app")
		for _, who := range []string{"bob", "carol"} {
			w.builds(who, "app", made("lib", lib), from[0])
		}
		v := want(t, policy, app, 3, "unproven", "")
		n := v.Ancestry.find(deep)
		if n == nil || n.Verdict != "unproven" || !strings.Contains(strings.Join(n.Reasons, " "), "1 of 2") && len(n.Reasons) == 0 {
			t.Fatalf("the node that lacks a rebuilder is %+v", n)
		}
		code, out, _ := w.run("trace", app, "--policy", policy)
		if code != 3 || !strings.Contains(out, "deep") {
			t.Errorf("trace: exit code %d\n%s", code, out)
		}
		for _, line := range strings.Split(out, "\n") {
			if strings.Contains(line, deep) && !strings.Contains(line, "unproven") && !strings.Contains(line, "does not count") {
				t.Errorf("trace does not mark the node: %s", line)
			}
		}
		w.reproduces("carol", "deep", "deep", from)
		want(t, policy, app, 0, "reproduced", "")
	})
}
