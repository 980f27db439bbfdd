package gate

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	//lint:ignore SA1019 containers/image verifies with it where it is built without GnuPG
	frozen "golang.org/x/crypto/openpgp"
)

func sign(t testing.TB, k *Key, img Image, at time.Time, valid time.Duration) []byte {
	t.Helper()
	b, err := k.Sign(img, at, valid)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSignatureForTheFrozenLibrary verifies with what containers/image uses
// where GnuPG is not there; podman in cmd/e2e/gate uses GnuPG.
func TestSignatureForTheFrozenLibrary(t *testing.T) {
	k := signingKey(t)
	for name, key := range map[string]func() ([]byte, error){"armored": k.Public, "binary": k.keyring} {
		b, err := key()
		if err != nil {
			t.Fatal(err)
		}
		read := frozen.ReadKeyRing
		if name == "armored" {
			read = frozen.ReadArmoredKeyRing
		}
		ring, err := read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		md, err := frozen.ReadMessage(bytes.NewReader(sign(t, k, image("good"), now, time.Hour)), ring, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := io.ReadAll(md.UnverifiedBody)
		if err != nil || md.SignatureError != nil || md.Signature == nil || *md.Signature.SigLifetimeSecs != 3600 || md.SignedBy == nil {
			t.Fatalf("%s: %v, %v", name, err, md.SignatureError)
		}
		want := `{"critical":{"identity":{"docker-reference":"docker.io/stagex/good@` + string(digestOf("good")) + `"},` +
			`"image":{"docker-manifest-digest":"` + string(digestOf("good")) + `"},"type":"atomic container signature"},` +
			`"optional":{"creator":"cairn gate v1","timestamp":` + fmt.Sprint(now.Unix()) + `}}`
		if string(text) != want {
			t.Errorf("signed is\n%s\nwant\n%s", text, want)
		}
	}
}

func TestVerifySignature(t *testing.T) {
	k := signingKey(t)
	signature := sign(t, k, image("good"), now, time.Hour)
	if img, err := k.Verify(signature, now); err != nil || img != image("good") {
		t.Errorf("%v, %v", img, err)
	}
	if _, err := k.Verify(signature, now.Add(2*time.Hour)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired: %v", err)
	}
	if !k.Made(signature, now.Add(2*time.Hour)) {
		t.Error("an expired signature is not the gate's any more")
	}
	if img, err := k.Verify(sign(t, k, image("good"), now, 0), now.AddDate(30, 0, 0)); err != nil || img != image("good") {
		t.Errorf("for ever: %v, %v", img, err)
	}
	_, other, err := GenerateKey(now)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ReadPublicKey(other)
	if err != nil {
		t.Fatal(err)
	}
	if stranger.Made(signature, now) {
		t.Error("another key made it, too")
	}
	for i := range signature {
		changed := bytes.Clone(signature)
		changed[i] ^= 1
		// Made holds whatever the expiry, so what says when it expires must be signed.
		if img, err := k.Verify(changed, now); err == nil && img != image("good") {
			t.Errorf("byte %d changed: a signature of %s", i, img)
		}
		if k.Made(changed, now.Add(2*time.Hour)) && !k.Made(changed, now) {
			t.Errorf("byte %d changed: made by the gate once it has expired", i)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "twice": append(bytes.Clone(signature), signature...), "cut off": signature[:len(signature)-1],
		"more after it": append(bytes.Clone(signature), 0), "too long": bytes.Repeat([]byte{0}, MaxSignature+1), "text": []byte("text"),
	} {
		if k.Made(b, now) {
			t.Errorf("%s: made by the gate", name)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	public, err := ReadPublicKey(testKey().public)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := public.Sign(image("good"), now, 0); err == nil {
		t.Error("a public key signs")
	}
	for _, d := range []time.Duration{-time.Second, time.Millisecond, 200 * 366 * 24 * time.Hour} {
		if _, err := signingKey(t).Sign(image("good"), now, d); err == nil {
			t.Errorf("valid for %s", d)
		}
	}
}

func TestKeys(t *testing.T) {
	secret, public := testKey().secret, testKey().public
	if k, err := ReadPublicKey(public); err != nil || k.Fingerprint() != signingKey(t).Fingerprint() || !k.Fingerprint().Valid() {
		t.Errorf("%v, %v", k, err)
	}
	locked := signingKey(t)
	if err := locked.entity.EncryptPrivateKeys([]byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	protected, err := armored("PGP PRIVATE KEY BLOCK", func(w io.Writer) error { return locked.entity.SerializePrivateWithoutSigning(w, nil) })
	if err != nil {
		t.Fatal(err)
	}
	readSecret := func(b []byte) (*Key, error) { return ReadSecretKey(b, now) }
	for name, tt := range map[string]struct {
		read func([]byte) (*Key, error)
		in   []byte
		want string
	}{
		"a secret key is not handed around": {ReadPublicKey, secret, "it is a secret key"},
		"a public key does not sign":        {readSecret, public, "it is a public key"},
		"a passphrase cannot be entered":    {readSecret, protected, "protected by a passphrase"},
		"two keys are not one":              {ReadPublicKey, append(must(public, signingKey(t).keyring), must(public, signingKey(t).keyring)...), "2 OpenPGP keys, want one"},
		"nothing is no key":                 {ReadPublicKey, nil, "0 OpenPGP keys"},
		"text is no key":                    {ReadPublicKey, []byte("-----BEGIN CERTIFICATE-----\n"), "parsing an OpenPGP key"},
		"a key of the future does not sign": {func(b []byte) (*Key, error) { return ReadSecretKey(b, now.AddDate(-1, 0, 0)) }, secret, "may not sign"},
	} {
		if _, err := tt.read(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must(_ []byte, f func() ([]byte, error)) []byte {
	b, err := f()
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzVerifySignature takes a signature from a file: to read the secret key takes
// seconds where code is instrumented.
func FuzzVerifySignature(f *testing.F) {
	k, err := ReadPublicKey(testKey().public)
	if err != nil {
		f.Fatal(err)
	}
	signature, err := os.ReadFile("testdata/good.signature")
	if err != nil {
		f.Fatal(err)
	}
	if img, err := k.Verify(signature, now); err != nil || img != image("good") {
		f.Fatal(img, err)
	}
	f.Add(signature)
	f.Fuzz(func(t *testing.T, b []byte) {
		if img, err := k.Verify(b, now); err == nil && img != image("good") {
			t.Errorf("a signature of %s", img)
		}
	})
}

func FuzzSignaturePath(f *testing.F) {
	f.Add(signaturePath(image("good")) + "/signature-1")
	f.Fuzz(func(t *testing.T, s string) {
		img, n, ok := parseSignaturePath(s)
		if !ok {
			return
		}
		if again := signaturePath(img) + "/signature-" + n; again != s {
			t.Errorf("%q is read as %q", s, again)
		}
		if !filepath.IsLocal(signaturePath(img)) {
			t.Errorf("%q leads outside", s)
		}
	})
}

// aStore is a lookaside store, and the directory of one image in it.
type aStore struct {
	*testing.T
	*Lookaside
	img           Image
	dir           string
	first, second []byte // signatures, of which the first has expired
}

func newStore(t *testing.T) *aStore {
	k := signingKey(t)
	s := &aStore{T: t, Lookaside: &Lookaside{Dir: t.TempDir(), Key: k}, img: image("good")}
	s.dir = filepath.Join(s.Lookaside.Dir, "docker.io/stagex/good@sha256="+s.img.Digest.Hex())
	s.first, s.second = sign(t, k, s.img, now.Add(-2*time.Hour), time.Hour), sign(t, k, s.img, now, time.Hour)
	return s
}

func (s *aStore) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// write puts a file there as somebody else would.
func (s *aStore) write(n int, b []byte) {
	s.Helper()
	s.check(os.MkdirAll(s.dir, 0o700))
	s.check(os.WriteFile(file(s.dir, n), b, 0o600))
}

func (s *aStore) want(what string, files ...string) {
	s.Helper()
	got := []string{}
	for n := 1; ; n++ {
		b, err := os.ReadFile(file(s.dir, n))
		if err != nil {
			break
		}
		switch {
		case bytes.Equal(b, s.first):
			b = []byte("first")
		case bytes.Equal(b, s.second):
			b = []byte("second")
		}
		got = append(got, string(b))
	}
	if diff := cmp.Diff(files, got); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (s *aStore) remove(want bool) {
	s.Helper()
	removed, err := s.Remove(s.img, now)
	if s.check(err); removed != want {
		s.Errorf("removed %v, want %v", removed, want)
	}
}

func TestLookaside(t *testing.T) {
	s := newStore(t)
	s.remove(false)
	s.check(s.Put(s.img, s.first, now))
	s.want("a signature", "first")
	s.check(s.Put(s.img, s.second, now))
	s.want("a new one takes its place, though it has expired", "second")
	s.write(2, []byte("another's"))
	s.write(3, s.first)
	s.write(4, []byte("one more"))
	s.check(s.Put(s.img, s.second, now))
	s.want("the gate has one, and others keep theirs", "second", "another's", "one more")
	s.remove(true)
	s.want("without a gap", "one more", "another's")
	s.check(s.Put(s.img, s.second, now))
	s.want("after those of others", "one more", "another's", "second")
}

func TestLookasideLeavesNothingBehind(t *testing.T) {
	s := newStore(t)
	s.check(s.Put(s.img, s.second, now))
	s.remove(true)
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("the empty directory is still there: %v", err)
	}
}

func TestLookasideIsFull(t *testing.T) {
	s := newStore(t)
	for n := range maxSignatures {
		s.write(n+1, []byte("x"))
	}
	if err := s.Put(s.img, s.second, now); err == nil {
		t.Error("one more than is read")
	}
}

func TestPayloadIsStrict(t *testing.T) {
	d := digestOf("good")
	good := `{"critical":{"identity":{"docker-reference":"docker.io/a/b@` + string(d) + `"},"image":{"docker-manifest-digest":"` + string(d) + `"},"type":"atomic container signature"},"optional":{}}`
	if img, err := parsePayload([]byte(good)); err != nil || img != (Image{"docker.io/a/b", d}) {
		t.Fatal(img, err)
	}
	for _, change := range [][2]string{
		{"atomic", "atom"}, {`"type"`, `"Type"`}, {`"optional":{}`, `"optional":{},"x":1`}, {`"image":{`, `"image":{"x":1,`},
		{`"optional":{}`, `"optional":{},"optional":{}`}, {string(d) + `"},"image`, string(digestOf("other")) + `"},"image`}, {"@" + string(d), ":latest"},
		{"docker.io/a/b", "A"}, {`{}}`, `{}}{}`},
	} {
		if img, err := parsePayload([]byte(strings.Replace(good, change[0], change[1], 1))); err == nil {
			t.Errorf("%q for %q: %s", change[1], change[0], img)
		}
	}
}
