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

// story is a world in which verdicts are asked for by one policy or another.
type story struct {
	*world
	policy, tolerant string
	from             []string // a source
}

func newStory(t *testing.T) *story {
	s := &story{world: newWorld(t), from: []string{source("hello.tar.gz")}}
	s.policy, s.tolerant = s.people("dissent block"), s.people("dissent tolerate 1")
	return s
}

// want asks for a verdict, and checks it, its exit code, and that its reasons
// say something.
func (s *story) want(t *testing.T, policy, digest string, exit int, word, reason string) verdict {
	t.Helper()
	code, v := s.verify(policy, digest)
	if code != exit || v.Verdict != word || v.Accepted != (exit == 0) || v.Schema != "cairn/verify/v1" {
		t.Errorf("exit code %d and %+v, want %d and %s", code, v, exit, word)
	}
	if reasons := strings.Join(v.Reasons, "\n"); !strings.Contains(reasons, reason) {
		t.Errorf("the reasons do not say %q:\n%s", reason, reasons)
	}
	return v
}

// TestStory is four rebuilders of three operators, of which a policy asks for
// two.
func TestStory(t *testing.T) {
	s := newStory(t)
	t.Run("equal digests of two operators", func(t *testing.T) {
		digest := s.artifact("equal")
		s.builds("alice", "equal", s.from...)
		s.want(t, s.policy, digest, 3, "unproven", "1 more of https://second.example (bob)")
		s.reproduces("bob", "equal", "equal", s.from)
		s.want(t, s.policy, digest, 0, "reproduced", "")
	})
	t.Run("one operator with two keys", func(t *testing.T) {
		digest := s.artifact("twokeys")
		s.builds("alice", "twokeys", s.from...)
		s.reproduces("annie", "twokeys", "twokeys", s.from)
		s.want(t, s.policy, digest, 3, "unproven", "1 more of https://second.example (bob)")
	})
	t.Run("one dissents", func(t *testing.T) {
		digest := s.artifact("dissent")
		s.artifact("other")
		s.builds("alice", "dissent", s.from...)
		s.reproduces("bob", "dissent", "dissent", s.from)
		s.want(t, s.policy, digest, 0, "reproduced", "")
		s.reproduces("carol", "dissent", "other", s.from)
		s.want(t, s.policy, digest, 1, "differs", "https://third.example")
		s.want(t, s.tolerant, digest, 0, "reproduced", "")
	})
	t.Run("everything was fetched, nothing built", func(t *testing.T) {
		digest := s.artifact("substituted")
		for _, who := range []string{"alice", "bob", "carol"} {
			s.reproduces(who, "substituted", "substituted", s.from, "--obtained", "SUBSTITUTED")
		}
		s.want(t, s.policy, digest, 3, "untried", "SUBSTITUTED")
	})
	t.Run("nobody heard of it", func(t *testing.T) {
		s.want(t, s.policy, s.artifact("unknown"), 3, "untried", "")
	})
	t.Run("a material deep down has one rebuilder", func(t *testing.T) { s.deep(t) })
}

// deep is an artifact that is good but for a material of a material.
func (s *story) deep(t *testing.T) {
	deep, lib, app := s.artifact("deep"), s.artifact("lib"), s.artifact("app")
	s.builds("alice", "deep", s.from...)
	for _, who := range []string{"alice", "bob"} {
		s.builds(who, "lib", made("deep", deep), s.from[0])
	}
	for _, who := range []string{"bob", "carol"} {
		s.builds(who, "app", made("lib", lib), s.from[0])
	}
	v := s.want(t, s.policy, app, 3, "unproven", deep)
	if n := v.Ancestry.find(deep); n == nil || n.Verdict != "unproven" || !strings.Contains(strings.Join(n.Reasons, " "), "1 more of https://second.example (bob)") {
		t.Fatalf("the node that lacks a rebuilder is %+v", n)
	}
	code, out, _ := s.run("trace", app, "--policy", s.policy)
	marked := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, "toolchain deep") && strings.Contains(line, "unproven") {
			marked++
		}
	}
	if code != 3 || marked != 1 {
		t.Errorf("trace marks the node %d times, and exits with %d\n%s", marked, code, out)
	}
	s.reproduces("carol", "deep", "deep", s.from)
	s.want(t, s.policy, app, 0, "reproduced", "")
}
