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
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/client"
)

// IO is what a run of the command is connected to.
type IO = cmdline.IO

// app is one run of the command: its connections and global flags.
type app struct {
	*cmdline.App

	ledger  string
	policy  string
	timeout time.Duration

	http     *http.Client                                     // that carries requests; nil for the default
	patience func(ctx context.Context, d time.Duration) error // waits before asking again; nil to say so
}

// Run runs the command with args, and returns its exit code.
func Run(ctx context.Context, args []string, stdio IO) int {
	a, root := newApp(stdio)
	return a.Run(ctx, root, args)
}

// Commands returns the tree of commands, for the reference that is generated
// from it.
func Commands() *cobra.Command {
	_, root := newApp(IO{Out: io.Discard, Err: io.Discard, Getenv: func(string) string { return "" }})
	return root
}

func newApp(stdio IO) (*app, *cobra.Command) {
	a := &app{App: cmdline.NewApp("cairn", stdio)}
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
	}
	a.Connect(root)
	f := root.PersistentFlags()
	f.StringVar(&a.ledger, "ledger", "", "the ledger's `URL`, or the URL or directory of a mirror of it\n(default $CAIRN_LEDGER)")
	f.StringVar(&a.policy, "policy", "", "hold the ledger to the policy in `FILE` (default $CAIRN_POLICY)")
	a.AnswerFlags(root)
	f.DurationVar(&a.timeout, "timeout", client.DefaultTimeout, "wait at most `DURATION` for each answer of the ledger")
	root.AddCommand(
		a.newKeygen(), a.newEnrol(), a.newEndorse(), a.newRevoke(), a.newAttest(), a.newSubmit(),
		a.newShow(), a.newList(), a.newLog(), a.newVerify(), a.newTrace(), a.newBundle(), a.newStatus(),
		a.newAudit(), a.newAnchor(), a.newBuilds(), a.newEvidence(), a.newPolicy(), a.newGate(), a.newImport(), a.newStagex(), a.newExport(), a.NewVersion(),
		cmdline.NewExitCodesTopic(), newIdentifiersTopic(),
	)
	return root
}

// run makes a command of f, with what the environment says of the ledger.
func (a *app) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return cmdline.RunE(func(ctx context.Context, args []string) error {
		if a.ledger == "" {
			a.ledger = a.Getenv("CAIRN_LEDGER")
		}
		if a.policy == "" {
			a.policy = a.Getenv("CAIRN_POLICY")
		}
		return f(ctx, args)
	})
}
