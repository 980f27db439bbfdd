package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options say which of Debian's releases apt is to look at.
type Options struct {
	// Suite is a release's code name, such as trixie. If it is empty, the
	// machine's own.
	Suite string
	// Arch is Debian's name of the architecture; if empty, the machine's.
	Arch string
	// Types are "deb", "deb-src" or both, with a space.
	Types string
	// Scratch is a directory for apt's lists and downloads.
	Scratch string

	// Etc is apt's configuration, and OSRelease the file that names the machine's
	// release; if they are empty, /etc/apt and /etc/os-release.
	Etc, OSRelease string
}

// Apt is apt, in a directory of its own. It may be used concurrently.
type Apt struct {
	dir   string
	suite string
	arch  string
	env   []string
	// updateErr is what apt said when it could not have all indexes. Those that it
	// verified are used nevertheless; this explains what is missing.
	updateErr error
}

// Download is a file that apt knows where to get.
type Download struct {
	URI    string
	File   string // its name
	Size   int64
	SHA256 string // lower-case hex, of the index that apt verified
}

// NewApt makes a private apt from the machine's configuration, and gets the
// indexes. Close removes it.
func NewApt(ctx context.Context, o Options) (_ *Apt, err error) {
	for _, name := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%s is needed for files of Debian: %w", name, err)
		}
	}
	dir, err := os.MkdirTemp(o.Scratch, "apt-*")
	if err != nil {
		return nil, fmt.Errorf("making a directory for apt: %w", err)
	}
	a := &Apt{dir: dir, suite: o.Suite, arch: o.Arch}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.arch == "" {
		out, err := exec.CommandContext(ctx, "dpkg", "--print-architecture").Output()
		if err != nil {
			return nil, fmt.Errorf("asking dpkg for the architecture: %w", err)
		}
		a.arch = strings.TrimSpace(string(out))
	}
	if err := a.configure(o); err != nil {
		return nil, err
	}
	if _, err := a.run(ctx, "apt-get", "-q", "update"); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a.updateErr = fmt.Errorf("getting the indexes of Debian: %w", err)
	}
	return a, nil
}

// Close removes the private directory.
func (a *Apt) Close() error { return os.RemoveAll(a.dir) }

// configure writes apt's private configuration. The machine's own is read before
// it, for proxies, certificates and the like.
func (a *Apt) configure(o Options) error {
	etc := orDefault(o.Etc, "/etc/apt")
	release, err := machineRelease(orDefault(o.OSRelease, "/etc/os-release"))
	if err != nil {
		return err
	}
	machine, err := machineRepositories(etc)
	if err != nil {
		return err
	}
	repositories := forSuite(machine, release, o.Suite)
	if len(repositories) == 0 {
		return fmt.Errorf("apt's configuration in %s names no repository of Debian %s with the component main", etc, release)
	}
	var sources bytes.Buffer
	for _, r := range repositories {
		r.format(&sources, o.Types)
	}
	// apt fetches as a user of its own, who must reach its directories.
	if err := os.Chmod(a.dir, 0o755); err != nil {
		return fmt.Errorf("opening the directory to apt: %w", err)
	}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "sources", "preferences", "files"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return fmt.Errorf("making a directory for apt: %w", err)
		}
	}
	for name, text := range map[string]string{
		"sources/debian.sources": sources.String(),
		"status":                 "", // nothing is installed
		"apt.conf":               a.config(etc),
		"first.conf":             fmt.Sprintf("Dir::Etc::main %q;\n", filepath.Join(a.dir, "apt.conf")),
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("configuring apt: %w", err)
		}
	}
	a.env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "first.conf"), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	return nil
}

