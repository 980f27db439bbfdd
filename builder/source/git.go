package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// gitMirror is a tarball of a commit, made as forges make theirs.
type gitMirror struct {
	url    *url.URL // without git+ and the query
	rev    string   // the commit
	prefix string   // of each path in the tarball, with its slash
}

func parseGit(s string) (mirror, error) {
	u, err := url.Parse(strings.TrimPrefix(s, "git+"))
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, err
	}
	m := gitMirror{rev: query.Get("rev"), prefix: query.Get("prefix")}
	for key, values := range query {
		if key != "rev" && key != "prefix" || len(values) != 1 {
			return nil, fmt.Errorf("%q: the query may hold rev and prefix, each once", s)
		}
	}
	if !commitID.MatchString(m.rev) {
		return nil, fmt.Errorf("rev %q is not a commit in full, in lower-case hex", m.rev)
	}
	if (u.Host == "") != (u.Scheme == "file") || len(u.Path) < 2 || u.Path[0] != '/' || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not of the form git+https://HOST/REPOSITORY?rev=COMMIT[&prefix=NAME/]", s)
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	m.url = u
	if m.prefix == "" {
		m.prefix = strings.TrimSuffix(path.Base(u.Path), ".git") + "-" + m.rev + "/"
	}
	return m, checkPrefix(m.prefix)
}

// checkPrefix holds the directory that a tarball unpacks to, to a relative one.
func checkPrefix(prefix string) error {
	name, ok := strings.CutSuffix(prefix, "/")
	if !ok || !filepath.IsLocal(name) || path.Clean(name) != name || name == "." || strings.ContainsRune(name, 0) {
		return fmt.Errorf("prefix %q is not a directory with its slash", prefix)
	}
	return nil
}

func (m gitMirror) String() string {
	return "git+" + m.url.String() + "?rev=" + m.rev + "&prefix=" + url.QueryEscape(m.prefix)
}

// get fetches the commit alone, where the server lets it, and makes the tarball.
func (m gitMirror) get(ctx context.Context, r *run, w *Wanted, p *partial) (err error) {
	if err := p.reset(); err != nil {
		return err
	}
	repo, err := newGitRepo(ctx, r.Store.scratch(), len(m.rev) == 64)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, repo.close()) }()
	if err := repo.fetch(ctx, m.url.String(), m.rev); err != nil {
		return err
	}
	return repo.archive(ctx, tarball{commit: m.rev, prefix: m.prefix, format: formatOf(w.File)}, p)
}

// tarball says how a commit becomes the bytes of a source.
type tarball struct {
	commit string
	prefix string
	format string
}

// What the tar goes through. GNU gzip made those of the large forges, and still
// does; git's own, on zlib, makes those of others.
const (
	plainTar = "tar"
	gnuGzip  = "tar.gz by gzip"
	gitGzip  = "tar.gz by git"
)

func formatOf(file string) string {
	if strings.HasSuffix(file, ".tar") {
		return plainTar
	}
	return gnuGzip
}

// gitRepo is a bare repository of our own. It can borrow the objects of others,
// of which then nothing else is looked at: no configuration, no hook.
type gitRepo struct{ dir string }

func newGitRepo(ctx context.Context, scratch string, sha256 bool) (*gitRepo, error) {
	for _, name := range []string{"git", "gzip"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%s is needed to make a tarball of a commit: %w", name, err)
		}
	}
	dir, err := os.MkdirTemp(scratch, "git-*")
	if err != nil {
		return nil, fmt.Errorf("making a git repository: %w", err)
	}
	g := &gitRepo{dir: dir}
	format := "sha1"
	if sha256 {
		format = "sha256"
	}
	if err := g.run(ctx, nil, "init", "-q", "--bare", "--template=", "--object-format="+format); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *gitRepo) close() error { return os.RemoveAll(g.dir) }

// borrow makes the objects in the given directories the repository's.
func (g *gitRepo) borrow(objects []string) error {
	var b bytes.Buffer
	for _, dir := range objects {
		// Lines that begin with these mean something else to git.
		if !strings.ContainsAny(dir, "\n") && dir[0] == '/' {
			fmt.Fprintln(&b, dir)
		}
	}
	info := filepath.Join(g.dir, "objects", "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return fmt.Errorf("borrowing objects: %w", err)
	}
	if err := os.WriteFile(filepath.Join(info, "alternates"), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("borrowing objects: %w", err)
	}
	return nil
}

// has reports whether the repository has a commit, or a tag of one.
func (g *gitRepo) has(ctx context.Context, id string) bool {
	return g.run(ctx, nil, "cat-file", "-e", id+"^{commit}") == nil
}

// fetch gets a commit. Servers that give no commit by its name give all.
func (g *gitRepo) fetch(ctx context.Context, from, commit string) error {
	base := []string{"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60", "fetch", "-q", "--no-tags", "--no-recurse-submodules"}
	one := g.run(ctx, nil, append(base, "--depth=1", from, commit)...)
	if one == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := g.run(ctx, nil, append(base, from, "+refs/*:refs/*")...); err != nil {
		return errors.Join(one, err)
	}
	if !g.has(ctx, commit) {
		return fmt.Errorf("the repository has no commit %s", commit)
	}
	return nil
}

// archive writes the tarball of a commit.
func (g *gitRepo) archive(ctx context.Context, t tarball, w io.Writer) error {
	// The default of this one is a file of the user's, whatever the configuration.
	args := []string{"-c", "core.attributesFile=/dev/null"}
	format := "tar.gz"
	switch t.format {
	case plainTar:
		format = "tar"
	case gnuGzip:
		args = append(args, "-c", "tar.tar.gz.command=gzip -cn")
	case gitGzip:
		args = append(args, "-c", "tar.tar.gz.command=git archive gzip")
	}
	return g.run(ctx, w, append(args, "archive", "--format="+format, "--prefix="+t.prefix, t.commit)...)
}

// run runs git. If writing to w fails, that is the error.
func (g *gitRepo) run(ctx context.Context, w io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = g.dir, gitEnv(g.dir, args)
	out := &firstError{w: w}
	if w != nil {
		cmd.Stdout = out
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	switch {
	case out.err != nil:
		return out.err
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("git %s: %w: %s", verb(args), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

func verb(args []string) string {
	for i := 0; i < len(args); i++ {
		if args[i] != "-c" {
			return args[i]
		}
		i++
	}
	return ""
}

// gitEnv leaves git the user's configuration for fetching, which may need a proxy
// or a certificate, and none for what makes bytes.
func gitEnv(dir string, args []string) []string {
	fetching := verb(args) == "fetch"
	var env []string
	for _, kv := range os.Environ() {
		forFetch := strings.HasPrefix(kv, "GIT_CONFIG") || strings.HasPrefix(kv, "GIT_SSL_")
		if strings.HasPrefix(kv, "GIT_") && !(fetching && forFetch) || strings.HasPrefix(kv, "GZIP=") {
			continue
		}
		env = append(env, kv)
	}
	env = append(env, "GIT_DIR="+dir, "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL=https:http:file", "LC_ALL=C", "TZ=UTC")
	if !fetching {
		env = append(env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1")
	}
	return env
}

// firstError remembers why a writer failed, which exec would lose.
type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}
