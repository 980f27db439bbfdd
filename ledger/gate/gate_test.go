package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

// words are images that stand for their verdicts, and indexes of them.
func words() *fake {
	return &fake{
		verdicts: map[string]verify.Verdict{
			"good": verify.VerdictReproduced, "fine": verify.VerdictReproduced, "lacking": verify.VerdictUnproven,
			"bad": verify.VerdictDiffers, "broke": verify.VerdictFailed, "excepted": verify.VerdictUnproven, "owned": verify.VerdictReproduced,
			"refused": verify.VerdictDiffers,
		},
		excepted: map[string]bool{"excepted": true},
		broken:   map[string]bool{"down": true},
		instances: map[string][]string{
			"both": {"good", "fine"}, "half": {"good", "lacking"}, "spoilt": {"good", "bad"}, "owned": {"lacking"},
			"refused": {"good"}, "unsure": {"good", "down"}, "kept": {"good", "excepted"},
		},
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name, image string
		accepted    bool
		exit        int
		reason      string
	}{
		{"what is reproduced is accepted", "good", true, reason.ExitYes, ""},
		{"an exception is accepted", "excepted", true, reason.ExitYes, ""},
		{"too few is not", "lacking", false, reason.ExitUnproven, "1 of 2 operators"},
		{"what nobody tried is not", "unheard-of", false, reason.ExitUnproven, "nothing that counts is logged"},
		{"dissent is a definite no", "bad", false, reason.ExitNo, "1 of 2 operators"},
		{"a failure is a definite no", "broke", false, reason.ExitNo, "1 of 2 operators"},
		{"an index is accepted if each manifest is", "both", true, reason.ExitYes, ""},
		{"an index is not if one manifest lacks", "half", false, reason.ExitUnproven, string(digestOf("lacking")) + " is unproven"},
		{"an index is a definite no if a manifest is", "spoilt", false, reason.ExitNo, string(digestOf("bad")) + " is differs"},
		{"an index is accepted by its own digest", "owned", true, reason.ExitYes, ""},
		{"dissent about an index is not mended by its manifests", "refused", false, reason.ExitNo, "1 of 2 operators"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := words().gate().Judge(t.Context(), image(tt.image))
			if err != nil {
				t.Fatal(err)
			}
			if d.Accepted != tt.accepted || d.Exit() != tt.exit || d.Image != image(tt.image) {
				t.Errorf("accepted %v, exit %d: %q", d.Accepted, d.Exit(), d.Reasons)
			}
			if (len(d.Reasons) == 0) != tt.accepted || !strings.Contains(strings.Join(d.Reasons, "\n"), tt.reason) {
				t.Errorf("reasons %q, want %q", d.Reasons, tt.reason)
			}
		})
	}
}

