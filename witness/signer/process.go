package signer

import (
	"bufio"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Process is a key that another process holds: for hardware and services that
// no library here speaks to. The process is started once and answers requests,
// one line each, on its standard input and output:
//
//	→ public
//	← ed25519 <base64 of the 32-byte public key>
//	→ sign <base64 of the message>
//	← signature <base64 of the 64-byte signature>
//
// or, to either,
//
//	← error <text>
//
// A process that ends, answers in another way, or takes longer than Timeout is
// killed and started again for the next request. It should end when its input
// does.
type Process struct {
	argv    []string
	stderr  io.Writer
	timeout time.Duration
	public  ed25519.PublicKey

	mu      sync.Mutex // one request at a time
	running *running   // nil if there is none
}

type running struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

var _ crypto.Signer = (*Process)(nil)

// maxAnswer bounds a line of the process, in bytes.
const maxAnswer = 4096

// OpenProcess starts a process and asks for its public key. Its errors go to
// stderr.
func OpenProcess(argv []string, stderr io.Writer) (*Process, error) {
	return openProcess(argv, stderr, Timeout)
}

func openProcess(argv []string, stderr io.Writer, timeout time.Duration) (*Process, error) {
	if len(argv) == 0 {
		return nil, errors.New("starting the signer: no command was given")
	}
	p := &Process{argv: argv, stderr: stderr, timeout: timeout}
	public, err := p.ask("public", "ed25519", ed25519.PublicKeySize)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.public = public
	return p, nil
}

// Public implements crypto.Signer.
func (p *Process) Public() crypto.PublicKey { return p.public }

// Sign implements crypto.Signer.
func (p *Process) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := wantRaw(opts); err != nil {
		return nil, err
	}
	sig, err := p.ask("sign "+base64.StdEncoding.EncodeToString(message), "signature", ed25519.SignatureSize)
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(p.public, message, sig) {
		return nil, fmt.Errorf("asking the signer %s: %w", p.argv[0], errWrong)
	}
	return sig, nil
}

// errTold is an error that the process reported in due form: it goes on.
var errTold = errors.New("it said")

// ask sends a line and returns the bytes of the answer, which must begin with
// word and have size bytes.
func (p *Process) ask(line, word string, size int) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.exchange(line, word, size)
	if err != nil && !errors.Is(err, errTold) {
		err = errors.Join(err, p.stop())
	}
	if err != nil {
		return nil, fmt.Errorf("asking the signer %s: %w", p.argv[0], err)
	}
	return b, nil
}

// exchange does what ask says. p.mu must be held.
func (p *Process) exchange(line, word string, size int) ([]byte, error) {
	if err := p.start(); err != nil {
		return nil, err
	}
	// Killing the process ends both the write and the read.
	process := p.running.cmd.Process
	watchdog := time.AfterFunc(p.timeout, func() { _ = process.Kill() })
	_, err := io.WriteString(p.running.in, line+"\n")
	var answer []byte
	if err == nil {
		answer, err = p.running.out.ReadSlice('\n')
	}
	if !watchdog.Stop() {
		return nil, fmt.Errorf("no answer within %s", p.timeout)
	}
	if err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	got, rest, _ := strings.Cut(strings.TrimSuffix(string(answer), "\n"), " ")
	if got == "error" {
		return nil, fmt.Errorf("%w: %.200q", errTold, rest)
	}
	b, err := base64.StdEncoding.DecodeString(rest)
	if got != word || err != nil || len(b) != size {
		return nil, fmt.Errorf("its answer is not %q and the base64 of %d bytes", word, size)
	}
	return b, nil
}

func (p *Process) start() error {
	if p.running != nil {
		return nil
	}
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stderr = p.stderr
	// What the process leaves running must not keep Wait waiting for stderr.
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running = &running{cmd, in, bufio.NewReaderSize(out, maxAnswer)}
	return nil
}

// stop ends the process. p.mu must be held.
func (p *Process) stop() error {
	if p.running == nil {
		return nil
	}
	r := p.running
	p.running = nil
	_ = r.in.Close()
	_ = r.cmd.Process.Kill()
	// How it ended is no news: it was killed.
	var exit *exec.ExitError
	if err := r.cmd.Wait(); err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return err
	}
	return nil
}

// Close ends the process.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stop()
}
