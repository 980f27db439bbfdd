package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"slices"

	pgpecdsa "github.com/ProtonMail/go-crypto/openpgp/ecdsa"
	pgped25519 "github.com/ProtonMail/go-crypto/openpgp/ed25519"
	"github.com/ProtonMail/go-crypto/openpgp/ed448"
	"github.com/ProtonMail/go-crypto/openpgp/eddsa"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Limits of one OpenPGP key.
const (
	MaxPGPUserIDs    = 64
	MaxPGPSubkeys    = 64
	MaxPGPSignatures = 1024
	MaxPGPOwn        = 256      // signatures that claim to be the key's own, and are verified
	MaxPGPUserID     = 2048     // bytes, as in gpg
	MaxPGPKey        = 64 << 10 // bytes of the canonical form: a proof has room for MaxKeys of them
)

// pgpKey is an OpenPGP transferable public key (RFC 9580, section 10.1) in its
// canonical form: the primary key, the user ids and the subkeys that sign, and of
// signatures only those that the primary key made over them. All of them verify.
//
// The form is a set: its union with another copy of the same key is the same
// whichever comes first, and nobody but the key's owner can add to it.
type pgpKey struct {
	parts []*pgpPart // the primary key; then the others, by their bytes
}

// pgpPart is a key or a user id, and what the primary key signed over it.
type pgpPart struct {
	packet []byte            // with its header
	key    *packet.PublicKey // nil for a user id
	hashed []byte            // what a signature over it hashes of it
	sigs   []*pgpSignature   // by their bytes; one for each statement
}

func (k *pgpKey) primary() *pgpPart { return k.parts[0] }

// pgpReader collects the parts of a key from its packets.
type pgpReader struct {
	key                       pgpKey
	current                   *pgpPart // that signatures are over; nil if they are dropped
	users, subkeys, sigs, own int
	weak                      error // why a self-signature was dropped
}

// readPGPKey reads the packets of one key.
func readPGPKey(packets []byte) (*pgpKey, error) {
	r := new(pgpReader)
	in := packet.NewOpaqueReader(bytes.NewReader(packets))
	for {
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, reason.Errorf(reason.KeyUnsupported, "reading an OpenPGP key: %w", err)
		}
		if err := r.read(p); err != nil {
			return nil, err
		}
	}
	if len(r.key.parts) == 0 {
		return nil, reason.Errorf(reason.KeyUnsupported, "no OpenPGP public key found")
	}
	r.key.normalise()
	return &r.key, r.key.check(r.weak)
}

func (r *pgpReader) read(p *packet.OpaquePacket) error {
	if len(r.key.parts) == 0 && p.Tag == tagSignature {
		return reason.Errorf(reason.KeyUnsupported, "a revocation without its key: import it with `gpg --import`, and give the key as `gpg --armor --export` then writes it")
	}
	if len(r.key.parts) == 0 && p.Tag != tagPublicKey && p.Tag != tagSecretKey && p.Tag != tagMarker {
		return reason.Errorf(reason.KeyUnsupported, "an OpenPGP key begins with a packet of type %d, not with a public key", p.Tag)
	}
	switch p.Tag {
	case tagPublicKey:
		return r.readPrimary(p)
	case tagSecretKey, tagSecretSubkey:
		return errSecretKey()
	case tagUserID:
		return r.readUserID(p)
	case tagPublicSubkey:
		return r.readSubkey(p)
	case tagUserAttribute:
		r.current = nil
		return nil
	case tagSignature:
		return r.readSignature(p)
	case tagMarker, tagTrust, tagPadding:
		return nil
	}
	return reason.Errorf(reason.KeyUnsupported, "an OpenPGP key has a packet of type %d in it", p.Tag)
}

func errSecretKey() error {
	return reason.Errorf(reason.KeyUnsupported, "this is an OpenPGP secret key, which must not leave its owner: it was not kept; "+
		"send the public key, as `gpg --armor --export FINGERPRINT` writes it")
}

func errTooMany(what string, limit int) error {
	return reason.Errorf(reason.KeyUnsupported, "an OpenPGP key with more than %d %s: strip it with `gpg --export-options export-minimal --export`", limit, what)
}

