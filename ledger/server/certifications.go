package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/certification"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// certifications serves the log as a repository of certifications, in the layout
// of package certification. Requests go through the interceptors of the gRPC
// server, and submissions through the same intake.
type certifications struct {
	service *service
	in      *interceptors
}

// sandbox keeps what strangers wrote from being run by a browser.
const sandbox = "default-src 'none'; sandbox"

// answer is what a request is answered with.
type answer struct {
	status int // 200 if it is 0
	header http.Header
	media  string
	cache  string
	body   []byte
}

// ServeHTTP implements http.Handler.
func (c *certifications) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", sandbox)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		c.serve(w, r, "GetCertification", c.get)
	case http.MethodPut, http.MethodPost:
		c.serve(w, r, "PutCertification", c.put)
	default:
		h.Set("Allow", "GET, HEAD, PUT, POST")
		http.Error(w, "the method is none of GET, HEAD, PUT and POST", http.StatusMethodNotAllowed)
	}
}

// serve answers a request with what f returns, accounted for under a method's name.
func (c *certifications) serve(w http.ResponseWriter, r *http.Request, method string, f func(context.Context, *http.Request) (*answer, error)) {
	got, err := c.in.unary(r.Context(), r, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		return f(ctx, r)
	})
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		writeError(r.Context(), nil, nil, w, r, err)
		return
	}
	a := got.(*answer)
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", a.media)
	w.Header().Set("Cache-Control", a.cache)
	if a.status != 0 && a.status != http.StatusOK {
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body)
		return
	}
	w.Header().Set("ETag", `"`+leaf.SHA256(a.body).Hex()+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

func requestOf(r *http.Request) (*certification.Request, error) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/"+certification.Root+"/")
	if path == "" {
		return nil, reason.Errorf(reason.ArgumentInvalid, "name a package: /%s/{package URL}", certification.Root)
	}
	return certification.ParseRequest(path, r.URL.RawQuery)
}

func (c *certifications) get(ctx context.Context, r *http.Request) (*answer, error) {
	if r.URL.EscapedPath() == "/"+certification.Checkpoint {
		latest, err := c.service.Latest()
		if err != nil {
			return nil, err
		}
		return &answer{media: "text/plain; charset=utf-8", cache: cacheNever, body: latest.Signed}, nil
	}
	req, err := requestOf(r)
	if err != nil {
		return nil, err
	}
	if f, proof, ok := certification.ParseFile(req.File); ok {
		return c.file(ctx, req, f, proof)
	}
	return c.list(ctx, req)
}

// list answers with a page of what is logged about a name. Nothing of it is read
// but leaves, one at a time.
func (c *certifications) list(ctx context.Context, req *certification.Request) (*answer, error) {
	latest, err := c.service.Latest()
	if err != nil {
		return nil, err
	}
	page := req.File
	if page == "" {
		page = certification.Index
	}
	from, _ := certification.ParsePage(page)
	found, err := c.service.Index.Find(ctx, store.NameTerm(req.Hash), from, certification.PageSize+1)
	if err != nil {
		return nil, err
	}
	// The index may already hold entries that are not published yet.
	end, _ := slices.BinarySearch(found, uint64(latest.N))
	if found = found[:end]; len(found) == 0 {
		return nil, reason.Errorf(reason.AttestationNotFound, "of %d entries, none from %d on is about %.300s", latest.N, from, named(req))
	}
	p := certification.Page{}
	if len(found) > certification.PageSize {
		p.Next = found[certification.PageSize]
		found = found[:certification.PageSize]
	}
	for i := range found {
		entries, err := c.service.Index.Entries(ctx, found[i:i+1])
		if err != nil {
			return nil, err
		}
		l, err := leaf.Parse(entries[0].Text)
		if err != nil {
			return nil, err
		}
		p.Entries = append(p.Entries, certification.EntryOf(found[i], l))
	}
	body, err := p.Marshal(req.Dir)
	if err != nil {
		return nil, err
	}
	h := http.Header{
		"Content-Location":     {urlOf(req.Dir, page)},
		"Cairn-Complete-Up-To": {strconv.FormatInt(latest.N, 10)},
	}
	if next := p.NextPage(); next != "" {
		h.Set("Link", "<"+urlOf(req.Dir, next)+`>; rel="next"`)
	}
	return &answer{header: h, media: "application/json", cache: cacheNever, body: body}, nil
}

// named returns what a request calls the package.
func named(req *certification.Request) string {
	if req.Name != "" {
		return req.Name
	}
	return "the name with the hash " + req.Hash.Hex()
}

func urlOf(dir, name string) string { return "/" + certification.Path(dir, name) }

