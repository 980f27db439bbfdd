package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
)

// savedDocument is what the template of a saved page is executed with.
type savedDocument struct {
	document
	Policy  string // Content-Security-Policy
	Style   template.CSS
	Scripts []template.JS
}

// saved writes an entry's page as one file, which needs no network and no server: what
// it is proven from is in it, and so are the style and the scripts, which its policy
// names by their hashes. Other pages cannot be saved.
func saved(s *Site, w http.ResponseWriter, r *http.Request, p *page) {
	v, ok := p.view.(*entryView)
	if !ok {
		html(s, w, r, p)
		return
	}
	v.Saved, v.Data = true, v.all
	d := savedDocument{document: document{s.frame(r, p), v}}
	// The page is of one moment: what its frame says is what its proof is against.
	d.Frame.Data.Checkpoint, d.Frame.Size = v.Data.Checkpoint, v.Proof.Size
	style := s.static["/static/style.css"].body
	d.Style = template.CSS(style)
	var scripts []string
	for _, name := range []string{"verify.js", "page.js"} {
		body := s.static["/static/"+name].body
		d.Scripts = append(d.Scripts, template.JS(body))
		scripts = append(scripts, sourceHash(body))
	}
	d.Policy = fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; base-uri 'none'; form-action 'none'",
		strings.Join(scripts, " "), sourceHash(style))
	var b bytes.Buffer
	if err := s.templates[p.name].ExecuteTemplate(&b, "saved", d); err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "drawing a page to save", slog.String("page", p.name), slog.Any("err", err))
		http.Error(w, "the page could not be drawn", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="entry-%d.html"`, v.Index))
	s.write(w, r, p.status, b.Bytes())
}

// sourceHash is how a Content-Security-Policy names what stands in a page.
func sourceHash(body []byte) string {
	sum := sha256.Sum256(body)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
