package image

import (
	"encoding/json"
	"fmt"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// Running returns, as JSON in one spelling, what of the image's configuration
// decides what runs: environment, entry point, user and the like. Images of
// equal content that differ in it are not the same. Engines write empty values
// in several ways, which are one here.
func (i *Image) Running() ([]byte, error) {
	var img dockerspec.DockerOCIImage
	if err := json.Unmarshal(i.RawConfig, &img); err != nil {
		return nil, fmt.Errorf("parsing the configuration: %w", err)
	}
	c := img.Config
	// Labels are for other programs, ArgsEscaped for Windows.
	c.Labels = nil
	//lint:ignore SA1019 it is deprecated, and BuildKit writes it
	c.ArgsEscaped = false
	if c.WorkingDir == "" {
		c.WorkingDir = "/"
	}
	return json.Marshal(c)
}
