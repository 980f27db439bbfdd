package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Diffoscope is what diffoscope says of the files whose bytes were compared. It
// is a help for readers, and decides nothing.
type Diffoscope struct {
	// Files are the paths of the files that it calls 000, 001 and so on.
	Files []string `json:"files,omitempty"`
	// Lines is its report, each line escaped to ASCII and cut off.
	Lines []string `json:"lines,omitempty"`
	// Truncated says that the report went on.
	Truncated bool `json:"truncated,omitempty"`
	// Failure says why there is no report, or not all of it.
	Failure string `json:"failure,omitempty"`
}

// diffoscope runs the program on two directories. That it fails is no error.
func (o Options) diffoscope(ctx context.Context, dirs pair[string]) *Diffoscope {
	ctx, cancel := context.WithTimeoutCause(ctx, o.DiffoscopeTime, fmt.Errorf("it took longer than %v", o.DiffoscopeTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Diffoscope, "--no-progress", "--exclude-directory-metadata=yes", "--text", "-",
		"--max-text-report-size", fmt.Sprint(o.DiffoscopeBytes), dirs.want, dirs.got)
	out := &bounded{limit: int(o.DiffoscopeBytes)}
	stderr := &bounded{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, stderr
	// Its own programs end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	d := &Diffoscope{Truncated: out.more}
	for line := range bytes.Lines(out.buf.Bytes()) {
		d.Lines = append(d.Lines, escapeLine(bytes.TrimSuffix(line, []byte("\n"))))
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		d.Failure = context.Cause(ctx).Error()
	case err == nil, errors.As(err, &exit) && exit.ExitCode() == 1: // it has found differences
	default:
		d.Failure = escapeLine([]byte(strings.TrimSpace(err.Error() + ": " + stderr.buf.String())))
	}
	return d
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	buf   bytes.Buffer
	limit int
	more  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.limit-b.buf.Len())
	b.buf.Write(p[:n])
	b.more = b.more || n < len(p)
	return len(p), nil
}
