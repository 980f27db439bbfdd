package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/cli"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
)

// world is a directory with a key, a policy and an artifact, and a ledger in
// memory that the commands ask.
type world struct {
	t   *testing.T
	dir string
	log *clienttest.Ledger
	env map[string]string
	in  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, "log.example/test")
}

func newWorldOf(t *testing.T, origin string) *world {
	t.Helper()
	l, err := clienttest.New(origin)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	w := &world{t: t, dir: t.TempDir(), log: l}
	w.write("policy", "log "+l.VKey()+"\nquorum none\n")
	w.write("hello.deb", "hello\n")
	w.env = map[string]string{"CAIRN_LEDGER": srv.URL, "CAIRN_POLICY": w.path("policy"), "XDG_STATE_HOME": w.path("state")}
	signer, private, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	w.write("alice.key", string(private))
	w.write("alice.key.pub", signer.Public.PEM)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// result is what came of one run.
type result struct {
	exit           int
	stdout, stderr string
}

// run runs the command. In its arguments, "@/" is the world's directory.
func (w *world) run(args ...string) result {
	w.t.Helper()
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "@/", w.dir+"/")
	}
	var out, errs strings.Builder
	code := cli.Run(w.t.Context(), args, cli.IO{
		In: strings.NewReader(w.in), Out: &out, Err: &errs,
		Getenv: func(k string) string { return w.env[k] },
	})
	return result{code, out.String(), errs.String()}
}

