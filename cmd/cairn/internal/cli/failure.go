package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/term"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
)

// The reasons of the command line itself, beside those of package reason.
const (
	usageWrong        reason.Reason = "USAGE"
	policyInvalid     reason.Reason = "POLICY_INVALID"
	fileUnreadable    reason.Reason = "FILE_UNREADABLE"
	fileUnwritable    reason.Reason = "FILE_UNWRITABLE"
	nothingFound      reason.Reason = "NOTHING_FOUND"
	ledgerUnreachable reason.Reason = "LEDGER_UNREACHABLE"
	interrupted       reason.Reason = "INTERRUPTED"
	logMisbehaved     reason.Reason = "LOG_MISBEHAVED"
)

// LocalReasons are the rows of the reasons that only the command line has.
func LocalReasons() []reason.Row {
	return []reason.Row{
		{Reason: usageWrong, Exit: reason.ExitUsage,
			Meaning: "The command line is incomplete, malformed or contradicts itself.",
			Advice:  "See the command's --help."},
		{Reason: policyInvalid, Exit: reason.ExitUsage,
			Meaning: "The policy file does not parse.",
			Advice:  "Correct the line that the message names; a minimal policy is `log VKEY` and `quorum none`."},
		{Reason: fileUnreadable, Exit: reason.ExitUsage,
			Meaning: "A file that was named cannot be read.",
			Advice:  "Check its name and permissions."},
		{Reason: fileUnwritable, Exit: reason.ExitNotAsked,
			Meaning: "A file or stdout cannot be written.",
			Advice:  "Check its directory, permissions and space."},
		{Reason: nothingFound, Exit: reason.ExitUnproven,
			Meaning: "The ledger holds nothing about what was asked.",
			Advice:  "Check the digest or name; a new entry is published within seconds."},
		{Reason: ledgerUnreachable, Exit: reason.ExitNotAsked,
			Meaning: "The ledger did not answer, or something else answered in its place.",
			Advice:  "Check the ledger's URL and that it runs, then try again: a retry is safe."},
		{Reason: interrupted, Exit: reason.ExitNotAsked,
			Meaning: "The command was interrupted.",
			Advice:  "Run it again: a retry is safe."},
		{Reason: logMisbehaved, Exit: reason.ExitMisbehave,
			Meaning: "The ledger's answer contradicts itself, what was asked, an earlier checkpoint or the policy.",
			Advice:  "Check that the policy is for this log; if it is, keep the answer as evidence and tell the log's witnesses."},
	}
}

// lookup returns the row of a reason, local ones included.
func lookup(r reason.Reason) reason.Row {
	local := LocalReasons()
	if i := slices.IndexFunc(local, func(row reason.Row) bool { return row.Reason == r }); i >= 0 {
		return local[i]
	}
	return reason.Lookup(r)
}

// problem is an error for which the command line knows the reason.
type problem struct {
	reason reason.Reason
	err    error
	hint   string // the reason's advice if empty
	done   any    // what was achieved before, for JSON
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// runError is an error of a command that ran; all others are cobra's, about the
// command line.
type runError struct{ error }

func (e *runError) Unwrap() error { return e.error }

// silent ends the run with an exit code once the answer says why.
type silent struct{ exit int }

func (s *silent) Error() string { return fmt.Sprintf("exit %d", s.exit) }

// usagef reports a wrong command line. Without a hint, it is to read the
// command's help.
func usagef(hint, format string, args ...any) error {
	return &problem{reason: usageWrong, err: fmt.Errorf(format, args...), hint: hint}
}

func unreadable(doing string, err error) error {
	return &problem{reason: fileUnreadable, err: fmt.Errorf("%s: %w", doing, err)}
}

func unwritable(doing string, err error) error {
	return &problem{reason: fileUnwritable, err: fmt.Errorf("%s: %w", doing, err)}
}

// doing adds what was being done to an error, and keeps its reason.
func doing(what string, err error) error {
	p := classify(err)
	p.err = fmt.Errorf("%s: %w", what, p.err)
	return p
}

// after adds what was achieved before an error.
func after(done any, err error) error {
	p := classify(err)
	p.done = done
	return p
}

// classify finds the reason of an error. The order matters: misbehaviour may
// have a refusal as its cause.
func classify(err error) *problem {
	var p *problem
	var misbehaved *client.MisbehaviourError
	var unanswered *client.UnansweredError
	switch {
	case errors.As(err, &p):
		q := *p
		q.err = err
		return &q
	case errors.As(err, &misbehaved):
		return &problem{reason: logMisbehaved, err: err}
	case errors.Is(err, context.Canceled):
		return &problem{reason: interrupted, err: err}
	case errors.As(err, &unanswered):
		return &problem{reason: ledgerUnreachable, err: err}
	}
	if e, ok := reason.Of(err); ok {
		return &problem{reason: e.Reason, err: err}
	}
	return &problem{reason: reason.InternalError, err: err}
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
func (a *app) fail(cmd *cobra.Command, args []string, err error) int {
	var s *silent
	if errors.As(err, &s) {
		return s.exit
	}
	p := a.problemOf(cmd, err)
	f := failure{
		Schema: "cairn/error/v1",
		Error:  p.err.Error(),
		Reason: p.reason,
		Hint:   p.hint,
		Exit:   lookup(p.reason).Exit,
		Done:   p.done,
	}
	if a.format == "json" || asksForJSON(args) {
		a.answerJSON(f)
	}
	w := a.printer(a.io.Err)
	w.Printf("cairn: %s %s\n", w.Paint(term.Bad, "error:"), f.Error)
	w.Printf("cairn: %s %s\n", w.Paint(term.Good, "hint:"), f.Hint)
	return f.Exit
}

func (a *app) problemOf(cmd *cobra.Command, err error) *problem {
	var ran *runError
	var p *problem
	if errors.As(err, &ran) || errors.As(err, &p) {
		if ran != nil {
			err = ran.error
		}
		p = classify(err)
	} else {
		// Of cobra's message, the lines after the first are suggestions.
		first, rest, _ := strings.Cut(err.Error(), "\n")
		p = &problem{reason: usageWrong, err: errors.New(first)}
		if words := strings.Fields(rest); strings.Contains(rest, "Did you mean") && len(words) > 4 {
			p.hint = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), strings.Join(words[4:], "` or `"+cmd.CommandPath()+" "))
		}
	}
	if p.hint == "" && p.reason == usageWrong {
		p.hint = fmt.Sprintf("run `%s --help`", cmd.CommandPath())
	}
	if p.hint == "" {
		p.hint = asHint(lookup(p.reason).Advice)
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
