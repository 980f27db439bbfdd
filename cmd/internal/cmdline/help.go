package cmdline

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/ledger/reason"
)

// NewGroup returns a command that only has commands.
func NewGroup(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	// Without this, cobra prints help and reports success.
	cmd.Args = Takes(0, AnyNumber)
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

// WriteHelp writes the help of a command: what it does, its commands and
// flags, and last, where it is still on the screen, how it is used.
func WriteHelp(w io.Writer, cmd *cobra.Command) {
	var b strings.Builder
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	b.WriteString(strings.TrimSpace(text) + "\n")
	if cmd.Runnable() || cmd.HasAvailableSubCommands() {
		b.WriteString("\nUsage:\n")
		group := cmd.HasAvailableSubCommands()
		if takes := strings.Contains(cmd.Use, " "); takes || !group {
			fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
		}
		if group {
			fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
		}
	}
	writeCommands(&b, "Commands", cmd.Commands(), func(c *cobra.Command) bool { return c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() })
	if cmd.HasAvailableLocalFlags() && cmd.HasParent() {
		b.WriteString("\nFlags:\n" + strings.TrimRight(cmd.LocalFlags().FlagUsages(), " \n") + "\n")
	}
	if flags := cmd.InheritedFlags(); cmd.Runnable() && flags.HasAvailableFlags() {
		flags.SortFlags = false
		b.WriteString("\nGlobal flags:\n" + strings.TrimRight(flags.FlagUsages(), " \n") + "\n")
	} else if !cmd.HasParent() {
		b.WriteString("\nGlobal flags:\n" + strings.TrimRight(cmd.PersistentFlags().FlagUsages(), " \n") + "\n")
	}
	writeCommands(&b, "Topics", cmd.Commands(), func(c *cobra.Command) bool { return c.IsAdditionalHelpTopicCommand() })
	if cmd.Example != "" {
		b.WriteString("\nExamples:\n" + strings.TrimRight(cmd.Example, "\n") + "\n")
	}
	_, _ = io.WriteString(w, b.String())
}

func writeCommands(b *strings.Builder, title string, cmds []*cobra.Command, which func(*cobra.Command) bool) {
	for _, c := range cmds {
		if !which(c) {
			continue
		}
		if title != "" {
			fmt.Fprintf(b, "\n%s:\n", title)
			title = ""
		}
		fmt.Fprintf(b, "  %-14s %s\n", c.Name(), c.Short)
	}
}

// newHelp is the command help. Cobra's own reports success for what it does not
// know.
func newHelp(name string) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND|TOPIC]",
		Short: "Explain a command or a topic",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return Usagef("run `"+name+" help`", "there is no command or topic %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// ExitCode is an exit code and what it means.
type ExitCode struct {
	Code    int
	Meaning string
}

// ExitCodes are all exit codes, in their order.
func ExitCodes() []ExitCode {
	return []ExitCode{
		{reason.ExitYes, "yes: what was asked for is done, or true by the policy"},
		{reason.ExitNo, "a definite no: a bad signature, another attestation, a key that may not"},
		{reason.ExitUsage, "the command line, a file or the configuration is wrong"},
		{reason.ExitUnproven, "not enough evidence: nothing found, or a quorum is not met"},
		{reason.ExitNotAsked, "could not ask: no answer from the ledger, no time, no space"},
		{reason.ExitMisbehave, "the log misbehaved: a bad proof, a bad signature, a shrunk log"},
		{reason.ExitCorrupt, "of an audit: what is there is not what was logged"},
		{reason.ExitPolicy, "of an audit: a checkpoint is not what the policy accepts"},
		{reason.ExitAttestation, "of an audit: an entry does not follow from a valid attestation"},
	}
}

// NewExitCodesTopic is the help topic exit-codes.
func NewExitCodesTopic() *cobra.Command {
	var codes strings.Builder
	for _, c := range ExitCodes() {
		fmt.Fprintf(&codes, "  %2d  %s\n", c.Code, c.Meaning)
	}
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: "Every command exits with one of these codes:\n\n" + codes.String() + `
With -o json, a failure too is one JSON document on stdout:

  {"schema":"cairn/error/v1","error":"…","reason":"KEY_NOT_ENROLLED","hint":"…","exit":1}

The reasons and their codes are in docs/errors.md.`,
	}
}
