package image

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Each history entry names the front end that made it.
const historyComment = "buildkit.dockerfile.v0"

// What an instruction does to the layers.
type effect int

const (
	noLayer     effect = iota
	makesLayer         // and its history entry says so: "# buildkit"
	silentLayer        // WORKDIR, whose entry does not
)

// commit adds a history entry.
func (s *stage) commit(text string, e effect) {
	if e == makesLayer {
		text += " # buildkit"
	}
	if e != noLayer {
		s.layers++
	}
	epoch := s.file.Epoch.UTC()
	s.image.History = append(s.image.History, ocispec.History{
		CreatedBy: text, Comment: historyComment, EmptyLayer: e == noLayer, Created: &epoch,
	})
}

// run runs one instruction, as far as the configuration and the history go.
func (s *stage) run(cmd instructions.Command) error {
	if ex, ok := cmd.(instructions.SupportsSingleWordExpansion); ok {
		// ARG expands its defaults itself, if they are used.
		if _, isArg := cmd.(*instructions.ArgCommand); !isArg {
			if err := ex.Expand(s.expand); err != nil {
				return err
			}
		}
	}
	config := &s.image.Config
	switch c := cmd.(type) {
	case *instructions.ArgCommand:
		return s.arg(c)
	case *instructions.EnvCommand:
		s.setEnv(c)
	case *instructions.RunCommand:
		return s.runCommand(c)
	case *instructions.WorkdirCommand:
		config.WorkingDir = absolute(config.WorkingDir, c.Path)
		e := noLayer
		if config.WorkingDir != "/" {
			e = silentLayer
		}
		s.commit("WORKDIR "+config.WorkingDir, e)
	case *instructions.AddCommand:
		s.copyCommand("ADD", c.SourcesAndDest, c.Chown, c.Chmod, false)
	case *instructions.CopyCommand:
		s.copyCommand("COPY", c.SourcesAndDest, c.Chown, c.Chmod, c.Parents)
	case *instructions.CmdCommand:
		s.cmdSet = true
		config.Cmd = s.withShell(c.CmdLine, c.PrependShell)
		//lint:ignore SA1019 it is deprecated, and BuildKit writes it
		config.ArgsEscaped = true
		s.commit(fmt.Sprintf("CMD %q", config.Cmd), noLayer)
	case *instructions.EntrypointCommand:
		config.Entrypoint = s.withShell(c.CmdLine, c.PrependShell)
		if !s.cmdSet {
			config.Cmd = nil
		}
		s.commit(fmt.Sprintf("ENTRYPOINT %q", config.Entrypoint), noLayer)
	case *instructions.UserCommand:
		config.User = c.User
		s.commit("USER "+c.User, noLayer)
	case *instructions.ShellCommand:
		config.Shell = c.Shell
		s.commit(fmt.Sprintf("SHELL %v", []string(c.Shell)), noLayer)
	default:
		return s.runRare(cmd)
	}
	return nil
}

// runRare runs the instructions that StageX has no use for. HEALTHCHECK is not
// covered: BuildKit's versions put it into the history in different ways.
func (s *stage) runRare(cmd instructions.Command) error {
	config := &s.image.Config
	switch c := cmd.(type) {
	case *instructions.LabelCommand:
		if config.Labels == nil {
			config.Labels = make(map[string]string)
		}
		text := "LABEL"
		for _, kv := range c.Labels {
			config.Labels[kv.Key] = kv.Value
			text += " " + kv.String()
		}
		s.commit(text, noLayer)
	case *instructions.MaintainerCommand:
		s.image.Author = c.Maintainer
		s.commit("MAINTAINER "+c.Maintainer, noLayer)
	case *instructions.VolumeCommand:
		if config.Volumes == nil {
			config.Volumes = make(map[string]struct{})
		}
		for _, v := range c.Volumes {
			if v == "" {
				return errors.New("an empty name")
			}
			config.Volumes[v] = struct{}{}
		}
		s.commit(fmt.Sprintf("VOLUME %v", c.Volumes), noLayer)
	case *instructions.StopSignalCommand:
		config.StopSignal = c.Signal
		s.commit("STOPSIGNAL "+c.Signal, noLayer)
	case *instructions.ExposeCommand:
		return s.expose(c)
	case *instructions.OnbuildCommand:
		config.OnBuild = append(config.OnBuild, c.Expression)
	default:
		return errors.New("the profile does not cover this instruction")
	}
	return nil
}

func (s *stage) expand(word string) (string, error) {
	w, _, err := s.file.lex.ProcessWord(word, s.env)
	return w, err
}

// arg sets build arguments: to what whoever builds gives, else to the
// instruction's default, else to the global one.
func (s *stage) arg(c *instructions.ArgCommand) error {
	text := "ARG"
	for _, arg := range c.Args {
		given, isGiven := s.file.Args[arg.Key]
		switch {
		case isGiven:
			arg.Value = &given
		case arg.Value != nil:
			v, err := s.expand(*arg.Value)
			if err != nil {
				return err
			}
			arg.Value = &v
		default:
			if v, ok := s.file.global[arg.Key]; ok {
				arg.Value = &v
			}
		}
		text += " " + arg.Key
		if arg.Value != nil {
			s.env[arg.Key] = *arg.Value
			text += "=" + *arg.Value
		}
		s.args = append(s.args, arg)
	}
	s.commit(text, noLayer)
	return nil
}

