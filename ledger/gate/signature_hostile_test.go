package gate

import (
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// hostileSignatures are messages that look like a signature of the gate's until a
// library believes a length, or indexes into what is empty.
var hostileSignatures = []struct {
	name string
	body []byte // of the signature packet
}{
	{"an empty subpacket that says whether it is exportable", []byte{4, 0, 1, 8, 0, 2, 1, 4, 0, 0, 0, 0}},
	{"an empty unhashed subpacket", []byte{4, 0, 1, 8, 0, 6, 5, 2, 0, 0, 0, 0, 0, 2, 1, 4, 0, 0}},
	{"a hashed area of 1 GiB", []byte{6, 0, 1, 8, 0x40, 0, 0, 0}},
	{"an unhashed area of 1 GiB", []byte{6, 0, 1, 8, 0, 0, 0, 0, 0x40, 0, 0, 0}},
}

// Whoever writes to the lookaside directory chooses what is in it.
func TestHostileSignatures(t *testing.T) {
	k := signingKey(t)
	onePass := []byte{0xc4, 13, 3, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	literal := []byte{0xcb, 7, 'b', 0, 0, 0, 0, 0, 'x'}
	for _, tt := range hostileSignatures {
		signature := slices.Concat(onePass, literal, []byte{0xc2, byte(len(tt.body))}, tt.body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if k.Made(signature, now) {
			t.Errorf("%s: made by the gate", tt.name)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
			t.Errorf("%s: took %d MiB", tt.name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

// A signature is what containers/image reads: nothing goes around the message.
func TestSignatureInOtherContainers(t *testing.T) {
	k := signingKey(t)
	good := sign(t, k, image("good"), now, 0)
	marker := []byte{0xca, 3, 'P', 'G', 'P'}
	text, err := armored("PGP MESSAGE", func(w io.Writer) error {
		_, err := w.Write(good)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a marker before it": slices.Concat(marker, good),
		"a marker after it":  slices.Concat(good, marker),
		"a newline before":   slices.Concat([]byte("\n"), good),
		"in ASCII armor":     text,
	} {
		if k.Made(b, now) {
			t.Errorf("%s: made by the gate", name)
		}
	}
}

// A key is asked whether it may sign now, and not only when it did.
func TestVerifyBySomeTime(t *testing.T) {
	config := packetConfig(now)
	config.Algorithm, config.KeyLifetimeSecs = packet.PubKeyAlgoEdDSA, 3600
	e, err := openpgp.NewEntity("gate", "", "", config)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := armored(openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, nil) })
	if err != nil {
		t.Fatal(err)
	}
	k, err := ReadSecretKey(secret, now)
	if err != nil {
		t.Fatal(err)
	}
	signature := sign(t, k, image("good"), now.Add(time.Minute), 0)
	for after, good := range map[time.Duration]bool{0: false, time.Minute: true, 59 * time.Minute: true, time.Hour: false} {
		if _, err := k.Verify(signature, now.Add(after)); (err == nil) != good {
			t.Errorf("%s after the key was made: %v", after, err)
		}
	}
}