// must runs the command and returns its answer without the newline; anything
// but silent success fails the test.
func (w *world) must(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	if r.exit != 0 || r.stderr != "" {
		w.t.Fatalf("cairn %s: exit %d\n%s%s", strings.Join(args, " "), r.exit, r.stdout, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// failure is the JSON of a failure.
type failure struct {
	Schema, Error, Reason, Hint string
	Exit                        int
	Done                        any
}

// mustFail runs the command with -o json and returns its failure, which must be
// all there is on stdout and be told on stderr too.
func (w *world) mustFail(args ...string) failure {
	w.t.Helper()
	r := w.run(append(args, "-o", "json")...)
	var f failure
	if err := json.Unmarshal([]byte(r.stdout), &f); err != nil {
		w.t.Fatalf("cairn %s: exit %d, stdout is not one JSON document: %v\n%s%s", strings.Join(args, " "), r.exit, err, r.stdout, r.stderr)
	}
	if f.Schema != "cairn/error/v1" || f.Exit != r.exit || f.Exit == 0 || f.Hint == "" || f.Reason == "" {
		w.t.Errorf("cairn %s: exit %d, failure %+v", strings.Join(args, " "), r.exit, f)
	}
	if !strings.Contains(r.stderr, "cairn: error: ") || !strings.Contains(r.stderr, "\ncairn: hint: ") {
		w.t.Errorf("cairn %s: stderr lacks error or hint:\n%s", strings.Join(args, " "), r.stderr)
	}
	return f
}

// enrolled is a world whose ledger holds Alice's key.
func enrolled(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.must("enrol", "--key", "@/alice.key", "--operator", "https://alice.example")
	return w
}

func (w *world) build(args ...string) string {
	w.t.Helper()
	args = append([]string{"attest", "build", "--key", "@/alice.key", "--builder-id", "https://ci.example"}, args...)
	return w.must(args...) + "\n"
}

// TestHelpOfEveryCommand holds each command to having a summary without a full
// stop, an explanation, and examples that name it.
func TestHelpOfEveryCommand(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Long == "" {
			t.Errorf("%s: summary %q, explanation %q", path, c.Short, c.Long)
		}
		if topic := c.IsAdditionalHelpTopicCommand(); !topic {
			if n := strings.Count(c.Example, path); n < 2 {
				t.Errorf("%s has %d examples, want 2 at least", path, n)
			}
			var b strings.Builder
			cmdline.WriteHelp(&b, c)
			if !strings.HasSuffix(b.String(), c.Example+"\n") {
				t.Errorf("%s: the help does not end with the examples:\n%s", path, b.String())
			}
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(cli.Commands())
}

func TestExamplesParse(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, line := range strings.Split(strings.ReplaceAll(c.Example, "\\\n", " "), "\n") {
			for _, command := range strings.Split(line, "|") {
				checkExample(t, command)
			}
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(cli.Commands())
}

func checkExample(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	line, _, _ = strings.Cut(line, " >")
	line, _, _ = strings.Cut(line, " <")
	words := strings.Fields(strings.ReplaceAll(line, `"laptop stolen"`, "laptop-stolen"))
	if len(words) == 0 || words[0] != "cairn" {
		return
	}
	cmd, rest, err := cli.Commands().Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil && cmd.Args != nil {
		err = cmd.Args(cmd, cmd.Flags().Args())
	}
	if err != nil && cmd.Name() != "help" {
		t.Errorf("example %q: %v", line, err)
	}
}

// usageTest is a command line that is wrong, and what is said of it.
type usageTest struct{ args, errText, hint, wantReason string }

func TestUsageErrors(t *testing.T) {
	testUsage(t, []usageTest{
		{"bogus", `unknown command "bogus"`, "run `cairn --help`", "USAGE"},
		{"sho", `unknown command "sho"`, "did you mean `cairn show`?", "USAGE"},
		{"attest", "cairn attest needs a command", "run `cairn attest --help`", "USAGE"},
		{"attest biuld", `unknown command "biuld" for "cairn attest"`, "did you mean `cairn attest build`?", "USAGE"},
		{"show", "cairn show needs an argument", "run `cairn show --help`", "USAGE"},
		{"show 1 2", "cairn show takes at most 1 arguments", "run `cairn show --help`", "USAGE"},
		{"version x", `cairn version takes no argument, got "x"`, "run `cairn version --help`", "USAGE"},
		{"show --bogus", "unknown flag: --bogus", "run `cairn show --help`", "USAGE"},
		{"keygen", "no file is named", "run `cairn keygen -o FILE`", "USAGE"},
		{"keygen -o @/k --type rsa", "want ed25519 or p256", "--help", "USAGE"},
		{"keygen -o @/alice.key", "alice.key exists", "choose another name", "USAGE"},
		{"submit @/hello.deb --wait never", "want published or sequenced", "--help", "USAGE"},
		{"show 1 --color red", "want auto, always or never", "--help", "USAGE"},
		{"show sha256:abc", "invalid digest", "--help", "USAGE"},
		{"show pkg:", "parsing package URL", "purl specification", "PURL_INVALID"},
		{"show https://x.example/", "is a URL", "--ledger", "USAGE"},
		{"show nowhere", "opening nowhere: no such file", "cairn help names", "FILE_UNREADABLE"},
		{"show 1 --policy @/hello.deb", "reading policy", "correct the line", "POLICY_INVALID"},
		{"show 1 --policy nowhere", "opening policy nowhere", "name and permissions", "FILE_UNREADABLE"},
		{"show 1 --ledger ftp://x", "is not of the form", "CAIRN_LEDGER", "USAGE"},
		{"list @/hello.deb @/alice.key.pub", "takes at most 1", "--help", "USAGE"},
		{"list @/hello.deb --key @/alice.key.pub", "2 things are named", "give one", "USAGE"},
		{"list --key @/hello.deb", "names no key", "--help", "USAGE"},
		{"list --name @/hello.deb", "names no package", "--help", "USAGE"},
		{"list --digest pkg:oci/x", "names no digest", "--help", "USAGE"},
		{"list 7", "an index names one entry", "cairn show", "USAGE"},
		{"log entry @/hello.deb", "names no entry", "cairn show", "USAGE"},
		{"enrol --operator https://a.example", "no key is named", "cairn keygen", "USAGE"},
		{"enrol --key @/alice.key", "no operator is named", "--operator", "USAGE"},
		{"enrol --key @/alice.key --operator alice --dry-run", "not an absolute URI", "cairn enrol", "ENROLMENT_INVALID"},
		{"enrol --key @/hello.deb --operator https://a.example", "no PEM block PRIVATE KEY", "Ed25519", "KEY_UNSUPPORTED"},
		{"help bogus", "there is no command or topic", "cairn help", "USAGE"},
	})
}

func TestUsageErrorsAboutArtifacts(t *testing.T) {
	testUsage(t, []usageTest{
		{"verify", "no artifact is named", "cairn help names", "USAGE"},
		{"verify @/hello.deb --at yesterday", `--at "yesterday" is no time`, "2026-11-21", "USAGE"},
		{"verify @/hello.deb --name x", "reading --name", "purl specification", "PURL_INVALID"},
		{"verify @/hello.deb --key @/alice.key", "--key is for --vsa and --proof", "--vsa", "USAGE"},
		{"verify @/hello.deb --proof x --vsa y", "--proof and --logged are about one attestation", "leave one", "USAGE"},
		{"verify @/hello.deb --bundle nowhere", "opening bundle nowhere", "permissions", "FILE_UNREADABLE"},
		{"verify registry.example/a/b@sha256:1", "does not end in @sha256:", "HOST/PATH", "USAGE"},
		{"bundle @/hello.deb", "no file is named", "-O FILE", "USAGE"},
		{"bundle @/hello.deb -O - -o json", "stdout cannot have both", "-O FILE", "USAGE"},
		{"status @/hello.deb --filter good", "is no verdict", "reproduced, differs", "USAGE"},
		{"trace @/hello.deb --quorum 0", "proves nothing", "at least 1", "USAGE"},
	})
}

func testUsage(t *testing.T, tests []usageTest) {
	t.Helper()
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			w.t = t
			f := w.mustFail(strings.Fields(tt.args)...)
			if f.Exit != 2 || f.Reason != tt.wantReason || !strings.Contains(f.Error, tt.errText) || !strings.Contains(f.Hint, tt.hint) {
				t.Errorf("got %+v, want error %q, hint %q, reason %s", f, tt.errText, tt.hint, tt.wantReason)
			}
		})
	}
}

func TestNoLedger(t *testing.T) {
	w := newWorld(t)
	delete(w.env, "CAIRN_LEDGER")
	f := w.mustFail("show", "1")
	want := failure{Schema: "cairn/error/v1", Error: "no ledger is named", Reason: "USAGE", Hint: "give --ledger URL, or the directory of a mirror, or set CAIRN_LEDGER", Exit: 2}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
}

func TestWithoutPolicyItSaysSoOnce(t *testing.T) {
	w := enrolled(t)
	delete(w.env, "CAIRN_POLICY")
	r := w.run("show", "0")
	if r.exit != 0 || strings.Count(r.stderr, "signature is not checked") != 1 || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("exit %d, stderr %q", r.exit, r.stderr)
	}
	if !strings.Contains(r.stdout, "signature not checked") {
		t.Errorf("the answer does not say so:\n%s", r.stdout)
	}
	if r := w.run("show", "0", "-q"); r.exit != 0 || r.stderr != "" {
		t.Errorf("with -q: exit %d, stderr %q", r.exit, r.stderr)
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	w := enrolled(t)
	ledger := w.env["CAIRN_LEDGER"]
	w.env["CAIRN_LEDGER"] = "http://127.0.0.1:1"
	w.env["CAIRN_POLICY"] = w.path("nowhere")
	w.must("show", "0", "--ledger", ledger, "--policy", "@/policy")
}

func TestUnreachableLedger(t *testing.T) {
	w := newWorld(t)
	w.env["CAIRN_LEDGER"] = "http://127.0.0.1:1"
	f := w.mustFail("show", "1")
	if f.Exit != 4 || f.Reason != "LEDGER_UNREACHABLE" {
		t.Errorf("failure %+v", f)
	}
}

func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	code := cli.Run(ctx, []string{"show", "1", "-o", "json"}, cli.IO{Out: &out, Err: &errs, Getenv: func(k string) string { return w.env[k] }})
	if code != 4 || !strings.Contains(out.String(), `"reason":"INTERRUPTED"`) {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAnswerThatCannotBeWritten(t *testing.T) {
	var errs strings.Builder
	code := cli.Run(t.Context(), []string{"version"}, cli.IO{Out: fullDisk{}, Err: &errs, Getenv: os.Getenv})
	if code != 4 || !strings.Contains(errs.String(), "writing the answer: no space left") {
		t.Errorf("exit %d, stderr %q", code, errs.String())
	}
}

func TestColourOnlyWhereWanted(t *testing.T) {
	w := newWorld(t)
	if r := w.run("show"); strings.Contains(r.stderr, "\x1b") {
		t.Errorf("colour into a pipe: %q", r.stderr)
	}
	if r := w.run("show", "--color", "always"); !strings.Contains(r.stderr, "cairn: \x1b[1;31merror:\x1b[0m ") {
		t.Errorf("no colour with --color always: %q", r.stderr)
	}
}