func (r *pgpReader) readPrimary(p *packet.OpaquePacket) error {
	if len(r.key.parts) > 0 {
		return reason.Errorf(reason.KeyUnsupported, "more than one OpenPGP key found: give one at a time")
	}
	part, err := keyPart(p)
	if err != nil {
		return reason.Errorf(reason.KeyUnsupported, "reading an OpenPGP key: %w", err)
	}
	if err := checkPGPKey(part.key); err != nil {
		return reason.Errorf(reason.KeyUnsupported, "OpenPGP key %X: %w", part.key.Fingerprint, err)
	}
	r.key.parts, r.current = append(r.key.parts, part), part
	return nil
}

// keyPart reads a public key or subkey. What the library does not write as it
// was read, it has read otherwise than other programs might.
func keyPart(p *packet.OpaquePacket) (*pgpPart, error) {
	parsed, err := p.Parse()
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*packet.PublicKey)
	if !ok || key.Version != 4 && key.Version != 6 {
		return nil, errors.New("a key of an unknown kind")
	}
	var whole, hashed bytes.Buffer
	if err := errors.Join(key.Serialize(&whole), key.SerializeForHash(&hashed)); err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(hashed.Bytes(), p.Contents) || hashed.Len()-len(p.Contents) != key.Version-1 {
		return nil, errors.New("the key is not in its one encoding")
	}
	return &pgpPart{packet: whole.Bytes(), key: key, hashed: hashed.Bytes()}, nil
}

