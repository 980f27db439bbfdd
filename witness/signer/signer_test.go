package signer

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("CAIRN_TEST_SIGNER"); mode != "" {
		helper(mode)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testKey() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("key"))
	return ed25519.NewKeyFromSeed(seed[:])
}

func check(t *testing.T, s crypto.Signer) {
	t.Helper()
	message := []byte("cosignature/v1\ntime 1\nmessage\n")
	sig, err := s.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(s.Public().(ed25519.PublicKey), message, sig) {
		t.Error("the signature does not verify")
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	made, err := CreateFile(path, "witness.example/w")
	if err != nil {
		t.Fatal(err)
	}
	check(t, made.Signer)
	read, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if read.Name != "witness.example/w" || !made.Signer.Public().(ed25519.PublicKey).Equal(read.Signer.Public()) {
		t.Errorf("read key %q, want the one that was made", read.Name)
	}
	if _, err := CreateFile(path, "witness.example/w"); err == nil {
		t.Error("a key was overwritten")
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v, want a refusal that says what to do", mode, err)
		}
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if _, err := CreateFile(bad, "a name with spaces"); err == nil {
		t.Error("a bad name was accepted")
	}
	if _, err := os.Stat(bad); err == nil {
		t.Error("a bad name left a file")
	}
	for name, text := range map[string]string{"empty": "", "junk": "PRIVATE+KEY+x", "a vkey": "w+00000000+AAAA"} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// lyingAgent signs something else.
type lyingAgent struct{ agent.ExtendedAgent }

func (a lyingAgent) SignWithFlags(k ssh.PublicKey, data []byte, f agent.SignatureFlags) (*ssh.Signature, error) {
	return a.ExtendedAgent.SignWithFlags(k, append([]byte("x"), data...), f)
}

func serveAgent(t *testing.T, a agent.Agent) string {
	t.Helper()
	// A socket's path is at most about 100 bytes long.
	dir, err := os.MkdirTemp("", "a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(a, c) }()
		}
	}()
	return l.Addr().String()
}

func TestAgent(t *testing.T) {
	ring := agent.NewKeyring().(agent.ExtendedAgent)
	key := testKey()
	if err := ring.Add(agent.AddedKey{PrivateKey: &key}); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := ssh.FingerprintSHA256(public)
	socket := serveAgent(t, ring)
	a, err := OpenAgent(t.Context(), socket, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	check(t, a)
	if _, err := a.Sign(nil, make([]byte, 32), crypto.SHA256); err == nil {
		t.Error("a digest was signed")
	}
	if _, err := OpenAgent(t.Context(), socket, "SHA256:other"); err == nil {
		t.Error("a key that the agent does not have was found")
	}
	if _, err := OpenAgent(t.Context(), socket+"x", fingerprint); err == nil {
		t.Error("an agent that is not there was found")
	}
	lying, err := OpenAgent(t.Context(), serveAgent(t, lyingAgent{ring}), fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lying.Sign(nil, []byte("message"), crypto.Hash(0)); !errors.Is(err, errWrong) {
		t.Errorf("a wrong signature: %v, want errWrong", err)
	}
}

// helper is an external signer: honest, or not.
func helper(mode string) {
	in := bufio.NewScanner(os.Stdin)
	for n := 0; in.Scan(); n++ {
		word, arg, _ := strings.Cut(in.Text(), " ")
		if word == "public" {
			fmt.Println("ed25519 " + base64.StdEncoding.EncodeToString(testKey().Public().(ed25519.PublicKey)))
			continue
		}
		message, _ := base64.StdEncoding.DecodeString(arg)
		switch {
		case mode == "hangs":
			_, _ = io.Copy(io.Discard, os.Stdin)
			select {}
		case mode == "dies" || mode == "dies once" && os.Getenv("CAIRN_TEST_FLAG") != "" && os.Remove(os.Getenv("CAIRN_TEST_FLAG")) == nil:
			os.Exit(1)
		case mode == "refuses" && n == 1:
			fmt.Println("error the token is locked")
		case mode == "junk":
			fmt.Println("what?")
		case mode == "endless":
			for {
				fmt.Print("signature ")
			}
		case mode == "lies":
			fmt.Println("signature " + base64.StdEncoding.EncodeToString(ed25519.Sign(testKey(), append(message, 'x'))))
		default:
			fmt.Println("signature " + base64.StdEncoding.EncodeToString(ed25519.Sign(testKey(), message)))
		}
	}
}

func startProcess(t *testing.T, mode string) (*Process, error) {
	t.Helper()
	t.Setenv("CAIRN_TEST_SIGNER", mode)
	timeout := Timeout
	if mode == "hangs" {
		timeout = 300 * time.Millisecond
	}
	p, err := openProcess([]string{os.Args[0]}, io.Discard, timeout)
	if err == nil {
		t.Cleanup(func() { _ = p.Close() })
	}
	return p, err
}

func TestProcess(t *testing.T) {
	p, err := startProcess(t, "honest")
	if err != nil {
		t.Fatal(err)
	}
	check(t, p)
	first := p.running.cmd.Process.Pid
	check(t, p)
	if p.running.cmd.Process.Pid != first {
		t.Error("the process was started anew for a second signature")
	}
	if _, err := p.Sign(nil, make([]byte, 32), crypto.SHA256); err == nil {
		t.Error("a digest was signed")
	}
	for _, argv := range [][]string{nil, {"/does/not/exist"}, {"true"}} {
		if _, err := OpenProcess(argv, io.Discard); err == nil {
			t.Errorf("%q became a signer", argv)
		}
	}
}

func TestProcessFails(t *testing.T) {
	for mode, want := range map[string]string{
		"hangs": "no answer within", "dies": "EOF", "refuses": "the token is locked",
		"junk": "is not", "endless": "buffer full", "lies": "does not verify",
	} {
		t.Run(mode, func(t *testing.T) {
			p, err := startProcess(t, mode)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Sign(nil, []byte("message"), crypto.Hash(0)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	t.Run("goes on after a refusal", func(t *testing.T) {
		p, err := startProcess(t, "refuses")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Sign(nil, []byte("message"), crypto.Hash(0))
		check(t, p)
	})
	t.Run("is started again", func(t *testing.T) {
		flag := filepath.Join(t.TempDir(), "flag")
		if err := os.WriteFile(flag, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("CAIRN_TEST_FLAG", flag)
		p, err := startProcess(t, "dies once")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Sign(nil, []byte("message"), crypto.Hash(0)); err == nil {
			t.Fatal("a dead process signed")
		}
		check(t, p)
	})
}

func TestProcessShowsErrors(t *testing.T) {
	var stderr bytes.Buffer
	p, err := OpenProcess([]string{"sh", "-c", "echo no token >&2; exit 1"}, &stderr)
	if err == nil {
		_ = p.Close()
		t.Fatal("it became a signer")
	}
	if !strings.Contains(stderr.String(), "no token") {
		t.Errorf("stderr is %q", stderr.String())
	}
}
