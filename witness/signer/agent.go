package signer

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Timeout is how long an agent or a process may take for one signature.
const Timeout = 10 * time.Second

// Agent is a key that an ssh-agent holds: in its memory, on a token, or on
// another machine.
type Agent struct {
	socket string
	key    *agent.Key
	public ed25519.PublicKey
}

var _ crypto.Signer = (*Agent)(nil)

// OpenAgent finds the Ed25519 key with a fingerprint, as ssh-keygen -l prints it
// (SHA256:…), in the agent that listens on a socket.
func OpenAgent(ctx context.Context, socket, fingerprint string) (*Agent, error) {
	a := &Agent{socket: socket}
	err := a.call(ctx, func(c agent.ExtendedAgent) error {
		keys, err := c.List()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if ssh.FingerprintSHA256(k) == fingerprint {
				a.key = k
				return nil
			}
		}
		return fmt.Errorf("none of its %d keys has fingerprint %s", len(keys), fingerprint)
	})
	if err != nil {
		return nil, err
	}
	parsed, err := ssh.ParsePublicKey(a.key.Blob)
	if err != nil {
		return nil, fmt.Errorf("reading key %s of the ssh-agent: %w", fingerprint, err)
	}
	crypt, ok := parsed.(ssh.CryptoPublicKey)
	if ok {
		a.public, ok = crypt.CryptoPublicKey().(ed25519.PublicKey)
	}
	if !ok || parsed.Type() != ssh.KeyAlgoED25519 {
		return nil, fmt.Errorf("key %s of the ssh-agent is of type %s, want %s", fingerprint, parsed.Type(), ssh.KeyAlgoED25519)
	}
	return a, nil
}

// call connects anew each time: an agent may be restarted at any moment, and a
// signature is not so frequent that a local connection counted.
func (a *Agent) call(ctx context.Context, f func(agent.ExtendedAgent) error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return fmt.Errorf("asking the ssh-agent: %w", err)
	}
	deadline, _ := ctx.Deadline()
	err = errors.Join(conn.SetDeadline(deadline), f(agent.NewClient(conn)))
	if err := errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("asking the ssh-agent at %s: %w", a.socket, err)
	}
	return nil
}

// Public implements crypto.Signer.
func (a *Agent) Public() crypto.PublicKey { return a.public }

// Sign implements crypto.Signer.
func (a *Agent) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := wantRaw(opts); err != nil {
		return nil, err
	}
	var sig []byte
	err := a.call(context.Background(), func(c agent.ExtendedAgent) error {
		s, err := c.Sign(a.key, message)
		if err != nil {
			return err
		}
		if s.Format != ssh.KeyAlgoED25519 || !ed25519.Verify(a.public, message, s.Blob) {
			return errWrong
		}
		sig = s.Blob
		return nil
	})
	return sig, err
}
