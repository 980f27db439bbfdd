package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultPath is the PATH of an image that sets none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Recipe is what an image's configuration and history are derived from.
type Recipe struct {
	Containerfile []byte
	Target        string            // stage; the last if empty
	Platform      string            // such as linux/amd64
	BuildPlatform string            // of the machine that builds: linux/amd64 if empty
	Args          map[string]string // build arguments
	// Images are the images that the Containerfile may build on, by the name that
	// FROM gives them.
	Images map[string]*Image
	Epoch  time.Time // SOURCE_DATE_EPOCH
}

// Describe derives the configuration and history that BuildKit's front end gives
// the image of r, without building anything. What the profile does not cover is
// an error: Windows, HEALTHCHECK, ONBUILD inherited from another stage or image,
// and forms of EXPOSE beyond port[-port][/protocol].
func (p Profile) Describe(r *Recipe) (*Description, error) {
	if _, err := ParseProfile(string(p)); err != nil {
		return nil, err
	}
	f, err := r.parse()
	if err != nil {
		return nil, fmt.Errorf("describing an image: %w", err)
	}
	target := len(f.stages) - 1
	if r.Target != "" {
		if target = f.stageNamed(strings.ToLower(r.Target), len(f.stages)); target < 0 {
			return nil, fmt.Errorf("describing an image: the Containerfile has no stage %q", r.Target)
		}
	}
	s, err := f.describe(target)
	if err != nil {
		return nil, fmt.Errorf("describing an image: %w", err)
	}
	s.finish(f.platform)
	return &Description{Base: s.base, Image: s.image, Layers: s.layers, Epoch: r.Epoch.UTC()}, nil
}

// containerfile is a Recipe that has been parsed.
type containerfile struct {
	*Recipe
	stages   []instructions.Stage
	platform ocispec.Platform
	lex      *shell.Lex
	global   env // arguments before the first FROM, and those that BuildKit predefines
}

func (r *Recipe) parse() (*containerfile, error) {
	if r.Epoch.IsZero() {
		return nil, errors.New("the epoch is not set")
	}
	target, err := platforms.Parse(r.Platform)
	if err != nil {
		return nil, fmt.Errorf("parsing the platform: %w", err)
	}
	build := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	if r.BuildPlatform != "" {
		if build, err = platforms.Parse(r.BuildPlatform); err != nil {
			return nil, fmt.Errorf("parsing the build platform: %w", err)
		}
	}
	if target.OS == "windows" {
		return nil, errors.New("the profile does not cover Windows")
	}
	ast, err := parser.Parse(bytes.NewReader(r.Containerfile))
	if err != nil {
		return nil, err
	}
	stages, args, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		return nil, errors.New("the Containerfile has no stage")
	}
	f := &containerfile{Recipe: r, stages: stages, platform: target, lex: shell.NewLex(ast.EscapeToken)}
	f.predefine(build)
	return f, f.globalArgs(args)
}

// predefine sets the arguments that BuildKit defines itself.
func (f *containerfile) predefine(build ocispec.Platform) {
	target := f.platform
	stage := f.Target
	if stage == "" {
		stage = f.stages[len(f.stages)-1].Name
	}
	if stage == "" {
		stage = "default"
	}
	f.global = env{}
	for _, kv := range [][2]string{
		{"BUILDPLATFORM", platforms.Format(build)}, {"BUILDOS", build.OS}, {"BUILDOSVERSION", build.OSVersion},
		{"BUILDARCH", build.Architecture}, {"BUILDVARIANT", build.Variant},
		{"TARGETPLATFORM", platforms.FormatAll(target)}, {"TARGETOS", target.OS}, {"TARGETOSVERSION", target.OSVersion},
		{"TARGETARCH", target.Architecture}, {"TARGETVARIANT", target.Variant}, {"TARGETSTAGE", stage},
	} {
		if v, ok := f.Args[kv[0]]; ok {
			kv[1] = v
		}
		f.global[kv[0]] = kv[1]
	}
}

// globalArgs takes the ARG instructions before the first FROM.
func (f *containerfile) globalArgs(cmds []instructions.ArgCommand) error {
	for _, cmd := range cmds {
		for _, arg := range cmd.Args {
			if v, ok := f.Args[arg.Key]; ok {
				f.global[arg.Key] = v
			} else if arg.Value != nil {
				v, _, err := f.lex.ProcessWord(*arg.Value, f.global)
				if err != nil {
					return parser.WithLocation(err, cmd.Location())
				}
				f.global[arg.Key] = v
			}
		}
	}
	return nil
}

