package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killEvery is how often a cancelled build's processes are killed until it
// gives up: buildah starts some after the first of them has died.
const killEvery = 50 * time.Millisecond

// confined reads the request and does the work, as process 1 of a PID
// namespace.
func confined() error {
	if os.Getpid() != 1 {
		return errors.New("confined: not process 1 of a PID namespace: start cairn-buildah without arguments")
	}
	if err := privateMounts(); err != nil {
		return err
	}
	out := newOutput()
	r, err := readRequest(os.Stdin)
	if err != nil {
		out.send(Message{Error: &Error{Err: err.Error()}})
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go killAll(ctx, done)

	result, err := build(ctx, r, out)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("cancelled: %w", err)
		}
		out.send(Message{Error: asError(ctx, err)})
		return err
	}
	out.send(Message{Result: result})
	return out.err
}

// killAll kills every process of the namespace but this one, once ctx ends and
// until done is closed.
func killAll(ctx context.Context, done <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-done:
		return
	}
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for {
		_ = unix.Kill(-1, unix.SIGKILL)
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// privateMounts keeps our mounts from the host, and shows the PID namespace in
// /proc.
func privateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

func readRequest(in io.Reader) (*Request, error) {
	dec := json.NewDecoder(in)
	dec.DisallowUnknownFields()
	var r Request
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return &r, r.check()
}

func (r *Request) check() error {
	for _, field := range []struct{ name, value string }{
		{"root", r.Root}, {"runtime", r.Runtime}, {"context", r.Context},
		{"containerfile", r.Containerfile}, {"platform", r.Platform}, {"output", r.Output},
	} {
		if field.value == "" && !(r.Check && field.name == "output") {
			return fmt.Errorf("the request has no %q", field.name)
		}
	}
	// An overlay's options could not be told from the path.
	if strings.ContainsAny(r.Root, ":,\\ \t\n") {
		return fmt.Errorf("root %q: no colon, comma, backslash or space may be in it", r.Root)
	}
	if r.Memory < 0 || r.CPUs < 0 {
		return fmt.Errorf("the request's limits are negative: memory %d, cpus %d", r.Memory, r.CPUs)
	}
	return nil
}

// output writes messages. It may be used concurrently.
type output struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error
}

func newOutput() *output { return &output{enc: json.NewEncoder(os.Stdout)} }

func (o *output) send(m Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.enc.Encode(m); err != nil && o.err == nil {
		o.err = fmt.Errorf("writing a message: %w", err)
	}
}
