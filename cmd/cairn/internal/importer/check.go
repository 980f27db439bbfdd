package importer

import (
	"sync"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// checker finds here what no ledger would take. It knows the keys of the import
// alone.
type checker struct {
	mu   sync.RWMutex
	keys map[leaf.Fingerprint]*attest.PublicKey
	ring attest.Keyring
}

// check returns the refusal that does not depend on which keys a ledger knows.
// If these are the only ones there are, it returns any. What is in no format
// known here is left to the ledger, which may be newer.
func (c *checker) check(raw []byte, final bool) error {
	att, err := attest.Open(raw, c.keyring())
	if err == nil {
		c.learn(att)
		return nil
	}
	refusal, ok := reason.Of(err)
	if final || !ok {
		return err
	}
	switch refusal.Reason {
	case reason.KeyNotEnrolled, reason.FormatUnknown:
		return nil
	}
	return err
}

func (c *checker) keyring() attest.Keyring {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.ring == nil {
		return attest.NewKeyring()
	}
	return c.ring
}

// learn keeps the key that an attestation brings into the log.
func (c *checker) learn(att *attest.Attestation) {
	if att.Enrolment != nil {
		c.add(att.Enrolment.Key)
	}
}

func (c *checker) add(k *attest.PublicKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[leaf.Fingerprint]*attest.PublicKey)
	}
	if known := c.keys[k.Fingerprint]; known != nil {
		if merged, err := known.Merge(k); err == nil {
			k = merged
		}
	}
	c.keys[k.Fingerprint] = k
	list := make([]*attest.PublicKey, 0, len(c.keys))
	for _, k := range c.keys {
		list = append(list, k)
	}
	c.ring = attest.NewKeyring(list...)
}