func (s *stage) setEnv(c *instructions.EnvCommand) {
	text := "ENV"
	config := &s.image.Config
	for _, kv := range c.Env {
		text += " " + kv.String()
		s.env[kv.Key] = kv.Value
		i := slices.IndexFunc(config.Env, func(e string) bool {
			k, _, _ := strings.Cut(e, "=")
			return k == kv.Key
		})
		if i < 0 {
			config.Env = append(config.Env, kv.String())
		} else {
			config.Env[i] = kv.String()
		}
	}
	s.commit(text, noLayer)
}

// copyCommand adds the history entry of COPY and ADD. It does not say where
// from.
func (s *stage) copyCommand(name string, files instructions.SourcesAndDest, chown, chmod string, parents bool) {
	words := []string{name}
	if parents {
		words = append(words, "--parents")
	}
	if chown != "" {
		words = append(words, "--chown="+chown)
	}
	if chmod != "" {
		words = append(words, "--chmod="+chmod)
	}
	words = append(words, files.SourcePaths...)
	for _, doc := range files.SourceContents {
		words = append(words, "<<"+doc.Path)
	}
	s.commit(strings.Join(append(words, files.DestPath), " "), makesLayer)
}

// runCommand adds the history entry of RUN: the number of arguments that are
// set, the arguments, and the command line.
func (s *stage) runCommand(c *instructions.RunCommand) error {
	args := []string(c.CmdLine)
	if len(c.Files) > 0 {
		if len(args) != 1 || !c.PrependShell {
			return fmt.Errorf("a here-document with the command %q", args)
		}
		args = []string{heredoc(args[0], c.Files)}
	}
	var words []string
	at := make(map[string]int)
	for _, arg := range s.args {
		v, ok := s.env[arg.Key]
		if !ok {
			v = arg.ValueString()
		}
		if i, ok := at[arg.Key]; ok {
			words[i] = arg.Key + "=" + v
			continue
		}
		at[arg.Key] = len(words)
		words = append(words, arg.Key+"="+v)
	}
	if len(words) > 0 {
		words = append([]string{"|" + strconv.Itoa(len(words))}, words...)
	}
	words = append(words, s.withShell(args, c.PrependShell)...)
	s.commit("RUN "+strings.Join(words, " "), makesLayer)
	return nil
}

// heredoc returns the command that a RUN with here-documents becomes.
func heredoc(line string, files []instructions.ShellInlineFile) string {
	if parser.MustParseHeredoc(line) == nil {
		for _, f := range files {
			line += "\n" + f.Data + f.Name
		}
		return line
	}
	// The document is all there is: it is the command, or, with #!, a program.
	data := files[0].Data
	if files[0].Chomp {
		data = parser.ChompHeredocContent(data)
	}
	if strings.HasPrefix(data, "#!") {
		return path.Join("/dev/pipes", files[0].Name)
	}
	return data
}

// withShell returns the words of a command line in the shell's form, if it has
// that.
func (s *stage) withShell(args []string, prepend bool) []string {
	if !prepend {
		return args
	}
	sh := s.image.Config.Shell
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(sh), strings.Join(args, " "))
}

// expose takes port[-port][/protocol], the forms without addresses.
func (s *stage) expose(c *instructions.ExposeCommand) error {
	var ports []string
	for _, word := range c.Ports {
		words, err := s.file.lex.ProcessWords(word, s.env)
		if err != nil {
			return err
		}
		for _, w := range words {
			more, err := exposed(w)
			if err != nil {
				return err
			}
			ports = append(ports, more...)
		}
	}
	if s.image.Config.ExposedPorts == nil {
		s.image.Config.ExposedPorts = make(map[string]struct{})
	}
	for _, p := range ports {
		s.image.Config.ExposedPorts[p] = struct{}{}
	}
	s.commit(fmt.Sprintf("EXPOSE %v", ports), noLayer)
	return nil
}

func exposed(word string) ([]string, error) {
	span, protocol, _ := strings.Cut(word, "/")
	protocol = strings.ToLower(protocol)
	first, last, isSpan := strings.Cut(span, "-")
	if !isSpan {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || from > to || !slices.Contains([]string{"", "tcp", "udp", "sctp"}, protocol) {
		return nil, fmt.Errorf("%q is not of the form port[-port][/protocol]", word)
	}
	if protocol == "" {
		protocol = "tcp"
	}
	var ports []string
	for p := from; p <= to; p++ {
		ports = append(ports, strconv.FormatUint(p, 10)+"/"+protocol)
	}
	return ports, nil
}

// absolute returns the name of a directory relative to another. BuildKit leaves
// absolute names as they are written, trailing slash and all.
func absolute(dir, name string) string {
	if name == "" {
		name = dir
	}
	if path.IsAbs(name) {
		return name
	}
	return path.Join("/", dir, name)
}