func (r *pgpReader) readUserID(p *packet.OpaquePacket) error {
	if r.users++; r.users > MaxPGPUserIDs {
		return errTooMany("user ids", MaxPGPUserIDs)
	}
	n := len(p.Contents)
	if n > MaxPGPUserID {
		return reason.Errorf(reason.KeyUnsupported, "an OpenPGP user id of %d bytes is over the limit of %d", n, MaxPGPUserID)
	}
	r.current = &pgpPart{
		packet: packetBytes(tagUserID, p.Contents),
		hashed: append([]byte{0xb4, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, p.Contents...),
	}
	r.key.parts = append(r.key.parts, r.current)
	return nil
}

func (r *pgpReader) readSubkey(p *packet.OpaquePacket) error {
	if r.subkeys++; r.subkeys > MaxPGPSubkeys {
		return errTooMany("subkeys", MaxPGPSubkeys)
	}
	// Subkeys of kinds that do not sign are dropped, with their signatures.
	r.current = nil
	part, err := keyPart(p)
	if err == nil {
		err = checkPGPKey(part.key)
	}
	if err == nil && part.key.Version == r.key.primary().key.Version {
		r.current = part
		r.key.parts = append(r.key.parts, part)
	}
	return nil
}

func (r *pgpReader) readSignature(p *packet.OpaquePacket) error {
	if r.sigs++; r.sigs > MaxPGPSignatures {
		return errTooMany("signatures", MaxPGPSignatures)
	}
	if r.current == nil {
		return nil
	}
	s, err := parsePGPSignature(p.Contents)
	if err != nil {
		// Mostly other people's. If it was the owner's, and nothing is left
		// without it, this is why.
		if bytes.Contains(p.Contents, keyIDBytes(r.key.primary().key)) {
			r.weak = err
		}
		return nil
	}
	if !s.issuedBy(r.key.primary().key) {
		return nil
	}
	if r.own++; r.own > MaxPGPOwn {
		return errTooMany("signatures that claim to be its own", MaxPGPOwn)
	}
	if r.key.states(r.current, s) {
		r.current.sigs = append(r.current.sigs, s)
	}
	return nil
}

// states reports whether s is a statement of the key over one of its parts.
func (k *pgpKey) states(p *pgpPart, s *pgpSignature) bool {
	primary := k.primary()
	data := [][]byte{primary.hashed}
	if p != primary {
		data = append(data, p.hashed)
	}
	if !slices.Contains(p.kinds(), s.SigType) || !s.verify(primary.key, data...) {
		return false
	}
	if s.SigType != packet.SigTypeSubkeyBinding || !s.FlagSign {
		return true
	}
	// A subkey that signs must say that it belongs to the key, or else anybody
	// could take its signatures for their own.
	return s.back != nil && s.back.verify(p.key, data...)
}

// kinds are the signatures that may be over a part.
func (p *pgpPart) kinds() []packet.SignatureType {
	switch {
	case p.key == nil:
		return []packet.SignatureType{packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert,
			packet.SigTypePositiveCert, packet.SigTypeCertificationRevocation}
	case p.key.IsSubkey:
		return []packet.SignatureType{packet.SigTypeSubkeyBinding, packet.SigTypeSubkeyRevocation}
	}
	return []packet.SignatureType{packet.SigTypeDirectSignature, packet.SigTypeKeyRevocation}
}

// normalise brings the parts and their signatures in order, and drops what says
// nothing.
func (k *pgpKey) normalise() {
	byBytes := make(map[string]*pgpPart)
	primary := k.primary()
	for _, p := range k.parts {
		if seen, ok := byBytes[string(p.packet)]; ok {
			seen.sigs = append(seen.sigs, p.sigs...)
			continue
		}
		byBytes[string(p.packet)] = p
	}
	k.parts = k.parts[:0:0]
	for _, p := range byBytes {
		slices.SortFunc(p.sigs, func(a, b *pgpSignature) int { return bytes.Compare(a.body, b.body) })
		// One statement may be in several packets: whoever has seen one can make
		// others of it.
		p.sigs = slices.CompactFunc(p.sigs, func(a, b *pgpSignature) bool {
			return bytes.Equal(a.body[:a.stated], b.body[:b.stated])
		})
		if p != primary && p.counts() {
			k.parts = append(k.parts, p)
		}
	}
	slices.SortFunc(k.parts, func(a, b *pgpPart) int { return bytes.Compare(a.packet, b.packet) })
	k.parts = slices.Insert(k.parts, 0, primary)
}

// counts reports whether a part is kept: a user id that the key certified, a
// subkey that it bound for signing.
func (p *pgpPart) counts() bool {
	return slices.ContainsFunc(p.sigs, func(s *pgpSignature) bool {
		if p.key == nil {
			return s.SigType != packet.SigTypeCertificationRevocation
		}
		return s.SigType == packet.SigTypeSubkeyBinding && s.FlagSign
	})
}

// check refuses a key of which no signature can ever be good, unless it is
// revoked, which is worth knowing.
func (k *pgpKey) check(weak error) error {
	if n := len(k.bytes()); n > MaxPGPKey {
		return reason.Errorf(reason.KeyUnsupported, "an OpenPGP key of %d bytes is over the limit of %d: strip it with `gpg --export-options export-minimal --export`", n, MaxPGPKey)
	}
	fp := k.primary().key.Fingerprint
	if k.revocation() != nil {
		return nil
	}
	if len(k.selfSignatures()) == 0 {
		if weak == nil {
			weak = errors.New("it has no signature by itself that verifies")
		}
		return reason.Errorf(reason.KeyUnsupported, "OpenPGP key %X: nothing says what it may do: %w: export it again, in full", fp, weak)
	}
	if len(k.signers()) == 0 {
		return reason.Errorf(reason.KeyUnsupported, "OpenPGP key %X: neither it nor a subkey may sign", fp)
	}
	return nil
}

// bytes is the canonical form.
func (k *pgpKey) bytes() []byte {
	var b bytes.Buffer
	for _, p := range k.parts {
		b.Write(p.packet)
		for _, s := range p.sigs {
			b.Write(packetBytes(tagSignature, s.body))
		}
	}
	return b.Bytes()
}

func packetBytes(tag byte, contents []byte) []byte {
	var b bytes.Buffer
	if err := (&packet.OpaquePacket{Tag: tag, Contents: contents}).Serialize(&b); err != nil {
		panic("attest: writing to memory failed: " + err.Error())
	}
	return b.Bytes()
}

// merge returns the union of two copies of a key.
func (k *pgpKey) merge(other *pgpKey) (*pgpKey, error) {
	if !bytes.Equal(k.primary().packet, other.primary().packet) {
		return nil, reason.Errorf(reason.KeyUnsupported, "two OpenPGP keys with the fingerprint %X", k.primary().key.Fingerprint)
	}
	var union pgpKey
	for _, p := range slices.Concat(k.parts, other.parts) {
		c := *p
		c.sigs = slices.Clone(p.sigs)
		union.parts = append(union.parts, &c)
	}
	union.normalise()
	users, subkeys, sigs := 0, 0, 0
	for _, p := range union.parts {
		sigs += len(p.sigs)
		if p.key == nil {
			users++
		} else if p.key.IsSubkey {
			subkeys++
		}
	}
	switch n := len(union.bytes()); {
	case users > MaxPGPUserIDs:
		return nil, k.errFull("user ids", MaxPGPUserIDs)
	case subkeys > MaxPGPSubkeys:
		return nil, k.errFull("subkeys", MaxPGPSubkeys)
	case sigs > MaxPGPOwn:
		return nil, k.errFull("signatures", MaxPGPOwn)
	case n > MaxPGPKey:
		return nil, k.errFull("bytes", MaxPGPKey)
	}
	return &union, union.check(nil)
}

// errFull says that two copies of a key have too much between them.
func (k *pgpKey) errFull(what string, limit int) error {
	return reason.Errorf(reason.KeyUnsupported, "together with what is known of it, OpenPGP key %X has more than %d %s: "+
		"leave it as it is, or make a new key, enrol that, and revoke this one", k.primary().key.Fingerprint, limit, what)
}

// newPGPPublicKey returns the key as a PublicKey.
func newPGPPublicKey(k *pgpKey) *PublicKey {
	return &PublicKey{
		Fingerprint: pgpFingerprint(k.primary().key),
		PEM:         writeArmor(armorPublicKey, k.bytes()),
		key:         k,
	}
}

func pgpFingerprint(key *packet.PublicKey) leaf.Fingerprint {
	return leaf.Fingerprint("openpgp:" + hex.EncodeToString(key.Fingerprint))
}

// parsePGPPublicKey reads one key, in armor or not.
func parsePGPPublicKey(raw []byte) (*PublicKey, error) {
	packets, err := pgpKeyPackets(raw)
	if err != nil {
		return nil, err
	}
	k, err := readPGPKey(packets)
	if err != nil {
		return nil, err
	}
	return newPGPPublicKey(k), nil
}

func pgpKeyPackets(raw []byte) ([]byte, error) {
	armored := bytes.TrimLeft(raw, blanks)
	switch {
	case beginsArmor(armored, armorSecretKey):
		return nil, errSecretKey()
	case !beginsArmor(armored, armorPublicKey):
		return raw, nil
	}
	packets, rest, err := cutArmor(armored, armorPublicKey)
	if err != nil {
		return nil, err
	}
	if !onlyBlank(rest) {
		return nil, reason.Errorf(reason.KeyUnsupported, "text follows the OpenPGP key: give one key, and nothing else")
	}
	return packets, nil
}

// keyIDs are the fingerprints and key ids of the primary key and of the subkeys
// that sign.
func (k *pgpKey) keyIDs() []string {
	var ids []string
	for _, p := range k.parts {
		if p.key != nil {
			ids = append(ids, hex.EncodeToString(p.key.Fingerprint), keyIDOf(p.key))
		}
	}
	return ids
}

// spkis are the fingerprints of the key material as PKIX, as far as it has that
// form.
func (k *pgpKey) spkis() []leaf.Fingerprint {
	var fps []leaf.Fingerprint
	for _, p := range k.parts {
		if p.key == nil {
			continue
		}
		der, err := x509.MarshalPKIXPublicKey(goKey(p.key))
		if k, ok := p.key.PublicKey.(*ed448.PublicKey); ok {
			der, err = append(bytes.Clone(spkiEd448), k.Point...), nil
		}
		if err == nil {
			fps = append(fps, leaf.Fingerprint(leaf.SHA256(der)))
		}
	}
	return sortUnique(fps)
}

// spkiEd448 is what an Ed448 key begins with as PKIX (RFC 8410), which the standard
// library does not know.
var spkiEd448 = fromHex("3043300506032b6571033a00")

// goKey returns the key as the standard library has it; nil if it has not.
func goKey(key *packet.PublicKey) any {
	switch k := key.PublicKey.(type) {
	case *rsa.PublicKey:
		return k
	case *eddsa.PublicKey:
		return ed25519.PublicKey(k.X)
	case *pgped25519.PublicKey:
		return ed25519.PublicKey(k.Point)
	case *pgpecdsa.PublicKey:
		if c, err := key.Curve(); err == nil && goCurves[c] != nil {
			if pub, err := ecdsa.ParseUncompressedPublicKey(goCurves[c], k.MarshalPoint()); err == nil {
				return pub
			}
		}
	}
	return nil
}
