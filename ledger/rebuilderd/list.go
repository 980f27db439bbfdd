package rebuilderd

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
)

// Path is where the list is served.
const Path = "/api/v0/pkgs/list"

const (
	// timeout is how long a request may take, and its client to read the answer.
	timeout      = 30 * time.Second
	retrySeconds = "5"
)

// release is rebuilderd's PkgRelease. Its clients want every member but build_id
// and built_at, which may be null.
type release struct {
	Name           string  `json:"name"`
	Version        string  `json:"version"`
	Status         string  `json:"status"`
	Distro         string  `json:"distro"`
	Suite          string  `json:"suite"`
	Architecture   string  `json:"architecture"`
	ArtifactURL    string  `json:"artifact_url"`
	BuildID        *int32  `json:"build_id"`
	BuiltAt        *string `json:"built_at"`
	HasDiffoscope  bool    `json:"has_diffoscope"`
	HasAttestation bool    `json:"has_attestation"`
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	f, err := filterOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	select {
	case s.requests <- struct{}{}:
		defer func() { <-s.requests }()
	case <-ctx.Done():
		refuse(w, fmt.Errorf("%d lists are being read, as many as the ledger serves at once", maxRequests))
		return
	}
	if err := s.survey.Answerable(); err != nil {
		refuse(w, err)
		return
	}
	// Who reads slowly must not keep others waiting. Not every writer has a deadline.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	if err := s.serve(ctx, w, r, f); err != nil {
		if ctx.Err() == nil {
			s.warn(fmt.Errorf("listing packages for rebuilderd's clients: %w", err))
		}
		panic(http.ErrAbortHandler) // what is cut short must not look whole
	}
}

func refuse(w http.ResponseWriter, why error) {
	w.Header().Set("Retry-After", retrySeconds)
	http.Error(w, why.Error(), http.StatusServiceUnavailable)
}

// filter is what a request asks for; what is nil was not said.
type filter struct {
	name, distro, suite, architecture *string
	status                            *status
}

// filterOf reads the parameters that rebuilderd has. Like rebuilderd, it passes
// over others.
func filterOf(q url.Values) (*filter, error) {
	f := &filter{}
	for name, field := range map[string]**string{"name": &f.name, "distro": &f.distro, "suite": &f.suite, "architecture": &f.architecture} {
		if v := q[name]; len(v) > 0 {
			*field = &v[0]
		}
	}
	if v := q["status"]; len(v) > 0 {
		i := slices.Index(statuses[:], v[0])
		if i < 0 {
			return nil, reason.Errorf(reason.ArgumentInvalid, "status %.40q is none of GOOD, BAD and UNKWN", v[0])
		}
		st := status(i)
		f.status = &st
	}
	return f, nil
}

// matches reports whether a filter asks for a package; its status is not looked at. A
// package for any architecture is one for each. No package URL has a suite.
func (f *filter) matches(p *pkg) bool {
	return (f.name == nil || *f.name == p.name) && (f.suite == nil || *f.suite == "") &&
		(f.architecture == nil || slices.Contains([]string{*f.architecture, "any", "all"}, p.architecture))
}

// String tells filters apart.
func (f *filter) String() string {
	text := ""
	for _, field := range []*string{f.name, f.distro, f.suite, f.architecture} {
		if field == nil {
			text += " -"
			continue
		}
		text += fmt.Sprintf(" %q", *field)
	}
	if f.status != nil {
		text += " " + statuses[*f.status]
	}
	return text
}

// serve answers from one state of the table.
func (s *Service) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, f *filter) error {
	list, err := s.survey.List(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = list.Close() }() // nothing is written
	tag := leaf.SHA256(fmt.Appendf(nil, "%d %d%s", list.Changes, list.Due, f)).Hex()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `W/"`+tag+`"`)
	h.Set("Cairn-Complete-Up-To", strconv.FormatUint(list.Scanned, 10))
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		return nil
	}
	packages, err := read(ctx, list, f)
	if err != nil {
		return err
	}
	return write(w, packages)
}

// listed is a package with the worst of its artifacts.
type listed struct {
	pkg
	worst status
	entry uint64 // that named it first
}

// read returns the packages that a filter asks for. Of one name, what was logged last
// comes first: clients take the first that they find.
func read(ctx context.Context, list *survey.Listing, f *filter) ([]*listed, error) {
	type identity struct{ distro, name, version, architecture string }
	known := make(map[identity]*listed)
	for namespace, distro := range distros {
		if f.distro != nil && *f.distro != distro {
			continue
		}
		err := list.Each(ctx, namespace, func(n survey.Named) {
			p, ok := packageOf(n.Package)
			if !ok || !f.matches(&p) {
				return
			}
			id := identity{p.distro, p.name, p.version, p.architecture}
			at := known[id]
			if at == nil {
				at = &listed{p, good, n.Entry}
				known[id] = at
			}
			at.url, at.worst, at.entry = max(at.url, p.url), min(at.worst, statusOf(n.Verdict)), min(at.entry, n.Entry)
		})
		if err != nil {
			return nil, err
		}
	}
	packages := slices.DeleteFunc(slices.Collect(maps.Values(known)), func(p *listed) bool { return f.status != nil && *f.status != p.worst })
	slices.SortFunc(packages, func(a, b *listed) int {
		return cmp.Or(cmp.Compare(a.distro, b.distro), cmp.Compare(a.name, b.name), cmp.Compare(b.entry, a.entry),
			cmp.Compare(a.architecture, b.architecture), cmp.Compare(a.version, b.version))
	})
	return packages, nil
}

// write writes packages as a JSON array, one in a line.
func write(w http.ResponseWriter, packages []*listed) error {
	out := bufio.NewWriterSize(w, 32<<10)
	separator := "[\n"
	for _, p := range packages {
		text, err := json.Marshal(&release{
			Name: p.name, Version: p.version, Status: statuses[p.worst], Distro: p.distro, Architecture: p.architecture, ArtifactURL: p.url,
		})
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator) // the error stays, and is found at the end
		_, _ = out.Write(text)
		separator = ",\n"
	}
	if separator == "[\n" {
		_, _ = out.WriteString("[")
	}
	_, _ = out.WriteString("\n]\n")
	return out.Flush()
}
