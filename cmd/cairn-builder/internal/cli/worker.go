package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/build"
	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/builder/worker"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// workerFlags are the flags of cairn-builder worker.
type workerFlags struct {
	buildFlags
	name, tokenFile string
}

func (a *app) newWorker() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker --ledger URL --token FILE --key FILE --operator URI",
		Short: "Build and reproduce what a ledger's queue asks for",
		Long: `Worker takes jobs from the ledger's queue, builds or reproduces each package,
and logs what came of it. It takes jobs for its tree, its platform and its
engine only. A worker that is killed loses nothing: the queue gives its job to
another. On SIGTERM it gives its job back and exits 0.`,
		Example: `  cairn-builder worker --tree stagex --ledger https://log.example --token worker.token \
      --key bob.key --operator https://bob.example --engine buildah`,
		Args: cmdline.Takes(0, 0),
		RunE: cmdline.RunE(func(ctx context.Context, _ []string) error { return a.worker(ctx, &f) }),
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.tokenFile, "token", "", "the queue's token in `FILE` (default $CAIRN_TOKEN)")
	name, _ := os.Hostname()
	cmd.Flags().StringVar(&f.name, "name", name, "`NAME` of this worker, for people")
	return cmd
}

func (a *app) worker(ctx context.Context, f *workerFlags) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	if f.attester.key == "" || f.attester.ledger == "" && a.Getenv("CAIRN_LEDGER") == "" {
		return cmdline.Usagef("give --ledger URL, --key FILE and --operator URI", "a worker needs a ledger to ask and a key to attest with")
	}
	if f.attester.token, err = a.token(f.tokenFile); err != nil {
		return err
	}
	// There may be a job for any package of the tree.
	all := selection{all: true}
	ids, err := all.ids(t, nil)
	if err != nil {
		return err
	}
	return a.withBuilder(ctx, t, ids, &f.buildFlags, func(cfg *build.Config) {}, func(b *build.Builder) error {
		return a.work(ctx, f, t, b)
	})
}

// token reads the token of the queue from a file.
func (a *app) token(path string) (string, error) {
	if path == "" {
		path = a.Getenv("CAIRN_TOKEN")
	}
	if path == "" {
		return "", cmdline.Usagef("give --token FILE, as the ledger's operator made it", "no token is named")
	}
	token, err := bearer.ReadOwn(path)
	if err != nil {
		return "", cmdline.Unreadable("reading the token", err)
	}
	return token, nil
}

func (a *app) work(ctx context.Context, f *workerFlags, t *tree.Tree, b *build.Builder) error {
	digest, err := b.TreeDigest()
	if err != nil {
		return err
	}
	ledger, id := b.Ledger()
	offer := &cairnv1.LeaseBuildRequest{
		Worker: f.name, Operator: id.Operator, Key: string(id.Signer.Public.Fingerprint),
		Engines: []string{f.engine.name}, Trees: []string{"sha256:" + digest}, Platforms: platforms(t, f.platform),
	}
	logger := slog.New(slog.NewTextHandler(a.Err, nil))
	logger.Info("waiting for jobs", "ledger", ledger.Client.URL(), "tree", digest, "engine", f.engine.name)
	return worker.Run(ctx, worker.Config{
		Client: ledger.Client, Offer: offer, Logger: logger,
		Do: func(ctx context.Context, job *worker.Job, log io.Writer) (*worker.Outcome, error) {
			return a.do(ctx, b, job, log)
		},
	})
}

// platforms are those that packages of the tree are built for.
func platforms(t *tree.Tree, otherwise string) []string {
	list := []string{otherwise}
	for _, p := range t.Packages {
		if len(p.Platforms) > 0 {
			list = append(list, p.Platforms[0])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// do does one job. The builder is used by one job at a time.
func (a *app) do(ctx context.Context, b *build.Builder, job *worker.Job, log io.Writer) (*worker.Outcome, error) {
	spec := job.GetSpec()
	ledger, _ := b.Ledger()
	b.Attend(job.Confirm, func(e engine.Event) { writeEvent(log, e) })
	defer b.Attend(nil, nil)
	var envelope string
	var err error
	switch spec.GetKind() {
	case "build":
		if err = b.Build(ctx, []string{spec.GetPackage()}); err == nil {
			var res *record.Result
			if res, err = b.Result(spec.GetPackage()); err == nil && res != nil && res.Logged != nil {
				envelope = res.Logged.Envelope
			}
		}
	case "reproduction":
		err = b.Reproduce(ctx, []string{spec.GetPackage()}, build.ReproduceOptions{
			Claims: func(ctx context.Context, _ *tree.Package, _ string) ([]*record.Claimed, error) {
				c, err := ledger.Build(ctx, spec.GetExpectedDigest(), spec.GetClaimEnvelope())
				if err != nil {
					return nil, err
				}
				return []*record.Claimed{&c.Claimed}, nil
			},
			Each: func(r *build.Reproduction) {
				if r.Entry != nil {
					envelope = r.Entry.Envelope
				}
			},
		})
	default:
		return nil, &worker.Failure{Kind: "KIND_UNKNOWN", Err: fmt.Errorf("a job of unknown kind %q", spec.GetKind())}
	}
	// A rebuild that failed is a result, if it was logged.
	if envelope != "" {
		return &worker.Outcome{Envelope: leaf.Digest(envelope)}, nil
	}
	return nil, failure(err)
}

// failure says whether another attempt may help.
func failure(err error) error {
	var step *engine.StepError
	var gate *build.GateError
	var missing *source.MissingError
	switch {
	case err == nil:
		return &worker.Failure{Kind: "NOT_LOGGED", Err: errors.New("nothing was logged")}
	case errors.As(err, &step):
		return &worker.Failure{Kind: string(cmdline.StepFailed), Err: err}
	case errors.As(err, &gate):
		return &worker.Failure{Kind: string(cmdline.GateShut), Retryable: true, Err: err}
	case errors.As(err, &missing):
		return &worker.Failure{Kind: string(cmdline.SourceMissing), Err: err}
	}
	return err
}

// writeEvent writes an event as the log of a job has it.
func writeEvent(w io.Writer, e engine.Event) {
	switch e.Kind {
	case engine.StepLog:
		_, _ = w.Write(e.Log)
	case engine.StepFailed:
		_, _ = fmt.Fprintf(w, "== %s %s: failed: %s\n", e.ID, e.Name, e.Err)
	default:
		_, _ = fmt.Fprintf(w, "== %s %s: %s\n", e.ID, e.Name, e.Kind)
	}
}
