package attest

import (
	"bytes"
	"slices"

	"github.com/cairnlog/cairn/ledger/reason"
)

// SplitOpenPGPKeys returns the keys of a keyring, in armor or not, each in an armor
// of its own that ParsePublicKey and Open read. It does not look into them.
func SplitOpenPGPKeys(keyring []byte) ([][]byte, error) {
	var packets []byte
	for rest := bytes.TrimLeft(keyring, blanks); len(rest) > 0; rest = bytes.TrimLeft(rest, blanks) {
		if _, ok := firstTag(rest); ok {
			packets, rest = append(packets, rest...), nil
			continue
		}
		if beginsArmor(rest, armorSecretKey) {
			return nil, errSecretKey()
		}
		body, more, err := cutArmor(rest, armorPublicKey)
		if err != nil {
			return nil, err
		}
		packets, rest = append(packets, body...), more
	}
	list, err := splitPackets(packets, len(packets))
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, p := range list {
		switch {
		case p.Tag == tagSecretKey || p.Tag == tagSecretSubkey:
			return nil, errSecretKey()
		case p.Tag == tagPublicKey:
			keys = append(keys, nil)
		case len(keys) == 0:
			return nil, reason.Errorf(reason.KeyUnsupported, "an OpenPGP keyring begins with a packet of type %d, not with a public key", p.Tag)
		}
		last := &keys[len(keys)-1]
		*last = append(*last, packetBytes(p.Tag, p.Contents)...)
	}
	for i, k := range keys {
		keys[i] = []byte(writeArmor(armorPublicKey, k))
	}
	return keys, nil
}

// SplitDetached returns a document that is followed by armored signatures as often
// as there are signatures, each with one of them: so that what one unknown key
// signed does not keep the others out.
func SplitDetached(raw []byte) ([][]byte, error) {
	document, armored, err := cutDetached(raw)
	if err != nil {
		return nil, err
	}
	packets, err := signaturePackets(armored)
	if err != nil {
		return nil, err
	}
	var each [][]byte
	for _, p := range packets {
		each = append(each, slices.Concat(document, []byte(writeArmor(armorSignature, packetBytes(p.Tag, p.Contents)))))
	}
	return each, nil
}
