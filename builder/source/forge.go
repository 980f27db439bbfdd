package source

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// guess is a tarball that a forge may have made of what a reference names.
type guess struct {
	ref    string // a commit, a tag or a branch
	prefix string
}

// guesses says, by the URLs of a source, what a forge may have made it from, the
// likeliest first. A guess needs no trust: the hash decides.
func guesses(w *Wanted) []guess {
	var list []guess
	add := func(g guess) {
		if g.ref != "" && checkPrefix(g.prefix) == nil && !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	for _, m := range w.Mirrors {
		if g, err := parseMirror(m); err == nil {
			if git, ok := g.(gitMirror); ok {
				add(guess{git.rev, git.prefix})
			}
		}
		u, err := url.Parse(m)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			continue
		}
		repo, ref, dir := forgeURL(u)
		for _, prefix := range prefixes(repo, ref, dir) {
			add(guess{ref, prefix})
		}
		if commitID.MatchString(w.GitSHA) {
			for _, prefix := range prefixes(repo, ref, dir) {
				add(guess{w.GitSHA, prefix})
			}
		}
	}
	if commitID.MatchString(w.GitSHA) {
		add(guess{w.GitSHA, trimTar(w.File) + "/"})
	}
	return list
}

// forgeURL takes the URL of a forge's archive apart: the repository's name, what
// was asked for, and the directory, where the URL says it. Ref is empty for other
// URLs.
func forgeURL(u *url.URL) (repo, ref, dir string) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	for i, part := range parts {
		rest := strings.Join(parts[i+1:], "/")
		switch {
		case i == 0 || rest == "":
		case part == "-" && parts[i+1] == "archive" && len(parts) >= i+4: // GitLab
			return parts[i-1], strings.Join(parts[i+2:len(parts)-1], "/"), trimTar(path.Base(rest))
		case part == "archive": // GitHub, Gitea, Forgejo, sourcehut
			return parts[i-1], trimRef(trimTar(rest)), ""
		case part == "tar.gz" && i == 2: // GitHub's other host: OWNER/REPOSITORY/tar.gz/REF
			return parts[i-1], trimRef(rest), ""
		case part == "snapshot": // cgit
			repo := strings.TrimSuffix(parts[i-1], ".git")
			dir := trimTar(rest)
			return repo, strings.TrimPrefix(dir, repo+"-"), dir
		}
	}
	return gitweb(u)
}

// gitweb takes ?p=REPOSITORY.git;a=snapshot;h=COMMIT;sf=tgz apart.
func gitweb(u *url.URL) (repo, ref, dir string) {
	q, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, ";", "&"))
	if err != nil || q.Get("a") != "snapshot" {
		return "", "", ""
	}
	repo, ref = strings.TrimSuffix(path.Base(q.Get("p")), ".git"), q.Get("h")
	if len(ref) >= 7 {
		dir = repo + "-" + ref[:7]
	}
	return repo, ref, dir
}

// prefixes are the directories that forges give to a tarball.
func prefixes(repo, ref, dir string) []string {
	if ref == "" {
		return nil
	}
	flat := strings.ReplaceAll(ref, "/", "-")
	var list []string
	if dir != "" {
		list = append(list, dir+"/")
	}
	return append(list, repo+"-"+flat+"/", repo+"-"+strings.TrimPrefix(flat, "v")+"/", repo+"/", strings.ToLower(repo)+"/")
}

func trimTar(name string) string {
	for _, ext := range []string{".tar.gz", ".tgz", ".tar"} {
		if s, ok := strings.CutSuffix(name, ext); ok {
			return s
		}
	}
	return name
}

func trimRef(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/tags/"), "refs/heads/")
}
