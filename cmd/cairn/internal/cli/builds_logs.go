package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	// maxReconnects is how often in a row a log that is followed is asked for
	// again when the ledger breaks off.
	maxReconnects = 5
	// maxLine is the longest line that is held back until it is whole.
	maxLine = 64 << 10
)

// buildLogAnswer is the JSON of cairn builds logs.
type buildLogAnswer struct {
	Schema string `json:"schema"` // cairn/build-log/v1
	ID     int64  `json:"id"`
	Log    string `json:"log"`  // as it came; what is not UTF-8 is replaced
	Size   int64  `json:"size"` // bytes, with those that were not kept
	Cut    int64  `json:"cut"`  // bytes that were not kept
}

func (a *app) newBuildsLogs() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Print what a build wrote",
		Long: `Logs prints what a build's workers wrote, of all attempts. Of a long log the
ledger keeps the head and the tail; a line says what is missing between.`,
		Example: `  cairn builds logs 7
  cairn builds logs 7 -f
  cairn builds logs 7 -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			id, err := buildID(args[0])
			if err != nil {
				return err
			}
			return a.buildLog(ctx, id, follow)
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the build has ended")
	return cmd
}

func (a *app) buildLog(ctx context.Context, id int64, follow bool) error {
	c, err := a.client("")
	if err != nil {
		return err
	}
	v := &buildLogAnswer{Schema: "cairn/build-log/v1", ID: id}
	var whole bytes.Buffer
	out := newLogPrinter(a.Printer(a.Out))
	read := func() error {
		return v.read(ctx, c, follow, func(gap int64, data []byte) {
			switch {
			case a.Format == "json":
				whole.Write(data)
			case gap > 0:
				out.cut(gap)
				out.write(data)
			default:
				out.write(data)
			}
		})
	}
	for broken := 0; ; {
		before := v.Size
		err = read()
		if v.Size > before {
			broken = 0
		}
		if broken++; err == nil || !follow || !brokeOff(err) || broken > maxReconnects {
			break
		}
		if err := a.sleep(ctx, time.Duration(broken)*time.Second); err != nil {
			return err
		}
	}
	out.end()
	if err == nil && a.Format == "json" {
		v.Log = strings.ToValidUTF8(whole.String(), "\uFFFD")
		a.AnswerJSON(v)
	}
	return err
}

// read gives each piece of one answer to f, with the number of bytes that are
// missing before it.
func (v *buildLogAnswer) read(ctx context.Context, c *client.Client, follow bool, f func(gap int64, data []byte)) error {
	for m, err := range c.StreamBuildLog(ctx, &cairnv1.StreamBuildLogRequest{Id: v.ID, Offset: v.Size, Follow: follow}) {
		if err != nil {
			return err
		}
		gap := m.GetOffset() - v.Size
		if gap < 0 {
			return client.Misbehaved("a piece of the log is at %d, the one before ended at %d", m.GetOffset(), v.Size)
		}
		v.Cut += gap
		v.Size = m.GetOffset() + int64(len(m.GetData()))
		f(gap, m.GetData())
	}
	return nil
}

// brokeOff reports whether an error is one after which the same may be asked
// again.
func brokeOff(err error) bool {
	var unanswered *client.UnansweredError
	e, refused := reason.Of(err)
	return errors.As(err, &unanswered) || refused && (e.Reason == reason.ShuttingDown || e.Reason == reason.Overloaded)
}

// logPrinter prints a log line by line. What it says may not do anything to a
// terminal: colours are left out, and all else that is not graphic is escaped.
type logPrinter struct {
	p    term.Printer
	held []byte // the beginning of a line
}

func newLogPrinter(p term.Printer) *logPrinter {
	return &logPrinter{p: p}
}

func (l *logPrinter) write(data []byte) {
	l.held = append(l.held, data...)
	for {
		i := bytes.IndexByte(l.held, '\n')
		switch {
		case i >= 0:
			l.line(l.held[:i])
			l.held = l.held[i+1:]
		case len(l.held) > maxLine:
			l.end()
		default:
			return
		}
	}
}

// cut says that bytes are missing.
func (l *logPrinter) cut(n int64) {
	l.end()
	l.p.Printf("%s\n", l.p.Paint(term.Dim, fmt.Sprintf("[%d bytes of the log were not kept]", n)))
}

// end prints a last line that is not whole.
func (l *logPrinter) end() {
	if len(l.held) > 0 {
		l.line(l.held)
		l.held = nil
	}
}

func (l *logPrinter) line(line []byte) {
	l.p.Printf("%s\n", term.Painted(plain.Output(strings.TrimSuffix(string(line), "\r"))))
}