// config is read last, after apt.conf.d and apt.conf of the machine.
func (a *Apt) config(etc string) string {
	var b strings.Builder
	if main := filepath.Join(etc, "apt.conf"); etc == "/etc/apt" && exists(main) {
		fmt.Fprintf(&b, "#include %q;\n", main)
	}
	// Hooks of the machine are about its own package state.
	for _, hook := range []string{"APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success"} {
		fmt.Fprintf(&b, "#clear %s;\n", hook)
	}
	for _, index := range []string{"deb::DEP-11", "deb::DEP-11-icons", "deb::DEP-11-icons-small", "deb::Contents-deb", "deb-src::Contents-dsc"} {
		fmt.Fprintf(&b, "Acquire::IndexTargets::%s::DefaultEnabled \"false\";\n", index)
	}
	fmt.Fprintf(&b, "#clear APT::Architectures;\nAPT::Architecture %q;\nAPT::Architectures { %q; };\n", a.arch, a.arch)
	b.WriteString("#clear APT::Default-Release;\n#clear Acquire::Languages;\nAcquire::Languages { \"none\"; };\nAcquire::Retries \"3\";\n")
	for key, path := range map[string]string{
		"Dir::State":                 "state",
		"Dir::State::status":         "status",
		"Dir::Cache":                 "cache",
		"Dir::Cache::pkgcache":       "cache/pkgcache.bin",
		"Dir::Cache::srcpkgcache":    "cache/srcpkgcache.bin",
		"Dir::Etc::sourcelist":       "no.list",
		"Dir::Etc::sourceparts":      "sources",
		"Dir::Etc::preferences":      "no.preferences",
		"Dir::Etc::preferencesparts": "preferences",
	} {
		fmt.Fprintf(&b, "%s %q;\n", key, filepath.Join(a.dir, path))
	}
	return b.String()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// run runs a command of apt, and returns what it printed.
func (a *Apt) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir = a.env, filepath.Join(a.dir, "files")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return stdout.Bytes(), fmt.Errorf("%s: %w: %s", name, err, lastLines(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// lastLines shortens what a command complained of.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], "; ")
}

// explain adds what went wrong with the indexes to an error that follows from it.
func (a *Apt) explain(err error) error {
	if a.updateErr == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", err, a.updateErr)
}

// SourceFile finds a file of a source package: of the given version, or of the
// newest that has it.
func (a *Apt) SourceFile(ctx context.Context, pkg, ver, file string) (*Download, error) {
	out, err := a.run(ctx, "apt-cache", "showsrc", "--only-source", pkg)
	if err != nil {
		return nil, a.explain(err)
	}
	var versions []string
	for _, s := range stanzas(out) {
		versions = append(versions, s["version"])
		if ver != "" && s["version"] != ver {
			continue
		}
		if !strings.Contains(s["checksums-sha256"]+"\n", " "+file+"\n") {
			continue
		}
		uris, err := a.uris(ctx, "source", "--download-only", pkg+"="+s["version"])
		for _, d := range uris {
			if d.File == file {
				return &d, nil
			}
		}
		if err != nil {
			return nil, a.explain(err)
		}
	}
	if len(versions) == 0 {
		return nil, a.explain(fmt.Errorf("no source package is named %s", pkg))
	}
	return nil, a.explain(fmt.Errorf("source package %s has no file %s in version %s; the versions to be had are: %s",
		pkg, file, orDefault(ver, "any"), strings.Join(versions, ", ")))
}

// uris asks apt-get where files are. Those that it knows are returned also with
// an error.
func (a *Apt) uris(ctx context.Context, args ...string) ([]Download, error) {
	out, err := a.run(ctx, "apt-get", append([]string{"-qq", "--print-uris"}, args...)...)
	var list []Download
	for line := range strings.Lines(string(out)) {
		if d, ok := parseURI(strings.TrimSuffix(line, "\n")); ok {
			list = append(list, d)
		}
	}
	return list, err
}

// parseURI reads one line of --print-uris: 'URI' file size SHA256:hex
func parseURI(line string) (Download, bool) {
	uri, rest, ok := strings.Cut(strings.TrimPrefix(line, "'"), "' ")
	f := strings.Fields(rest)
	if !ok || len(f) != 3 || line[0] != '\'' {
		return Download{}, false
	}
	size, err := strconv.ParseInt(f[1], 10, 64)
	sum, ok := strings.CutPrefix(f[2], "SHA256:")
	if err != nil || size < 0 || !ok || !hexSum.MatchString(sum) {
		return Download{}, false
	}
	return Download{URI: uri, File: f[0], Size: size, SHA256: sum}, true
}

// Get has apt download a file, and gives its bytes to w. It checks the hash of
// the index; the caller has one of its own.
func (a *Apt) Get(ctx context.Context, d *Download, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(filepath.Join(a.dir, "files"), "get-*")
	if err != nil {
		return fmt.Errorf("making a directory for apt: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("opening the directory to apt: %w", err)
	}
	file := filepath.Join(dir, "file")
	if _, err := a.run(ctx, helper(), "download-file", d.URI, file, "SHA256:"+d.SHA256); err != nil {
		return fmt.Errorf("downloading %s: %w", d.File, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("reading what apt downloaded: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("copying %s: %w", d.File, err)
	}
	return nil
}

// helper is apt's own downloader, which is not on the path.
func helper() string {
	if path, err := exec.LookPath("apt-helper"); err == nil {
		return path
	}
	return "/usr/lib/apt/apt-helper"
}
