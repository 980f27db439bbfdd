package web

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// routes has every path of the dashboard. A page is at its path, and its twin at the
// same with .json; where the path ends with what others named, suffixOf tells them
// apart.
func (s *Site) routes() http.Handler {
	mux := http.NewServeMux()
	page := func(path string, build builder) {
		mux.Handle(path, s.serve(build, html))
		mux.Handle(path+".json", s.serve(build, twin))
	}
	mux.Handle("/{$}", s.serve(s.front, html))
	mux.Handle("/index.json", s.serve(s.front, twin))
	page("/packages", s.packages)
	mux.Handle("/packages/strip.png", http.HandlerFunc(s.strip))
	mux.Handle("/p/{name...}", http.HandlerFunc(s.named))
	page("/bootstrap", s.bootstrap)
	page("/log", s.log)
	mux.Handle("/e/{index}", http.HandlerFunc(s.entries))
	page("/witnesses", s.witnesses)
	page("/rebuilders", s.rebuilders)
	mux.Handle("/rebuilders/{key}", s.suffixed("key", s.rebuilder))
	page("/compare", s.compare)
	page("/builds", s.builds)
	mux.Handle("/builds/{id}", s.suffixed("id", s.build))
	page("/api", s.api)
	page("/search", s.search)
	mux.Handle("/feed.atom", http.HandlerFunc(s.feed))
	mux.Handle("/static/", http.HandlerFunc(s.asset))
	mux.Handle("/", s.serve(s.missing, html))
	return secured(gzhttp.GzipHandler(onlyReads(mux)))
}

// onlyReads refuses what is no GET: nothing here changes anything.
func onlyReads(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is only to be read", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// contentPolicy lets pages load what this host serves, and nothing inline.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