func TestAnErrorIsNoDecision(t *testing.T) {
	for _, word := range []string{"down", "unsure"} {
		if d, err := words().gate().Judge(t.Context(), image(word)); !errors.Is(err, errNoAnswer) && (d == nil || d.Accepted) {
			t.Errorf("%s: %+v, %v", word, d, err)
		}
	}
	for name, r := range map[string]*verify.Report{
		"no report": nil, "the zero report": {}, "a report about another": {Artifact: digestOf("x"), Accepted: true, Verdict: verify.VerdictReproduced},
	} {
		g := &Gate{Decide: func(context.Context, Image) (*verify.Report, error) { return r, nil }}
		if d, err := g.Judge(t.Context(), image("good")); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if new(Decision).Exit() != reason.ExitUnproven {
		t.Error("the zero decision is a yes")
	}
}

func TestAnIndexThatCannotBeReadIsNotAccepted(t *testing.T) {
	g := words().gate()
	g.Instances = func(context.Context, Image) ([]leaf.Digest, error) { return nil, errors.New("no route") }
	d, err := g.Judge(t.Context(), image("both"))
	if err != nil || d.Accepted || !strings.Contains(strings.Join(d.Reasons, "\n"), "could not be read: no route") {
		t.Errorf("%+v, %v", d, err)
	}
	all, err := g.Expand(t.Context(), image("good"))
	if err != nil || len(all) != 1 || !all[0].Accepted || !strings.Contains(strings.Join(all[0].Remarks(), "\n"), "could not be read: no route") {
		t.Errorf("what is accepted by its own digest: %+v, %v", all, err)
	}
	g.Instances = func(context.Context, Image) ([]leaf.Digest, error) {
		return slices.Repeat([]leaf.Digest{digestOf("good")}, MaxInstances+1), nil
	}
	if d, err = g.Judge(t.Context(), image("huge")); err != nil || d.Accepted {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestExpandDecidesEachDigestOnItsOwn(t *testing.T) {
	tests := map[string]map[string]bool{
		"good":  {"good": true},
		"half":  {"half": false, "good": true, "lacking": false},
		"owned": {"owned": true, "lacking": false},
		"both":  {"both": true, "good": true, "fine": true},
		// Dissent about the index is not mended by its manifests.
		"refused": {"refused": false, "good": true},
		"unsure":  nil,
	}
	for word, want := range tests {
		all, err := words().gate().Expand(t.Context(), image(word))
		if want == nil {
			if err == nil {
				t.Errorf("%s: no error", word)
			}
			continue
		}
		got, wantDigests := make(map[leaf.Digest]bool), make(map[leaf.Digest]bool)
		for _, d := range all {
			got[d.Image.Digest] = d.Accepted
			if d.Image.Repository != image(word).Repository {
				t.Errorf("%s: decided about %s", word, d.Image)
			}
		}
		for w, accepted := range want {
			wantDigests[digestOf(w)] = accepted
		}
		if diff := cmp.Diff(wantDigests, got); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", word, diff, err)
		}
	}
}

func TestRemarks(t *testing.T) {
	d, err := words().gate().Judge(t.Context(), image("kept"))
	if err != nil || !d.Accepted {
		t.Fatal(d, err)
	}
	if got := d.Remarks(); len(got) != 1 || !strings.Contains(got[0], "is unproven, and accepted: by an exception") {
		t.Errorf("remarks %q", got)
	}
	d.Report = &verify.Report{Verdict: verify.VerdictReproduced, Accepted: true, Dissent: []verify.Dissent{{Operator: "https://eve.example", Result: leaf.Different, Entry: "log#7"}}}
	if got := d.Remarks(); len(got) != 2 || !strings.Contains(got[0], "in spite of https://eve.example, which says DIFFERENT in entry log#7") {
		t.Errorf("remarks %q", got)
	}
}

func TestParseImage(t *testing.T) {
	hex := strings.Repeat("ab", 32)
	for in, want := range map[string]string{
		"busybox":            "docker.io/library/busybox latest",
		"stagex/core-go:1.2": "docker.io/stagex/core-go 1.2",
		"registry.example:5000/a/b@sha256:" + hex: "registry.example:5000/a/b@sha256:" + hex + " ",
		"127.0.0.1:5000/a:t@sha256:" + hex:        "127.0.0.1:5000/a@sha256:" + hex + " ",
	} {
		img, tag, err := ParseImage(in)
		got := strings.TrimSuffix(img.String(), "@") + " " + tag
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "A/b", "../x", "a@sha256:12", "a@sha256:" + strings.ToUpper(hex), "a@sha512:" + hex + hex,
		hex, "http://a/b", "a b", strings.Repeat("a", 600)} {
		if img, _, err := ParseImage(in); err == nil {
			t.Errorf("%q is read as %s", in, img)
		}
	}
}

func TestScopes(t *testing.T) {
	hex := "@sha256:" + strings.Repeat("ab", 32)
	for in, has := range map[string]map[string]bool{
		"docker.io":                 {"docker.io/library/a": true, "docker.io.example/a": false},
		"docker.io/stagex":          {"docker.io/stagex/a": true, "docker.io/stagexx/a": false, "quay.io/stagex/a": false},
		"registry.example:5000/a/b": {"registry.example:5000/a/b": true, "registry.example:5000/a/b/c": true, "registry.example/a/b": false},
		"localhost":                 {"localhost/a": true},
		"127.0.0.1:5000":            {"127.0.0.1:5000/a": true},
	} {
		s, err := ParseScope(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		for ref, want := range has {
			img, _, err := ParseImage(ref + hex)
			if s.Has(img) != want || err != nil {
				t.Errorf("%s has %s: %v, %v", in, img, s.Has(img), err)
			}
		}
	}
	for _, in := range []string{"", "stagex", "library/a", "*.example.com", "docker.io/", "docker.io//a", "docker.io/a:tag", "docker.io/a" + hex, "Docker.io", "docker.io/../x", "index.docker.io/x"} {
		if s, err := ParseScope(in); err == nil {
			t.Errorf("%q is read as %s", in, s)
		}
	}
}
