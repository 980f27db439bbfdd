package rebuilderd

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Path is where the list is served.
const Path = "/api/v0/pkgs/list"

const (
	// staleAfter is how long entries may be published without being looked at
	// before nothing is answered any more.
	staleAfter = 5 * time.Minute
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
	if err := s.answerable(); err != nil {
		refuse(w, err)
		return
	}
	// Who reads slowly must not keep others waiting. Not every writer has a deadline.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	if err := s.serve(ctx, w, r, f); err != nil {
		if ctx.Err() == nil {
			s.cfg.Warn(fmt.Errorf("listing packages for rebuilderd's clients: %w", err))
		}
		panic(http.ErrAbortHandler) // what is cut short must not look whole
	}
}

func refuse(w http.ResponseWriter, why error) {
	w.Header().Set("Retry-After", retrySeconds)
	http.Error(w, why.Error(), http.StatusServiceUnavailable)
}

// answerable returns why what the table has cannot be relied on now, or nil.
func (s *Service) answerable() error {
	latest, err := s.cfg.Latest()
	if err != nil {
		return err
	}
	scanned, now := s.scanned.Load(), s.cfg.Now()
	current := s.current.Load()
	if current == 0 || scanned < uint64(latest.N) && now.Sub(time.Unix(current, 0)) > staleAfter {
		return fmt.Errorf("the verdicts are behind: %d of %d entries were looked at", scanned, latest.N)
	}
	c, sigs, err := tlogproof.Open(latest.Signed, s.cfg.Policy)
	if err == nil {
		err = s.cfg.Policy.CheckAt(c.Origin, sigs, now)
	}
	if err != nil {
		return fmt.Errorf("the ledger's checkpoint does not satisfy the policy for rebuilderd's clients: %w", err)
	}
	return nil
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

// query returns the statement for a filter. What is due is not known. A package
// for any architecture is one for each. Of one name, what was logged last comes
// first: clients take the first that they find.
func (f *filter) query(now int64) (string, []any) {
	var where []string
	args := []any{now, unknown}
	and := func(cond string, v any) { where, args = append(where, cond), append(args, v) }
	if f.name != nil {
		and("p.name = ?", *f.name)
	}
	if f.distro != nil {
		and("p.distro = ?", *f.distro)
	}
	if f.architecture != nil {
		and("p.architecture IN (?, 'any', 'all')", *f.architecture)
	}
	if f.suite != nil {
		and("'' = ?", *f.suite) // no package URL has one
	}
	text := "SELECT p.distro, p.name, p.version, p.architecture, max(p.url), min(iif(a.due <= ?, min(a.status, ?), a.status)) AS worst" +
		" FROM packages p JOIN artifacts a ON a.digest = p.artifact"
	if len(where) > 0 {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	text += " GROUP BY p.distro, p.name, p.version, p.architecture"
	if f.status != nil {
		text += " HAVING worst = ?"
		args = append(args, *f.status)
	}
	return text + " ORDER BY p.distro, p.name, min(p.logged) DESC, p.architecture, p.version", args
}

// serve answers from one state of the table.
func (s *Service) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, f *filter) error {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing is written
	now := s.cfg.Now().Unix()
	var changes, due, scanned int64
	if err := tx.QueryRowContext(ctx, "SELECT changes, scanned, (SELECT count(*) FROM artifacts WHERE due <= ?) FROM meta", now).Scan(&changes, &scanned, &due); err != nil {
		return err
	}
	text, args := f.query(now)
	tag := leaf.SHA256(fmt.Appendf(nil, "%d %d %q %q", changes, due, text, args[1:])).Hex()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `W/"`+tag+`"`)
	h.Set("Cairn-Complete-Up-To", strconv.FormatInt(scanned, 10))
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		return nil
	}
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	return writeRows(w, rows)
}

// writeRows writes packages as a JSON array, one in a line.
func writeRows(w http.ResponseWriter, rows *sql.Rows) error {
	out := bufio.NewWriterSize(w, 32<<10)
	separator := "[\n"
	for rows.Next() {
		var p release
		var worst status
		if err := rows.Scan(&p.Distro, &p.Name, &p.Version, &p.Architecture, &p.ArtifactURL, &worst); err != nil {
			return err
		}
		p.Status = statuses[worst]
		text, err := json.Marshal(&p)
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator) // the error stays, and is found at the end
		_, _ = out.Write(text)
		separator = ",\n"
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if separator == "[\n" {
		_, _ = out.WriteString("[")
	}
	_, _ = out.WriteString("\n]\n")
	return out.Flush()
}
