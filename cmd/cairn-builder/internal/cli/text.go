package cli

import (
	"strings"

	units "github.com/docker/go-units"
)

// hexOf returns a digest without its algorithm, as StageX's lists have it.
func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// size returns a number of bytes for people.
func size(n int64) string { return units.BytesSize(float64(n)) }
