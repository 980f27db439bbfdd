package gate

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// Certificate returns a TLS configuration with the certificate and key of two
// files, which are read again when they change, as mounted secrets do. A pair
// that cannot be read later on does not replace the one that could.
func Certificate(certFile, keyFile string) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if err := c.load(c.modified()); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: c.get}, nil
}

type certificate struct {
	certFile, keyFile string

	mu   sync.Mutex
	pair *tls.Certificate
	at   [2]time.Time // when the files of pair were changed last
}

// modified returns when the files were changed last.
func (c *certificate) modified() (at [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

func (c *certificate) load(at [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the certificate %s and key %s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.at = &pair, at
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.modified(); at != c.at {
		_ = c.load(at) // the old pair serves on
	}
	return c.pair, nil
}
