package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/builder/build"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/policy"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// network is how the ledger is asked.
type network struct {
	ledger, policy string
	timeout        time.Duration
	token          string // of the queue of builds; only the worker has one
}

func (n *network) flags(f *pflag.FlagSet) {
	f.StringVar(&n.ledger, "ledger", "", "the ledger's `URL` (default $CAIRN_LEDGER)")
	f.StringVar(&n.policy, "policy", "", "hold the ledger to the policy in `FILE` (default $CAIRN_POLICY)")
	f.DurationVar(&n.timeout, "timeout", client.DefaultTimeout, "wait at most `DURATION` for each answer of the ledger")
}

// connect returns the ledger, or nil if none is named.
func (n *network) connect(a *app) (*record.Ledger, error) {
	if n.ledger == "" {
		n.ledger = a.Getenv("CAIRN_LEDGER")
	}
	if n.policy == "" {
		n.policy = a.Getenv("CAIRN_POLICY")
	}
	if n.ledger == "" {
		return nil, nil
	}
	l := &record.Ledger{}
	if n.policy != "" {
		p, err := cmdline.ReadPolicy(n.policy)
		if err != nil {
			return nil, err
		}
		l.Policy = p
	} else {
		a.Note("the log's signature is not checked: give --policy FILE, or set CAIRN_POLICY")
	}
	var err error
	l.Client, err = client.New(n.ledger, client.Options{Timeout: n.timeout, UserAgent: "cairn-builder/" + cmdline.Version(), Token: n.token})
	if err != nil {
		return nil, cmdline.Usagef("give --ledger URL, or set CAIRN_LEDGER", "%w", err)
	}
	return l, nil
}

// gateFlags say how gates are passed.
type gateFlags struct {
	mode      string // ledger or off
	operators []string
	wait      time.Duration
}

func (g *gateFlags) flags(cmd *cobra.Command) {
	cmdline.ChoiceVar(cmd, cmd.Flags(), &g.mode, "gate", "", "where a package has a gate, ask", "ledger", "off")
	cmd.Flags().StringArrayVar(&g.operators, "gate-operator", nil, "count only results of the operator `URI`, with each of its engines; repeatable\n(default the operators of the policy's rebuilders, if it has any)")
	cmd.Flags().DurationVar(&g.wait, "gate-wait", 0, "wait `DURATION` for a gate to open")
}

// gate returns the gate, or nil if there is no ledger to ask.
func (g *gateFlags) gate(a *app, r *record.Recorder) (build.Gate, error) {
	if g.mode == "off" {
		a.Note("gates are off: images are built upon that nobody else may have reproduced")
		return build.OpenGate{}, nil
	}
	if r == nil || r.Ledger == nil {
		return nil, nil
	}
	gate := &build.LedgerGate{
		Ledger: r.Ledger, Operators: g.counted(r.Ledger.Policy),
		Waiting: func(reason string) { a.Note("waiting for a gate: %s", reason) },
	}
	if g.wait > 0 {
		deadline := time.Now().Add(g.wait)
		gate.Grown = func(ctx context.Context, size int64) error { return grown(ctx, r.Ledger.Client, size, deadline) }
	}
	return gate, nil
}

// counted returns the operators whose results count: those of the flags, or those
// of a policy that names rebuilders. If there are none, everybody's do.
func (g *gateFlags) counted(p *policy.Policy) []string {
	if len(g.operators) > 0 || p == nil {
		return g.operators
	}
	var list []string
	for _, r := range p.Rebuilders() {
		list = append(list, r.Operator)
	}
	return list
}

// grown returns once the ledger has published a checkpoint of more than size
// entries.
func grown(ctx context.Context, c *client.Client, size int64, deadline time.Time) error {
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errors.New("the time of --gate-wait is over"))
	defer cancel()
	for resp, err := range c.WatchCheckpoints(ctx, &cairnv1.WatchCheckpointsRequest{}) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("watching the ledger: %w", err)
		}
		if resp.GetSize() > size {
			return nil
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.New("the ledger stopped answering")
}
