package web

import "net/http"

func (s *Site) api(*http.Request) (*page, error)            { return nil, errUnwritten }
func (s *Site) search(*http.Request) (*page, error)         { return nil, errUnwritten }
func (s *Site) feed(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
