package main

import (
	"fmt"
	"net"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/server"
)

// rekorConfig is the part of the configuration that makes the ledger a Rekor log.
type rekorConfig struct {
	// Hostname is the host of the URL by which Rekor's clients know the ledger,
	// without a port: they take it for the log's origin. Behind a proxy it is the
	// proxy's.
	Hostname string `yaml:"hostname"`
}

func (c *rekorConfig) check() error {
	if c == nil {
		return nil
	}
	if err := server.CheckRekorHostname(c.Hostname); err != nil {
		return fmt.Errorf("rekor.hostname: %w", err)
	}
	return nil
}

// alias returns the log as Rekor's clients know it, or nil.
func (c *rekorConfig) alias(key *checkpoint.Key) (*checkpoint.Alias, error) {
	if c == nil {
		return nil, nil
	}
	return key.Alias(c.Hostname)
}

// rekorOf is the configuration of -dev: clients use the address that the ledger
// prints.
func rekorOf(listener net.Addr) *rekorConfig {
	host, _, err := net.SplitHostPort(listener.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return &rekorConfig{Hostname: host}
}
