package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
)

// parts is what the configuration names, resolved.
type parts struct {
	logs []witness.Log
	// peers are URLs without a trailing slash.
	peers []string
	// witnesses are the keys whose cosignatures are known: of peers, and of the
	// policy.
	witnesses []note.Verifier
	// evidence is where evidence about an origin is posted.
	evidence map[string]string
}

// resolve reads the keys and the policy that a configuration names.
func resolve(c *config) (*parts, error) {
	p := &parts{evidence: make(map[string]string)}
	known, err := readPolicy(c.Policy)
	if err != nil {
		return nil, usageError{err}
	}
	for _, l := range c.Logs {
		if err := p.addLog(l, known); err != nil {
			return nil, usageError{fmt.Errorf("reading logs: %w", err)}
		}
	}
	for _, peer := range c.Peers {
		if err := p.addPeer(peer, known); err != nil {
			return nil, usageError{fmt.Errorf("reading peers: %w", err)}
		}
	}
	if known != nil {
		for _, w := range known.Witnesses() {
			p.addWitness(w.Verifier)
		}
	}
	return p, nil
}

func readPolicy(path string) (*policy.Policy, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing policy %s: %w", path, err)
	}
	return p, nil
}

func (p *parts) addLog(l logConfig, known *policy.Policy) error {
	log, err := witness.NewLog(l.Keys, l.RetiredKeys, l.URL)
	if err != nil {
		return err
	}
	if log.URL == "" && known != nil {
		for _, other := range known.Logs() {
			if other.Name == log.Origin {
				log.URL = orElse(log.URL, other.URL)
			}
		}
	}
	for _, u := range []*string{&log.URL, &l.EvidenceURL} {
		if *u, err = checkURL(*u, true); err != nil {
			return fmt.Errorf("log %s: %w", log.Origin, err)
		}
	}
	if l.EvidenceURL != "" {
		p.evidence[log.Origin] = l.EvidenceURL
	}
	for _, other := range p.logs {
		if other.Origin == log.Origin {
			return fmt.Errorf("log %s is given twice: list its keys together", log.Origin)
		}
	}
	p.logs = append(p.logs, log)
	return nil
}

func (p *parts) addPeer(c peerConfig, known *policy.Policy) error {
	if c.Name != "" {
		if c.URL != "" || c.VKey != "" {
			return fmt.Errorf("peer %q has a name of the policy, so it has no url and vkey here", c.Name)
		}
		found := false
		if known != nil {
			for _, w := range known.Witnesses() {
				if w.Name == c.Name {
					c.URL, c.VKey, found = w.URL, w.VKey, true
				}
			}
		}
		if !found || c.URL == "" {
			return fmt.Errorf("peer %q is neither a URL nor a witness with a URL in the policy", c.Name)
		}
	}
	u, err := checkURL(c.URL, false)
	if err != nil {
		return err
	}
	p.peers = append(p.peers, u)
	if c.VKey == "" {
		return nil
	}
	v, err := torchwood.NewCosignatureVerifier(c.VKey)
	if err != nil {
		return fmt.Errorf("reading the key of peer %s: %w", u, err)
	}
	p.addWitness(v)
	return nil
}

func (p *parts) addWitness(v note.Verifier) {
	for _, have := range p.witnesses {
		if evidence.KeyID(have) == evidence.KeyID(v) {
			return
		}
	}
	p.witnesses = append(p.witnesses, v)
}

// checkURL returns a URL without a trailing slash.
func checkURL(s string, optional bool) (string, error) {
	if s == "" && optional {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%.120q is not an http or https URL", s)
	}
	return strings.TrimRight(s, "/"), nil
}
