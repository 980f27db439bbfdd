package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/client"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

func (a *app) newBuilds() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "builds",
		Short: "Look at the ledger's queue of builds",
		Long: `Builds shows what the ledger's workers are to build and to reproduce, and what
became of it. The queue is not evidence: what was built, and by whom, is in the
log, and cairn verify judges it.`,
		Example: `  cairn builds list --state failed
  cairn builds logs 7 -f
  cairn builds cancel 7 --token worker.token`,
	}, a.newBuildsList(), a.newBuildsShow(), a.newBuildsLogs(), a.newBuildsCancel())
}

// buildsAnswer is the JSON of cairn builds list.
type buildsAnswer struct {
	Schema  string       `json:"schema"` // cairn/builds/v1
	State   string       `json:"state,omitempty"`
	Package string       `json:"package,omitempty"`
	Builds  []*buildView `json:"builds"`
	Cut     bool         `json:"cut,omitempty"` // --limit left builds out
}

func (a *app) newBuildsList() *cobra.Command {
	v := &buildsAnswer{Schema: "cairn/builds/v1", Builds: []*buildView{}}
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the builds, the latest first",
		Long: `List prints a line for each build of the queue: its number, its state, when it
came into that state, how often it was tried, and what it is.

The exit code is 3 if there is none.`,
		Example: `  cairn builds list
  cairn builds list --state queued
  cairn builds list --package core-go -o json`,
		Args: cmdline.Takes(0, 0),
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.listBuilds(ctx, v, limit) }),
	}
	cmdline.OptionVar(cmd, &v.State, "state", "only builds that are", "queued", "leased", "done", "failed", "cancelled")
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&v.Package, "package", "", "only builds of the package with this `NAME`")
	f.IntVar(&limit, "limit", 100, "stop after `N` builds; 0 is all")
	return cmd
}

func (a *app) listBuilds(ctx context.Context, v *buildsAnswer, limit int) error {
	if limit < 0 {
		return cmdline.Usagef("", "--limit %d is negative", limit)
	}
	c, err := a.client("")
	if err != nil {
		return err
	}
	text := a.Printer(a.Out)
	err = v.pages(ctx, c, limit, func(b *buildView) {
		if a.Format == "text" {
			b.line(text, time.Now())
		}
	})
	if err != nil {
		return err
	}
	a.Answer(v, v.footText)
	if len(v.Builds) == 0 {
		return &cmdline.Silent{Exit: cmdline.Lookup(cmdline.NothingFound).Exit}
	}
	return nil
}

// pages reads page after page, and gives each build to found.
func (v *buildsAnswer) pages(ctx context.Context, c *client.Client, limit int, found func(*buildView)) error {
	req := &cairnv1.ListBuildsRequest{State: v.State, Package: v.Package}
	last := int64(0)
	for first := true; first || req.GetPageToken() != ""; first = false {
		req.PageSize = pageSize
		if left := limit - len(v.Builds); limit > 0 && left < pageSize {
			req.PageSize = int32(left)
		}
		resp, err := c.ListBuilds(ctx, req)
		if err != nil {
			return err
		}
		req.PageToken = resp.GetNextPageToken()
		if len(resp.GetBuilds()) == 0 && req.GetPageToken() != "" {
			return client.Misbehaved("a page of the list is empty, and another is to follow")
		}
		for _, b := range resp.GetBuilds() {
			if last != 0 && b.GetId() >= last {
				return client.Misbehaved("build %d follows build %d in the list", b.GetId(), last)
			}
			last = b.GetId()
			view := viewBuild(b)
			v.Builds = append(v.Builds, view)
			found(view)
		}
		if limit > 0 && len(v.Builds) >= limit {
			v.Cut = req.GetPageToken() != ""
			return nil
		}
	}
	return nil
}

func (v *buildsAnswer) footText(p term.Printer) {
	word := "builds"
	if len(v.Builds) == 1 {
		word = "build"
	}
	more := ""
	if v.Cut {
		more = ", and there are more: give --limit"
	}
	p.Printf("%d %s%s\n", len(v.Builds), word, more)
}

// buildAnswer is the JSON of cairn builds show and cancel.
type buildAnswer struct {
	Schema string     `json:"schema"` // cairn/build/v1
	Build  *buildView `json:"build"`
}

func (a *app) answerBuild(b *cairnv1.Build) {
	v := buildAnswer{"cairn/build/v1", viewBuild(b)}
	a.Answer(v, func(p term.Printer) { v.Build.text(p, time.Now()) })
}

func (a *app) newBuildsShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a build",
		Long:  `Show prints what a build is, who has it or had it, and what it came to.`,
		Example: `  cairn builds show 7
  cairn builds show 7 -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			id, err := buildID(args[0])
			if err != nil {
				return err
			}
			c, err := a.client("")
			if err != nil {
				return err
			}
			resp, err := c.GetBuild(ctx, &cairnv1.GetBuildRequest{Id: id})
			if err != nil {
				return err
			}
			a.answerBuild(resp.GetBuild())
			return nil
		}),
	}
}

func (a *app) newBuildsCancel() *cobra.Command {
	var token string
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a build",
		Long: `Cancel ends a build that is queued or leased; the worker that has it stops. It
needs a token of the ledger's operator: cairn-ledger -dev DIR makes one,
DIR/worker.token.`,
		Example: `  cairn builds cancel 7 --token worker.token
  CAIRN_TOKEN=worker.token cairn builds cancel 7`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			id, err := buildID(args[0])
			if err != nil {
				return err
			}
			secret, err := a.token(token)
			if err != nil {
				return err
			}
			c, err := a.client(secret)
			if err != nil {
				return err
			}
			resp, err := c.CancelBuild(ctx, &cairnv1.CancelBuildRequest{Id: id})
			if err != nil {
				return err
			}
			a.answerBuild(resp.GetBuild())
			return nil
		}),
	}
	cmd.Flags().StringVar(&token, "token", "", "`FILE` with the token (default $CAIRN_TOKEN)")
	return cmd
}

// token reads the token in a file.
func (a *app) token(path string) (string, error) {
	if path == "" {
		path = a.Getenv("CAIRN_TOKEN")
	}
	if path == "" {
		return "", cmdline.Usagef("give --token FILE, or set CAIRN_TOKEN", "no token is named")
	}
	secret, err := bearer.ReadOwn(path)
	if err != nil {
		return "", &cmdline.Problem{Reason: cmdline.FileUnreadable, Err: err}
	}
	return secret, nil
}

func buildID(arg string) (int64, error) {
	id, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || id <= 0 {
		return 0, cmdline.Usagef("give the number that `cairn builds list` shows", "%q is not the number of a build", arg)
	}
	return id, nil
}
