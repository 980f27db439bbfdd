package cmdline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
)

// The reasons of the command line itself, beside those of package reason.
const (
	UsageWrong        reason.Reason = "USAGE"
	PolicyInvalid     reason.Reason = "POLICY_INVALID"
	FileUnreadable    reason.Reason = "FILE_UNREADABLE"
	FileUnwritable    reason.Reason = "FILE_UNWRITABLE"
	NothingFound      reason.Reason = "NOTHING_FOUND"
	LedgerUnreachable reason.Reason = "LEDGER_UNREACHABLE"
	Interrupted       reason.Reason = "INTERRUPTED"
	LogMisbehaved     reason.Reason = "LOG_MISBEHAVED"
	LedgerBehind      reason.Reason = "LEDGER_BEHIND"
	BundleInvalid     reason.Reason = "BUNDLE_INVALID"
	EvidenceLacking   reason.Reason = "EVIDENCE_LACKING"
	RekorUnanswered   reason.Reason = "REKOR_UNANSWERED"
	RekorUnproven     reason.Reason = "REKOR_UNPROVEN"

	// Of imports alone.
	SourceUnreachable  reason.Reason = "SOURCE_UNREACHABLE"
	SourceIncomplete   reason.Reason = "SOURCE_INCOMPLETE"
	SignatureMisplaced reason.Reason = "SIGNATURE_MISPLACED"

	// Of cairn-builder alone.
	TreeInvalid       reason.Reason = "TREE_INVALID"
	SourceMissing     reason.Reason = "SOURCE_MISSING"
	StepFailed        reason.Reason = "STEP_FAILED"
	GateShut          reason.Reason = "GATE_SHUT"
	NotBuilt          reason.Reason = "NOT_BUILT"
	EngineUnavailable reason.Reason = "ENGINE_UNAVAILABLE"
)

// LocalReasons are the rows of the reasons that only the command line has.
func LocalReasons() []reason.Row {
	return slices.Concat(ownReasons(), othersReasons(), builderReasons())
}

func ownReasons() []reason.Row {
	return []reason.Row{
		{Reason: UsageWrong, Exit: reason.ExitUsage,
			Meaning: "The command line is incomplete, malformed or contradicts itself.",
			Advice:  "See the command's --help."},
		{Reason: PolicyInvalid, Exit: reason.ExitUsage,
			Meaning: "The policy file does not parse.",
			Advice:  "Correct the line that the message names; a minimal policy is `log VKEY` and `quorum none`."},
		{Reason: FileUnreadable, Exit: reason.ExitUsage,
			Meaning: "A file that was named cannot be read.",
			Advice:  "Check its name and permissions."},
		{Reason: FileUnwritable, Exit: reason.ExitNotAsked,
			Meaning: "A file or stdout cannot be written.",
			Advice:  "Check its directory, permissions and space."},
		{Reason: NothingFound, Exit: reason.ExitUnproven,
			Meaning: "The ledger holds nothing about what was asked.",
			Advice:  "Check the digest or name; a new entry is published within seconds."},
		{Reason: LedgerUnreachable, Exit: reason.ExitNotAsked,
			Meaning: "The ledger did not answer, or something else answered in its place.",
			Advice:  "Check the ledger's URL and that it runs, then try again: a retry is safe."},
		{Reason: Interrupted, Exit: reason.ExitNotAsked,
			Meaning: "The command was interrupted.",
			Advice:  "Run it again: a retry is safe."},
		{Reason: LogMisbehaved, Exit: reason.ExitMisbehave,
			Meaning: "The ledger's answer contradicts itself, what was asked, an earlier checkpoint or the policy.",
			Advice:  "Check that the policy is for this log; if it is, keep the answer as evidence and tell the log's witnesses."},
		{Reason: LedgerBehind, Exit: reason.ExitUnproven,
			Meaning: "The ledger or mirror is behind a checkpoint that was seen before, and does not show that the two agree.",
			Advice:  "Ask one that is up to date, or this one once it has caught up."},
		{Reason: BundleInvalid, Exit: reason.ExitNo,
			Meaning: "The bundle is not one, or an entry in it does not verify: nothing of it is believed.",
			Advice:  "Check that the policy is for the bundle's log; if it is, get the bundle again."},
		{Reason: EvidenceLacking, Exit: reason.ExitUnproven,
			Meaning: "Nothing is wrong with the evidence, but it is not enough to be believed: its checkpoint lacks cosignatures, or they are too old, or its log is not the policy's.",
			Advice:  "See what the message says is lacking; collect the evidence again if it is old, or judge it with --at TIME."},
	}
}