// file answers with an attestation as it was submitted, or with its proof.
func (c *certifications) file(ctx context.Context, req *certification.Request, f certification.File, proof bool) (*answer, error) {
	resp, err := c.service.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: f.Envelope.Hex()})
	if err != nil {
		return nil, err
	}
	l, err := leaf.Parse([]byte(resp.GetEntry().GetLeaf()))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(l.Names, req.Hash) || l.Format != f.Format {
		return nil, reason.Errorf(reason.AttestationNotFound, "attestation %s is in the format %s, and is not about %.300s in the format %s",
			f.Envelope, l.Format, named(req), f.Format)
	}
	if !proof {
		return &answer{media: f.MediaType(), cache: cacheForever, body: resp.GetAttestation()}, nil
	}
	latest, err := c.service.Latest()
	if err != nil {
		return nil, err
	}
	p := tlogproof.Proof{Index: resp.GetEntry().GetIndex(), Leaf: []byte(resp.GetEntry().GetLeaf()), Checkpoint: latest.Signed}
	if p.Path, err = c.service.Prover.Inclusion(ctx, uint64(p.Index), uint64(latest.N), uint64(latest.N)); err != nil {
		return nil, err
	}
	for _, k := range resp.GetKeys() {
		p.Keys = append(p.Keys, k.GetPublicKey())
	}
	body, err := p.Marshal()
	return &answer{media: "text/plain; charset=utf-8", cache: cacheNever, body: body}, err
}

// put logs an attestation that is about the name in the URL.
func (c *certifications) put(ctx context.Context, r *http.Request) (*answer, error) {
	req, err := requestOf(r)
	if err != nil {
		return nil, err
	}
	body, ok := r.Body.(*heldBody)
	if !ok {
		return nil, errors.New("the body of a submission was not read at the door")
	}
	result, err := c.service.intake.SubmitIf(ctx, body.raw, hostOf(r.RemoteAddr), func(att *attest.Attestation) error { return about(req, att) })
	if err != nil {
		return nil, helpEnrol(r, err)
	}
	if _, err := c.service.submitted(ctx, result, "published"); err != nil {
		return nil, err
	}
	l, err := leaf.Parse(result.Leaf)
	if err != nil {
		return nil, err
	}
	e := certification.EntryOf(result.Index, l)
	a := &answer{header: http.Header{"Location": {urlOf(req.Dir, e.Name())}}, media: "application/json", cache: "no-store", status: http.StatusOK}
	if result.Created {
		a.status = http.StatusCreated
	}
	a.body, err = certification.MarshalEntry(req.Dir, e)
	return a, err
}

// maxNamed is how many names a refusal lists.
const maxNamed = 5

// about refuses an attestation that is filed under another name, or as another
// file, than its own.
func about(req *certification.Request, att *attest.Attestation) error {
	if req.File != "" {
		if f := (certification.File{Envelope: att.Leaf.Envelope, Format: att.Leaf.Format}); f.Name() != req.File {
			return reason.Errorf(reason.ArgumentInvalid, "the file would be %s: put it to the package's URL alone", f.Name())
		}
	}
	if slices.Contains(att.Leaf.Names, req.Hash) {
		return nil
	}
	names := att.Names()
	if len(names) == 0 {
		return reason.Errorf(reason.ArgumentInvalid, "the attestation is not about %.300s: it names no package; POST it to /v1/attestations", named(req))
	}
	var list strings.Builder
	for i, n := range names[:min(len(names), maxNamed)] {
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "%.300s", n)
	}
	if more := len(names) - maxNamed; more > 0 {
		fmt.Fprintf(&list, " and %d more", more)
	}
	return reason.Errorf(reason.ArgumentInvalid, "the attestation is not about %.300s: put it under a name that it has, which is %s", named(req), list.String())
}

var (
	// aHost is what a Host header may be to be shown in a command.
	aHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]{1,255}$`)
	// aKey is how refusals name an OpenPGP key.
	aKey = regexp.MustCompile(`\b(?:[0-9A-F]{64}|[0-9A-F]{40}|[0-9A-F]{16})\b`)
)

// helpEnrol tells who submits what an OpenPGP key signed that is not enrolled how to
// enrol it. The refusal says so of other keys.
func helpEnrol(r *http.Request, err error) error {
	e, ok := reason.Of(err)
	if !ok || e.Reason != reason.KeyNotEnrolled || !aHost.MatchString(r.Host) {
		return err
	}
	key := aKey.FindString(e.Message)
	if key == "" {
		return err
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return reason.Errorf(e.Reason, "OpenPGP key %s is not enrolled: enrol it with `gpg --armor --export %s | curl --data-binary @- %s://%s/v1/attestations`, then submit again",
		key, key, scheme, r.Host)
}
