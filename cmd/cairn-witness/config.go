package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/cairnlog/cairn/cmd/internal/daemon"
)

// config is the configuration file. Unknown keys are errors. Relative paths are
// relative to the working directory.
type config struct {
	// Name is the name of the witness's key. It may be left out if Key is a
	// file, which has it.
	Name string `yaml:"name"`
	// Key is where the Ed25519 signing key is.
	Key keyConfig `yaml:"key"`
	// State is the database of what was cosigned. It must never be restored from
	// an older copy: a witness that forgot what it cosigned can be made to cosign
	// a fork.
	State string `yaml:"state"`
	// HTTP is the address to listen on; port 0 picks a free one.
	HTTP string `yaml:"http"`
	// Logs are the logs to cosign.
	Logs []logConfig `yaml:"logs"`
	// Peers are the witnesses to exchange checkpoints and evidence with.
	Peers []peerConfig `yaml:"peers"`
	// Policy is a tlog-policy file. Its witnesses' keys are known, so that their
	// cosignatures count as evidence, and its logs' URLs are used for logs that
	// have none here. It adds no log and no peer.
	Policy string `yaml:"policy"`
	// Gossip is how often witnesses are asked, and when to raise an alarm.
	Gossip gossipConfig `yaml:"gossip"`
	// MaxClockBehind is how far the clock may lie behind the latest cosignature
	// before nothing is signed any more.
	MaxClockBehind time.Duration `yaml:"maxClockBehind"`
	// Keep is for how long every cosigned checkpoint is kept, with its proof.
	// Of older ones, the last of each hour is. 0 keeps all for ever.
	Keep time.Duration `yaml:"keep"`
	// Grace is how long requests may go on after SIGTERM.
	Grace time.Duration `yaml:"grace"`
	// Debug is a loopback address for profiles (net/http/pprof); none if empty.
	Debug string `yaml:"debug"`
	// Tracing is where OpenTelemetry traces are sent; nowhere if it is left out.
	Tracing *daemon.Tracing `yaml:"tracing"`
	// LogLevel is debug, info, warn or error.
	LogLevel slog.Level `yaml:"logLevel"`

	// dev is set by -dev: a first start makes what is missing.
	dev bool
}

// keyConfig has one of its fields set.
type keyConfig struct {
	// File is a file in the form of golang.org/x/mod/sumdb/note. No one else may
	// read it.
	File string `yaml:"file"`
	// Agent is an ssh-agent.
	Agent agentConfig `yaml:"agent"`
	// Command is a program and its arguments that signs: see package signer.
	Command []string `yaml:"command"`
}

type agentConfig struct {
	// Socket is the agent's socket; the environment's SSH_AUTH_SOCK if empty.
	Socket string `yaml:"socket"`
	// Fingerprint is the key's, as ssh-keygen -l prints it: SHA256:…
	Fingerprint string `yaml:"fingerprint"`
}

type logConfig struct {
	// Keys are the log's verifier keys, whose name is its origin. More than one
	// during a rotation.
	Keys []string `yaml:"keys"`
	// RetiredKeys are accepted in evidence only.
	RetiredKeys []string `yaml:"retiredKeys"`
	// URL is where the log's tiles are. With them, checkpoints of different
	// sizes can be compared, and a fork be proven.
	URL string `yaml:"url"`
	// EvidenceURL is where evidence about the log is posted, besides the peers.
	EvidenceURL string `yaml:"evidenceURL"`
}

type peerConfig struct {
	// Name is a witness of Policy that has a URL, instead of the other fields.
	Name string `yaml:"name"`
	// URL is the peer's prefix: its checkpoints are at <URL>/<hash>/checkpoint.
	URL string `yaml:"url"`
	// VKey is the peer's verifier key. Without it the peer's checkpoints are
	// compared all the same, since the log signed them, but the peer itself
	// cannot be caught.
	VKey string `yaml:"vkey"`
}

type gossipConfig struct {
	// Interval is how often each peer is asked, ± 20 %.
	Interval time.Duration `yaml:"interval"`
	// ChallengeAfter is how long a checkpoint may go without being explained
	// before it is an open challenge and an alarm.
	ChallengeAfter time.Duration `yaml:"challengeAfter"`
	// StartWait is how long a start waits for peers to say what they saw this
	// witness cosign.
	StartWait time.Duration `yaml:"startWait"`
	// StartPeers is how many peers must have answered before anything is signed.
	// With 0 the witness signs after StartWait whoever has answered.
	StartPeers int `yaml:"startPeers"`
}

// defaults is the configuration of what a file leaves out.
func defaults() *config {
	return &config{
		HTTP: "127.0.0.1:8090",
		Gossip: gossipConfig{
			Interval:       30 * time.Second,
			ChallengeAfter: 5 * time.Minute,
			StartWait:      5 * time.Second,
		},
		MaxClockBehind: time.Minute,
		Keep:           7 * 24 * time.Hour,
		Grace:          10 * time.Second,
	}
}

// devConfig is the configuration of -dev.
func devConfig(dir string) *config {
	c := defaults()
	c.Key.File = filepath.Join(dir, "witness.key")
	c.State = filepath.Join(dir, "state.db")
	c.HTTP = "127.0.0.1:0"
	c.Gossip.StartWait = time.Second
	c.dev = true
	return c
}

func readConfig(path string) (*config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c := defaults()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("parsing configuration %s: %w", path, err)
	}
	return c, nil
}

func (c *config) check() error {
	ways := 0
	for _, set := range []bool{c.Key.File != "", c.Key.Agent.Fingerprint != "", len(c.Key.Command) > 0} {
		if set {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("key must have one of file, agent with a fingerprint, and command")
	case c.Key.File == "" && c.Name == "":
		return errors.New("name is missing: only a key file has one")
	case c.State == "":
		return errors.New("state is missing")
	case len(c.Logs) == 0 && !c.dev:
		return errors.New("logs is empty: there is nothing to cosign")
	case c.Gossip.Interval <= 0 || c.Gossip.ChallengeAfter <= 0 || c.Gossip.StartWait < 0:
		return errors.New("gossip.interval and gossip.challengeAfter must be positive, gossip.startWait not negative")
	case c.Gossip.StartPeers < 0 || c.Gossip.StartPeers > len(c.Peers):
		return fmt.Errorf("gossip.startPeers is %d, of %d peers", c.Gossip.StartPeers, len(c.Peers))
	case c.MaxClockBehind < 0 || c.Keep < 0 || c.Grace <= 0:
		return errors.New("maxClockBehind and keep must not be negative, and grace must be positive")
	}
	return c.Tracing.Check()
}
