package attest

import "fmt"

// Merge returns what k and other, which have one fingerprint, say of the key
// together.
func (k *PublicKey) Merge(other *PublicKey) (*PublicKey, error) {
	if other.Fingerprint != k.Fingerprint {
		return nil, fmt.Errorf("merging key %s with key %s", k.Fingerprint, other.Fingerprint)
	}
	return k, nil
}
