package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Configuration is what podman, skopeo, buildah and CRI-O must know to obey the
// gate.
type Configuration struct {
	Key *Key
	// Scopes may be pulled from, if signed. All else is rejected: other
	// registries, archives, layouts.
	Scopes []Scope
	// Lookaside is the URL of the signatures: that of a Server, or file:// and
	// the path of a Lookaside's directory.
	Lookaside string
	// DigestsOnly rejects images that are pulled by tag.
	DigestsOnly bool
}

// PolicyJSON returns the containers-policy.json(5) file.
//
// The identity that a signature must state is that of the repository. The gate
// decides about digests, and cannot know which of those that it accepted a tag
// ought to name: who controls the registry can move a tag to an older accepted
// image, but to no other. With DigestsOnly the rule of containers/image for
// digests applies to all, which no reference with a tag can meet.
func (c *Configuration) PolicyJSON() ([]byte, error) {
	if len(c.Scopes) == 0 {
		return nil, errors.New("no scope is named, so that nothing could be pulled")
	}
	keyring, err := c.Key.keyring()
	if err != nil {
		return nil, err
	}
	identity := "matchRepository"
	if c.DigestsOnly {
		identity = "matchRepoDigestOrExact"
	}
	type requirement struct {
		Type           string            `json:"type"`
		KeyType        string            `json:"keyType,omitempty"`
		KeyData        []byte            `json:"keyData,omitempty"`
		SignedIdentity map[string]string `json:"signedIdentity,omitempty"`
	}
	docker := make(map[Scope][]requirement)
	for _, s := range c.Scopes {
		docker[s] = []requirement{{"signedBy", "GPGKeys", keyring, map[string]string{"type": identity}}}
	}
	b, err := json.MarshalIndent(map[string]any{
		"default":    []requirement{{Type: "reject"}},
		"transports": map[string]any{"docker": docker},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding policy.json: %w", err)
	}
	return append(b, '\n'), nil
}

// RegistriesYAML returns the containers-registries.d(5) file.
func (c *Configuration) RegistriesYAML() ([]byte, error) {
	base, err := ParseLookaside(c.Lookaside)
	if err != nil {
		return nil, err
	}
	type section struct {
		Lookaside string `yaml:"lookaside"`
	}
	docker := make(map[string]section)
	for _, s := range c.Scopes {
		// The path that containers/image appends lacks the registry.
		docker[string(s)] = section{base + "/" + s.host()}
	}
	var b bytes.Buffer
	b.WriteString("# Where the gate's signatures are. Written by `cairn export oci-policy`.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(map[string]any{"docker": docker}), e.Close()); err != nil {
		return nil, fmt.Errorf("encoding registries.d: %w", err)
	}
	return b.Bytes(), nil
}

// ParseLookaside checks the URL of a store, and returns it without a final
// slash. containers/image reads http, https and file URLs.
func ParseLookaside(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("parsing the lookaside URL %.300q: %w", s, err)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "", fmt.Errorf("the lookaside URL %.300q has a query, fragment or user, which containers/image would lose", s)
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
	case slices.Contains([]string{"http", "https"}, u.Scheme) && u.Host != "":
	default:
		return "", fmt.Errorf("the lookaside URL %.300q is none of http://…, https://… and file:///…", s)
	}
	return strings.TrimRight(s, "/"), nil
}