// stageNamed returns the last stage of a name before the stage with number
// before, or -1.
func (f *containerfile) stageNamed(name string, before int) int {
	for i := before - 1; i >= 0 && name != ""; i-- {
		if f.stages[i].Name == name {
			return i
		}
	}
	return -1
}

// describe runs the instructions of stage n, and of those it builds on.
func (f *containerfile) describe(n int) (*stage, error) {
	st := &f.stages[n]
	if _, ok := f.image(st.Name); ok && st.Name != "" {
		return nil, fmt.Errorf("stage %q has the name of an image: BuildKit would take the image", st.Name)
	}
	base, _, err := f.lex.ProcessWord(st.BaseName, f.global)
	if err != nil {
		return nil, parser.WithLocation(err, st.Location)
	}
	s, err := f.from(base, n)
	if err != nil {
		return nil, parser.WithLocation(fmt.Errorf("FROM %s: %w", base, err), st.Location)
	}
	s.file = f
	for _, cmd := range st.Commands {
		if err := s.run(cmd); err != nil {
			return nil, parser.WithLocation(fmt.Errorf("%s: %w", strings.ToUpper(cmd.Name()), err), cmd.Location())
		}
	}
	return s, nil
}

// from returns what stage n begins with.
func (f *containerfile) from(base string, n int) (*stage, error) {
	s := &stage{env: env{}}
	if i := f.stageNamed(base, n); i >= 0 {
		parent, err := f.describe(i)
		if err != nil {
			return nil, err
		}
		parent.cmdSet = false
		s = parent
	} else if base == "scratch" {
		s.image.Platform = f.platform
		s.image.RootFS.Type = "layers"
		s.image.Config.WorkingDir = "/"
	} else {
		img, ok := f.image(base)
		if !ok {
			return nil, errors.New("no such stage, and no such image was given")
		}
		s.base = img
		if err := json.Unmarshal(img.RawConfig, &s.image); err != nil {
			return nil, fmt.Errorf("parsing its configuration: %w", err)
		}
		s.image.Created = nil
	}
	if len(s.image.Config.OnBuild) > 0 {
		return nil, errors.New("it has ONBUILD instructions, which the profile does not cover")
	}
	if _, ok := shell.EnvsFromSlice(s.image.Config.Env).Get("PATH"); !ok {
		s.image.Config.Env = append(s.image.Config.Env, defaultPath)
	}
	for _, kv := range s.image.Config.Env {
		k, v, _ := strings.Cut(kv, "=")
		s.env[k] = v
	}
	if dir := s.image.Config.WorkingDir; dir != "" {
		s.image.Config.WorkingDir = absolute("/", dir)
	}
	return s, nil
}

// image returns the image that FROM means by a name.
func (f *containerfile) image(name string) (*Image, bool) {
	if img, ok := f.Images[name]; ok {
		return img, true
	}
	img, ok := f.Images[strings.TrimSuffix(name, ":latest")]
	return img, ok
}

// finish sets what depends on the platform that was asked for. An image of
// another platform may have been built upon.
func (s *stage) finish(target ocispec.Platform) {
	img := &s.image
	same := target.OS == img.OS && target.Architecture == img.Architecture
	img.OS, img.Architecture = target.OS, target.Architecture
	if target.Variant != "" || !same {
		img.Variant = target.Variant
	}
	if target.OSVersion != "" || !same {
		img.OSVersion = target.OSVersion
	}
	if target.OSFeatures != nil {
		img.OSFeatures = slices.Clone(target.OSFeatures)
	}
	img.Platform = platforms.Normalize(img.Platform)
}

// env is an environment, for expansion.
type env map[string]string

func (e env) Get(k string) (string, bool) {
	v, ok := e[k]
	return v, ok
}

func (e env) Keys() []string {
	keys := make([]string, 0, len(e))
	for k := range e {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// stage is the state of the image while the instructions are run.
type stage struct {
	file   *containerfile
	base   *Image
	image  dockerspec.DockerOCIImage
	layers int
	env    env // of the instructions: the image's, and arguments
	args   []instructions.KeyValuePairOptional
	cmdSet bool // by this stage
}
