// Package cmdline is what Cairn's command lines have in common: how they take
// flags, answer, fail and explain themselves.
//
// Invariants:
//   - stdout holds the answer and nothing else: as text, or with -o json as one
//     JSON document whose schema member says what it is, of a failure too.
//   - Every failure says what was being done, and what to do next.
//   - The exit code is that of package reason's table.
//   - What others wrote is printed through package term.
package cmdline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/cmd/internal/term"
)

// IO is what a run of a command is connected to.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// App is one run of a command: its connections, and the flags that all commands
// have.
type App struct {
	IO
	Format string // text or json
	Quiet  bool

	name   string // of the command
	colour string // auto, always or never
	stdout *firstError
}

// NewApp returns a run of the command with the given name.
func NewApp(name string, stdio IO) *App {
	a := &App{IO: stdio, name: name, stdout: &firstError{w: stdio.Out}}
	a.Out = a.stdout
	return a
}

// Connect connects the root command to the run.
func (a *App) Connect(root *cobra.Command) {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { WriteHelp(cmd.OutOrStdout(), cmd) })
	root.SetHelpCommand(newHelp(a.name))
	root.PersistentFlags().SortFlags = false
}

// AnswerFlags defines the flags that say how to answer.
func (a *App) AnswerFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	ChoiceVar(root, f, &a.Format, "format", "o", "answer as", "text", "json")
	ChoiceVar(root, f, &a.colour, "color", "", "use colour", "auto", "always", "never")
	f.BoolVarP(&a.Quiet, "quiet", "q", false, "say nothing beside the answer and errors")
}

// Run runs the command with args, and returns its exit code.
func (a *App) Run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(append([]string{}, args...)) // not nil: cobra would read the process's own
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && a.stdout.err != nil {
		err = Unwritable("writing the answer", a.stdout.err)
	}
	if err == nil {
		return 0
	}
	return a.fail(cmd, args, err)
}

// RunE makes a command of f. Errors from f are told apart from those that cobra
// finds in the command line.
func RunE(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd.Context(), args); err != nil {
			return &runError{err}
		}
		return nil
	}
}

// Answer prints v: as JSON, or as text writes it.
func (a *App) Answer(v any, text func(term.Printer)) {
	if a.Format == "json" {
		a.AnswerJSON(v)
		return
	}
	text(a.Printer(a.Out))
}

// AnswerJSON prints v. Errors of writing are found at the end of the run; v is
// one of our own structs, which always encode.
func (a *App) AnswerJSON(v any) {
	e := json.NewEncoder(a.Out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// Printer returns a Printer on w, in colour where that is wanted.
func (a *App) Printer(w io.Writer) term.Printer {
	under := w
	if w == a.Out {
		under = a.stdout.w
	}
	return term.Printer{W: w, Colour: term.WantColour(a.colour, a.Getenv, under)}
}

// OutIsTerminal reports whether stdout is a terminal.
func (a *App) OutIsTerminal() bool { return term.IsTerminal(a.stdout.w) }

// Progress shows how far a long piece of work is, on stderr.
func (a *App) Progress() *term.Progress {
	if a.Quiet {
		return term.NewProgress(nil)
	}
	return term.NewProgress(a.Err)
}

// Note tells the user something beside the answer.
func (a *App) Note(format string, args ...any) {
	if !a.Quiet {
		a.Printer(a.Err).Printf(a.name+": note: "+format+"\n", args...)
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

// AnyNumber is for Takes.
const AnyNumber = -1

// Takes bounds the number of arguments.
func Takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		switch {
		case n >= least && (n <= most || most == AnyNumber):
			return nil
		case most == 0:
			return fmt.Errorf("%s takes no argument, got %q", cmd.CommandPath(), args[0])
		case n < least:
			return fmt.Errorf("%s needs an argument", cmd.CommandPath())
		}
		return fmt.Errorf("%s takes at most %d arguments, got %d; the last is %q", cmd.CommandPath(), most, n, args[n-1])
	}
}

// ChoiceVar defines a flag that takes one of a few words, the first of which is
// the default.
func ChoiceVar(cmd *cobra.Command, f *pflag.FlagSet, p *string, name, short, usage string, words ...string) {
	*p = words[0]
	f.VarP(&choice{p, words}, name, short, usage+" "+OrList(words))
	complete(cmd, name, words)
}

// OptionVar is ChoiceVar without a default.
func OptionVar(cmd *cobra.Command, p *string, name, usage string, words ...string) {
	cmd.Flags().Var(&choice{p, words}, name, usage+" "+OrList(words))
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
		return fmt.Errorf("want %s", OrList(c.words))
	}
	*c.value = s
	return nil
}

// OrList joins words for people: "a, b or c".
func OrList(words []string) string {
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
