package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/rekor"
)

// rekorFlags name a Rekor log and its key.
type rekorFlags struct{ url, key string }

func (f *rekorFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "rekor", "", "the Rekor v1 log at `URL`")
	fl.StringVar(&f.key, "rekor-key", "", "the log's public key, pinned, in the PEM `FILE`")
}

// open returns a client of the log that the flags name.
func (f *rekorFlags) open(a *app) (*rekor.Client, *rekor.Key, error) {
	if f.url == "" {
		return nil, nil, cmdline.Usagef("give --rekor URL", "no Rekor log is named")
	}
	key, err := readRekorKey(f.key, f.url)
	if err != nil {
		return nil, nil, err
	}
	c, err := rekor.NewClient(f.url, key, rekor.Options{Timeout: a.timeout, UserAgent: a.userAgent()})
	if err != nil {
		return nil, nil, cmdline.Usagef("give --rekor URL, such as https://rekor.example", "%w", err)
	}
	return c, key, nil
}

// readRekorKey reads the pinned key. It is never taken from the log: a log that
// lies would show the key that it lies with.
func readRekorKey(path, url string) (*rekor.Key, error) {
	if path == "" {
		where := "URL"
		if url != "" {
			where = url
		}
		return nil, cmdline.Usagef(
			fmt.Sprintf("get the key once, `curl -o rekor.pub %s/api/v1/log/publicKey`, compare it with what the log's operator publishes elsewhere, and give --rekor-key rekor.pub", where),
			"no key of the Rekor log is pinned")
	}
	b, err := cmdline.ReadSmall("the Rekor log's key", path)
	if err != nil {
		return nil, err
	}
	key, err := rekor.ParseKey(b)
	if err != nil {
		return nil, cmdline.Unreadable("reading "+path, err)
	}
	return key, nil
}

// rekorProblem gives an error of a Rekor log its reason.
func rekorProblem(doing string, err error) error {
	var unproven *rekor.UnprovenError
	var unanswered *rekor.UnansweredError
	err = fmt.Errorf("%s: %w", doing, err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, rekor.ErrNotFound):
		return &cmdline.Problem{Reason: cmdline.NothingFound, Err: err, Hint: "check the index or UUID, and that --rekor is the log that it is of"}
	case errors.As(err, &unproven):
		return &cmdline.Problem{Reason: cmdline.RekorUnproven, Err: err}
	case errors.As(err, &unanswered):
		return &cmdline.Problem{Reason: cmdline.RekorUnanswered, Err: err}
	}
	return cmdline.Usagef("", "%w", err)
}
