package web

import "net/http"

func (s *Site) api(*http.Request) (*page, error) { return nil, errUnwritten }
