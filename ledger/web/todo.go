package web

import (
	"net/http"

	"github.com/cairnlog/cairn/ledger/reason"
)

// What is being written by others; each moves to a file of its own.
var errUnwritten = reason.Errorf(reason.InternalError, "this page is not written yet")

func (s *Site) front(*http.Request) (*page, error)      { return nil, errUnwritten }
func (s *Site) packages(*http.Request) (*page, error)   { return nil, errUnwritten }
func (s *Site) log(*http.Request) (*page, error)        { return nil, errUnwritten }
func (s *Site) rebuilders(*http.Request) (*page, error) { return nil, errUnwritten }
func (s *Site) rebuilder(*http.Request) (*page, error)  { return nil, errUnwritten }
func (s *Site) compare(*http.Request) (*page, error)    { return nil, errUnwritten }
func (s *Site) builds(*http.Request) (*page, error)     { return nil, errUnwritten }
func (s *Site) build(*http.Request) (*page, error)      { return nil, errUnwritten }
func (s *Site) api(*http.Request) (*page, error)        { return nil, errUnwritten }
func (s *Site) search(*http.Request) (*page, error)     { return nil, errUnwritten }

func (s *Site) strip(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
func (s *Site) named(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
func (s *Site) entries(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
func (s *Site) feed(w http.ResponseWriter, r *http.Request)    { http.NotFound(w, r) }
