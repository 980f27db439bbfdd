// Package cli is the command line of cairn: flags and files in, one call of a
// library, one answer out. Each command is in a file of its own.
//
// Invariants:
//   - stdout holds the answer and nothing else: as text, or with -o json as one
//     JSON document whose schema member says what it is, of a failure too.
//   - Every failure says what was being done, and what to do next.
//   - The exit code is that of package reason's table.
//   - Where a policy is given, no answer of a ledger is shown before its
//     checkpoint satisfied the policy.
//   - What others wrote is printed through package term.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/cmd/cairn/internal/term"
	"github.com/cairnlog/cairn/ledger/client"
)

// IO is what a run of the command is connected to.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// app is one run of the command: its connections and global flags.
type app struct {
	io     IO
	stdout *firstError

	ledger  string
	policy  string
	format  string // text or json
	colour  string // auto, always or never
	quiet   bool
	timeout time.Duration
}

// Run runs the command with args, and returns its exit code.
func Run(ctx context.Context, args []string, stdio IO) int {
	a, root := newApp(stdio)
	root.SetArgs(append([]string{}, args...)) // not nil: cobra would read the process's own
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && a.stdout.err != nil {
		err = unwritable("writing the answer", a.stdout.err)
	}
	if err == nil {
		return 0
	}
	return a.fail(cmd, args, err)
}

// Commands returns the tree of commands, for the reference that is generated
// from it.
func Commands() *cobra.Command {
	_, root := newApp(IO{Out: io.Discard, Err: io.Discard, Getenv: func(string) string { return "" }})
	return root
}

func newApp(stdio IO) (*app, *cobra.Command) {
	a := &app{io: stdio, stdout: &firstError{w: stdio.Out}}
	a.io.Out = a.stdout
	return a, a.newRoot()
}

func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "Attest builds and rebuilds, log them, and check what is logged",
		Long: `Cairn is an append-only, witnessed ledger of who built and who rebuilt what.
This command makes signed attestations, submits them to a ledger, and holds
the ledger to what it answers.`,
		Example: `  cairn keygen -o alice.key
  cairn enrol --key alice.key --operator https://alice.example
  cairn attest reproduction --of hello.deb --output rebuilt/hello.deb \
      --rebuilder-id https://alice.example/ci --key alice.key | cairn submit -
  cairn show hello.deb`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(a.io.In)
	root.SetOut(a.io.Out)
	root.SetErr(a.io.Err)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { WriteHelp(cmd.OutOrStdout(), cmd) })
	root.PersistentFlags().SortFlags = false
	f := root.PersistentFlags()
	f.StringVar(&a.ledger, "ledger", "", "the ledger's `URL` (default $CAIRN_LEDGER)")
	f.StringVar(&a.policy, "policy", "", "hold the ledger to the policy in `FILE` (default $CAIRN_POLICY)")
	a.choiceVar(root, f, &a.format, "format", "o", "answer as", "text", "json")
	a.choiceVar(root, f, &a.colour, "color", "", "use colour", "auto", "always", "never")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing beside the answer and errors")
	f.DurationVar(&a.timeout, "timeout", client.DefaultTimeout, "wait at most `DURATION` for each answer of the ledger")
	root.SetHelpCommand(newHelp())
	root.AddCommand(
		a.newKeygen(), a.newEnrol(), a.newRevoke(), a.newAttest(), a.newSubmit(),
		a.newShow(), a.newList(), a.newLog(), a.newVerify(), a.newEvidence(), a.newVersion(),
		newExitCodesTopic(), newIdentifiersTopic(),
	)
	return root
}

// run makes a command of f. Errors from f are told apart from those that cobra
// finds in the command line.
func (a *app) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.ledger == "" {
			a.ledger = a.io.Getenv("CAIRN_LEDGER")
		}
		if a.policy == "" {
			a.policy = a.io.Getenv("CAIRN_POLICY")
		}
		if err := f(cmd.Context(), args); err != nil {
			return &runError{err}
		}
		return nil
	}
}

// anyNumber is for takes.
const anyNumber = -1

// takes bounds the number of arguments.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		switch {
		case n >= least && (n <= most || most == anyNumber):
			return nil
		case most == 0:
			return fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])
		case n < least:
			return fmt.Errorf("%s needs an argument", cmd.CommandPath())
		}
		return fmt.Errorf("%s takes at most %d arguments, got %d; the last is %q", cmd.CommandPath(), most, n, args[n-1])
	}
}

// newGroup returns a command that only has commands.
func newGroup(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	// Without this, cobra prints help and reports success.
	cmd.Args = takes(0, anyNumber)
	cmd.SuggestionsMinimumDistance = 2 // which cobra sets for the root alone
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			err := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err += "\n\nDid you mean this?\n\t" + strings.Join(near, "\n\t") // as cobra does for the root
			}
			return errors.New(err)
		}
		return fmt.Errorf("%s needs a command", cmd.CommandPath())
	}
	return cmd
}

// answer prints v: as JSON, or as text writes it.
func (a *app) answer(v any, text func(term.Printer)) {
	if a.format == "json" {
		a.answerJSON(v)
		return
	}
	text(a.printer(a.io.Out))
}

// answerJSON prints v. Errors of writing are found at the end of the run; v is
// one of our own structs, which always encode.
func (a *app) answerJSON(v any) {
	e := json.NewEncoder(a.io.Out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

func (a *app) printer(w io.Writer) term.Printer {
	under := w
	if w == a.io.Out {
		under = a.stdout.w
	}
	return term.Printer{W: w, Colour: term.WantColour(a.colour, a.io.Getenv, under)}
}

// note tells the user something beside the answer.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		a.printer(a.io.Err).Printf("cairn: note: "+format+"\n", args...)
	}
}

// firstError remembers the first error of a writer, so that an answer that was
// cut short is not a success.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}

// choiceVar defines a flag that takes one of a few words, the first of which is
// the default.
func (a *app) choiceVar(cmd *cobra.Command, f *pflag.FlagSet, p *string, name, short, usage string, words ...string) {
	*p = words[0]
	f.VarP(&choice{p, words}, name, short, usage+" "+orList(words))
	complete(cmd, name, words)
}

// optionVar is choiceVar without a default.
func optionVar(cmd *cobra.Command, p *string, name, usage string, words ...string) {
	cmd.Flags().Var(&choice{p, words}, name, usage+" "+orList(words))
	complete(cmd, name, words)
}

func complete(cmd *cobra.Command, name string, words []string) {
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// choice is a flag's value that is one of a few words.
type choice struct {
	value *string
	words []string
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return "WORD" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want %s", orList(c.words))
	}
	*c.value = s
	return nil
}

func orList(words []string) string {
	s := words[0]
	for i, w := range words[1:] {
		if i == len(words)-2 {
			s += " or " + w
		} else {
			s += ", " + w
		}
	}
	return s
}
