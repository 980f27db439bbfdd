package gate

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func configuration(t *testing.T) *Configuration {
	t.Helper()
	k, err := ReadPublicKey(testKey().public)
	if err != nil {
		t.Fatal(err)
	}
	return &Configuration{Key: k, Scopes: []Scope{"docker.io/stagex", "registry.example:5000"}, Lookaside: "https://gate.example/store"}
}

func TestPolicyJSON(t *testing.T) {
	for digestsOnly, identity := range map[bool]string{false: "matchRepository", true: "matchRepoDigestOrExact"} {
		c := configuration(t)
		c.DigestsOnly = digestsOnly
		b, err := c.PolicyJSON()
		if err != nil {
			t.Fatal(err)
		}
		type requirement struct {
			Type, KeyType  string
			KeyData        []byte
			SignedIdentity struct{ Type string }
		}
		var got struct {
			Default    []requirement
			Transports map[string]map[string][]requirement
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if len(got.Default) != 1 || got.Default[0].Type != "reject" || len(got.Transports) != 1 || len(got.Transports["docker"]) != 2 {
			t.Errorf("policy.json is\n%s", b)
		}
		for scope, rs := range got.Transports["docker"] {
			if len(rs) != 1 || rs[0].Type != "signedBy" || rs[0].KeyType != "GPGKeys" || rs[0].SignedIdentity.Type != identity {
				t.Errorf("%s: %+v", scope, rs)
				continue
			}
			if k, err := ReadPublicKey(rs[0].KeyData); err != nil || k.Fingerprint() != c.Key.Fingerprint() {
				t.Errorf("%s: key %v, %v", scope, k, err)
			}
		}
	}
	c := configuration(t)
	c.Scopes = nil
	if b, err := c.PolicyJSON(); err == nil {
		t.Errorf("without a scope:\n%s", b)
	}
	// Whoever exports with the secret key at hand must not publish it.
	public, err := configuration(t).PolicyJSON()
	if err != nil {
		t.Fatal(err)
	}
	c = configuration(t)
	c.Key = signingKey(t)
	if b, err := c.PolicyJSON(); err != nil || !bytes.Equal(b, public) {
		t.Errorf("with the secret key, policy.json is another: %v\n%s", err, b)
	}
}

func TestRegistriesYAML(t *testing.T) {
	b, err := configuration(t).RegistriesYAML()
	want := "# Where the gate's signatures are. Written by `cairn export oci-policy`.\n" + `docker:
  docker.io/stagex:
    lookaside: https://gate.example/store/docker.io
  registry.example:5000:
    lookaside: https://gate.example/store/registry.example:5000
`
	if diff := cmp.Diff(want, string(b)); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	for in, want := range map[string]string{
		"http://127.0.0.1:8700": "http://127.0.0.1:8700", "https://a.example/b//": "https://a.example/b", "file:///var/lib/x/": "file:///var/lib/x",
		"ftp://a.example": "", "/var/lib/x": "", "file://x/y": "", "http://": "", "http://u:p@a.example": "", "http://a.example?x": "", "http://a.example#x": "", "%": "",
	} {
		if got, err := ParseLookaside(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	c := configuration(t)
	c.Lookaside = strings.Repeat("x", 3)
	if b, err := c.RegistriesYAML(); err == nil {
		t.Errorf("a lookaside that is no URL:\n%s", b)
	}
}