// othersReasons are about what other projects serve: sources of imports, and Rekor
// logs.
func othersReasons() []reason.Row {
	return []reason.Row{
		{Reason: RekorUnanswered, Exit: reason.ExitNotAsked,
			Meaning: "The Rekor log did not answer, or refused what was asked of it.",
			Advice:  "Check --rekor and what the log says, then try again: a retry is safe."},
		{Reason: RekorUnproven, Exit: reason.ExitMisbehave,
			Meaning: "What the Rekor log answered is not proven by its pinned key, or is not what was asked for.",
			Advice:  "Check that --rekor-key is the key of that log, and of the entry's shard; if it is, tell the log's operator."},
		{Reason: SourceUnreachable, Exit: reason.ExitNotAsked,
			Meaning: "A source that is imported did not answer, or not as it should.",
			Advice:  "Check its URL, then run the import again: what is logged stays logged, and --state FILE spares getting it again."},
		{Reason: SourceIncomplete, Exit: reason.ExitNo,
			Meaning: "A source that is imported names something that it does not give, or does not say enough of it to log anything.",
			Advice:  "See what the report says is lacking; the import may be run again once it is there."},
		{Reason: SignatureMisplaced, Exit: reason.ExitNo,
			Meaning: "A signature is over something else than the name of its file says.",
			Advice:  "Tell whoever keeps the signatures; if it is meant to be logged all the same, submit the file itself."},
	}
}

func builderReasons() []reason.Row {
	return []reason.Row{
		{Reason: TreeInvalid, Exit: reason.ExitUsage,
			Meaning: "The package tree is not one, or a file of it says something that is not understood.",
			Advice:  "Name a tree with --tree DIR, and mend the file and line that the message names."},
		{Reason: SourceMissing, Exit: reason.ExitNotAsked,
			Meaning: "A source of a package is not in the store, and none of its mirrors gave it.",
			Advice:  "Run `cairn-builder fetch`, with --from DIR for files and git repositories at hand."},
		{Reason: StepFailed, Exit: reason.ExitNo,
			Meaning: "A step of a package's Containerfile failed.",
			Advice:  "Read what the step wrote, above; a step has no network, and sees only what its Containerfile names."},
		{Reason: GateShut, Exit: reason.ExitUnproven,
			Meaning: "Too few independent results agree on an image for anything to be built upon it.",
			Advice:  "Have it reproduced by others, or wait for them with --gate-wait DURATION."},
		{Reason: NotBuilt, Exit: reason.ExitNo,
			Meaning: "An image was taken from elsewhere, and was to be attested as built.",
			Advice:  "Build it with `cairn-builder build --no-cache` first."},
		{Reason: EngineUnavailable, Exit: reason.ExitNotAsked,
			Meaning: "The engine that runs builds could not be started or reached, or ended.",
			Advice:  "Run as root where `make deps` installed the engine, or name one with --engine-address."},
	}
}

// Lookup returns the row of a reason, local ones included.
func Lookup(r reason.Reason) reason.Row {
	local := LocalReasons()
	if i := slices.IndexFunc(local, func(row reason.Row) bool { return row.Reason == r }); i >= 0 {
		return local[i]
	}
	return reason.Lookup(r)
}

// Problem is an error for which the command line knows the reason.
type Problem struct {
	Reason reason.Reason
	Err    error
	Hint   string // the reason's advice if empty
	Done   any    // what was achieved before, for JSON
}

func (p *Problem) Error() string { return p.Err.Error() }
func (p *Problem) Unwrap() error { return p.Err }

// runError is an error of a command that ran; all others are cobra's, about the
// command line.
type runError struct{ error }

func (e *runError) Unwrap() error { return e.error }

// Silent ends the run with an exit code once the answer says why.
type Silent struct{ Exit int }

func (s *Silent) Error() string { return fmt.Sprintf("exit %d", s.Exit) }

// Usagef reports a wrong command line. Without a hint, it is to read the
// command's help.
func Usagef(hint, format string, args ...any) error {
	return &Problem{Reason: UsageWrong, Err: fmt.Errorf(format, args...), Hint: hint}
}

