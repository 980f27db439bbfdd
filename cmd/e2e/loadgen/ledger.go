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

	"golang.org/x/mod/sumdb/note"
)

// ledger is the ledger under load.
type ledger struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`

	verifier note.Verifier
	pid      int // 0 if not known
	stop     func() error
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
	l.verifier, err = note.NewVerifier(l.VKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the ledger's key %q: %w", l.VKey, err), l.stop())
	}
	return l, nil
}

func startLedger(ctx context.Context, o *options, work string, stderr io.Writer) (*ledger, error) {
	binary := o.ledger
	if binary == "" {
		binary = filepath.Join(work, "cairn-ledger")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/cairnlog/cairn/cmd/cairn-ledger")
		build.Stderr = stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("building cairn-ledger: %w", err)
		}
	}
	state := o.state
	if state == "" {
		state = filepath.Join(work, "ledger")
	}
	cmd := exec.CommandContext(ctx, binary, "-dev", state)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	cmd.Stderr = stderr
	// The ready line goes through a pipe of our own: with the one of exec, Wait
	// could close it before the line was read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", binary, err), r.Close(), w.Close())
	}
	_ = w.Close() // the child has its own
	l := &ledger{pid: cmd.Process.Pid, stop: func() error { return stopLedger(cmd, r) }}
	if err := l.readReady(r); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for %s: %w", binary, err), l.stop())
	}
	return l, nil
}

func (l *ledger) readReady(r *os.File) error {
	if err := r.SetReadDeadline(time.Now().Add(startPatience)); err != nil {
		return err
	}
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading its ready line: %w", err)
	}
	if err := json.Unmarshal(line, l); err != nil {
		return fmt.Errorf("parsing its ready line %q: %w", line, err)
	}
	return checkLoopbackURL(l.HTTP, l.GRPC)
}

// stopLedger asks the ledger to drain, and kills it if it does not.
func stopLedger(cmd *exec.Cmd, stdout io.Closer) error {
	_ = cmd.Process.Signal(syscall.SIGTERM) // fails only if it is gone
	kill := time.AfterFunc(stopPatience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	_ = stdout.Close()
	if errors.Is(err, context.Canceled) {
		return nil // interrupted, and drained
	}
	if err != nil {
		return fmt.Errorf("stopping the ledger: %w", err)
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
