package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// ledger is the ledger under load.
type ledger struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`

	verifier note.Verifier
	policy   torchwood.Policy // that checkpoints satisfy; nil if only the key is known
	pid      int              // 0 if not known
	// witnesses are the process IDs of those that were started for it.
	witnesses []int
	beside    []string // gRPC addresses of its other front ends
	stop      func() error
}

const (
	startPatience = 30 * time.Second
	stopPatience  = 20 * time.Second
)

// openLedger starts a ledger with fresh state below work, or finds the running
// one that the options name.
func openLedger(ctx context.Context, o *options, work string, stderr io.Writer) (*ledger, error) {
	var l *ledger
	var err error
	if o.url != "" {
		l, err = runningLedger(ctx, o)
	} else {
		l, err = startLedger(ctx, o, work, stderr)
	}
	if err != nil {
		return nil, err
	}
	return l.verified()
}

// verified returns the ledger with the verifier of its key.
func (l *ledger) verified() (*ledger, error) {
	var err error
	if l.verifier, err = note.NewVerifier(l.VKey); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the ledger's key %q: %w", l.VKey, err), l.stop())
	}
	return l, nil
}

func startLedger(ctx context.Context, o *options, work string, stderr io.Writer) (*ledger, error) {
	binary, err := binaryOf(ctx, o.ledger, "cairn-ledger", work, stderr)
	if err != nil {
		return nil, err
	}
	state := o.state
	if state == "" {
		state = filepath.Join(work, "ledger")
	}
	return launchLedger(ctx, stderr, binary, "-dev", state)
}

// binaryOf returns the binary of a command of ours, which is built if none is
// given.
func binaryOf(ctx context.Context, given, name, work string, stderr io.Writer) (string, error) {
	if given != "" {
		return given, nil
	}
	binary := filepath.Join(work, name)
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/cairnlog/cairn/cmd/"+name)
	build.Stderr = stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return binary, nil
}

func launchLedger(ctx context.Context, stderr io.Writer, binary string, args ...string) (*ledger, error) {
	l := &ledger{}
	var err error
	if l.pid, l.stop, err = launch(ctx, stderr, l, binary, args...); err != nil {
		return nil, err
	}
	if err := checkLoopbackURL(l.HTTP, l.GRPC); err != nil {
		return nil, errors.Join(err, l.stop())
	}
	return l, nil
}

// launch starts a daemon, and decodes its ready line into ready.
func launch(ctx context.Context, stderr io.Writer, ready any, binary string, args ...string) (pid int, stop func() error, err error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	cmd.Stderr = stderr
	// The ready line goes through a pipe of our own: with the one of exec, Wait
	// could close it before the line was read.
	r, w, err := os.Pipe()
	if err != nil {
		return 0, nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return 0, nil, errors.Join(fmt.Errorf("starting %s: %w", binary, err), r.Close(), w.Close())
	}
	_ = w.Close() // the child has its own
	stop = func() error { return stopDaemon(cmd, r) }
	if err := readReady(r, ready); err != nil {
		return 0, nil, errors.Join(fmt.Errorf("waiting for %s: %w", binary, err), stop())
	}
	return cmd.Process.Pid, stop, nil
}

func readReady(r *os.File, ready any) error {
	if err := r.SetReadDeadline(time.Now().Add(startPatience)); err != nil {
		return err
	}
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading its ready line: %w", err)
	}
	if err := json.Unmarshal(line, ready); err != nil {
		return fmt.Errorf("parsing its ready line %q: %w", line, err)
	}
	return nil
}

// stopDaemon asks a daemon to drain, and kills it if it does not.
func stopDaemon(cmd *exec.Cmd, stdout io.Closer) error {
	_ = cmd.Process.Signal(syscall.SIGTERM) // fails only if it is gone
	kill := time.AfterFunc(stopPatience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	_ = stdout.Close()
	if errors.Is(err, context.Canceled) {
		return nil // interrupted, and drained
	}
	if err != nil {
		return fmt.Errorf("stopping %s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

var shownKey = regexp.MustCompile(`[a-zA-Z0-9./_:-]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+`)

// runningLedger finds out about a ledger that was started by others. The key on
// its front page is good enough to check a load, though not to trust a log.
func runningLedger(ctx context.Context, o *options) (*ledger, error) {
	l := &ledger{HTTP: strings.TrimSuffix(o.url, "/"), GRPC: o.grpcAddr, VKey: o.vkey, pid: o.pid, stop: func() error { return nil }}
	if l.VKey == "" {
		page, err := get(ctx, l.HTTP+"/")
		if err != nil {
			return nil, fmt.Errorf("reading the ledger's front page: %w", err)
		}
		// The page is HTML, which may escape the key's pluses.
		page = bytes.ReplaceAll(page, []byte("&#43;"), []byte("+"))
		l.VKey = string(shownKey.Find(page))
		if l.VKey == "" {
			return nil, errors.New("the ledger's front page shows no key: give it with -vkey")
		}
	}
	l.Origin, _, _ = strings.Cut(l.VKey, "+")
	return l, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("getting %s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}