func Unreadable(doing string, err error) error {
	return &Problem{Reason: FileUnreadable, Err: fmt.Errorf("%s: %w", doing, err)}
}

func Unwritable(doing string, err error) error {
	return &Problem{Reason: FileUnwritable, Err: fmt.Errorf("%s: %w", doing, err)}
}

// Doing adds what was being done to an error, and keeps its reason.
func Doing(what string, err error) error {
	p := Classify(err)
	p.Err = fmt.Errorf("%s: %w", what, p.Err)
	return p
}

// After adds what was achieved before an error.
func After(done any, err error) error {
	p := Classify(err)
	p.Done = done
	return p
}

// Classify finds the reason of an error. The order matters: misbehaviour may
// have a refusal as its cause.
func Classify(err error) *Problem {
	var p *Problem
	var misbehaved *client.MisbehaviourError
	var unanswered *client.UnansweredError
	switch {
	case errors.As(err, &p):
		q := *p
		q.Err = err
		return &q
	case errors.As(err, &misbehaved):
		return &Problem{Reason: LogMisbehaved, Err: err}
	case errors.Is(err, context.Canceled):
		return &Problem{Reason: Interrupted, Err: err}
	case errors.As(err, &unanswered):
		return &Problem{Reason: LedgerUnreachable, Err: err}
	}
	if e, ok := reason.Of(err); ok {
		return &Problem{Reason: e.Reason, Err: err}
	}
	return &Problem{Reason: reason.InternalError, Err: err}
}

// failure is the JSON of a failed run.
type failure struct {
	Schema string        `json:"schema"` // cairn/error/v1
	Error  string        `json:"error"`
	Reason reason.Reason `json:"reason"`
	Hint   string        `json:"hint"`
	Exit   int           `json:"exit"`
	// Done is what was achieved before the failure, in the form of the
	// command's answer.
	Done any `json:"done,omitempty"`
}

// fail reports err, and returns the exit code.
func (a *App) fail(cmd *cobra.Command, args []string, err error) int {
	var s *Silent
	if errors.As(err, &s) {
		return s.Exit
	}
	p := a.problemOf(cmd, err)
	f := failure{
		Schema: "cairn/error/v1",
		Error:  p.Err.Error(),
		Reason: p.Reason,
		Hint:   p.Hint,
		Exit:   Lookup(p.Reason).Exit,
		Done:   p.Done,
	}
	if a.Format == "json" || asksForJSON(args) {
		a.AnswerJSON(f)
	}
	w := a.Printer(a.Err)
	w.Printf(a.name+": %s %s\n", w.Paint(term.Bad, "error:"), f.Error)
	w.Printf(a.name+": %s %s\n", w.Paint(term.Good, "hint:"), f.Hint)
	return f.Exit
}

func (a *App) problemOf(cmd *cobra.Command, err error) *Problem {
	var ran *runError
	var p *Problem
	if errors.As(err, &ran) || errors.As(err, &p) {
		if ran != nil {
			err = ran.error
		}
		p = Classify(err)
	} else {
		// Of cobra's message, the lines after the first are suggestions.
		first, rest, _ := strings.Cut(err.Error(), "\n")
		p = &Problem{Reason: UsageWrong, Err: errors.New(first)}
		if words := strings.Fields(rest); strings.Contains(rest, "Did you mean") && len(words) > 4 {
			p.Hint = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), strings.Join(words[4:], "` or `"+cmd.CommandPath()+" "))
		}
	}
	if p.Hint == "" && p.Reason == UsageWrong {
		p.Hint = fmt.Sprintf("run `%s --help`", cmd.CommandPath())
	}
	if p.Hint == "" {
		p.Hint = asHint(Lookup(p.Reason).Advice)
	}
	return p
}

// asHint turns a sentence of the documentation into a hint: no capital, no
// full stop.
func asHint(advice string) string {
	s := strings.TrimSuffix(advice, ".")
	r := []rune(s)
	if len(r) > 1 && unicode.IsUpper(r[0]) && !unicode.IsUpper(r[1]) {
		r[0] = unicode.ToLower(r[0])
	}
	return string(r)
}

// asksForJSON reports whether args ask for JSON, for a command line that was
// not parsed that far.
func asksForJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "-ojson", "-o=json", "--format=json":
			return true
		case "-o", "--format":
			if i+1 < len(args) && args[i+1] == "json" {
				return true
			}
		case "--":
			return false
		}
	}
	return false
}
