package web

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func TestScriptsAreSmall(t *testing.T) {
	sum := 0
	for _, name := range []string{"verify.js", "page.js"} {
		body, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum += len(body)
	}
	files, err := fs.Glob(staticFiles, "static/*.js")
	if err != nil || len(files) != 2 {
		t.Errorf("scripts %q (%v), want two", files, err)
	}
	if sum > MaxScript {
		t.Errorf("scripts have %d bytes, over the limit of %d", sum, MaxScript)
	}
}

// foreign is what would be loaded from another host, or run inline.
var foreign = map[string]*regexp.Regexp{
	"another host":  regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|@import|url\(`),
	"event handler": regexp.MustCompile(`(?i)<[^>{]*\son[a-z]+\s*=`),
	"style":         regexp.MustCompile(`(?i)<[^>{]*\sstyle\s*=|<style>[^{]`),
	"script":        regexp.MustCompile(`(?i)<script>[^{]|javascript:`),
	"text as HTML":  regexp.MustCompile(`innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function`),
}

// allowed are namespaces, which nobody loads.
var allowed = strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://www.w3.org/2005/Atom", "")

func TestNothingForeign(t *testing.T) {
	for _, files := range []fs.FS{staticFiles, templateFiles} {
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			body, err := fs.ReadFile(files, path)
			if err != nil {
				return err
			}
			for what, re := range foreign {
				if found := re.FindString(allowed.Replace(string(body))); found != "" {
					t.Errorf("%s: %s: %q", path, what, found)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignIsFound(t *testing.T) {
	for text, what := range map[string]string{
		`<img src="https://cdn.example/x.png">`: "another host",
		`<link href="//cdn.example/x.css">`:     "another host",
		`a { background: url(x) }`:              "another host",
		`<p class="a" onclick="x()">`:           "event handler",
		`<p style="color: red">`:                "style",
		`<script>alert(1)</script>`:             "script",
		`el.innerHTML = text`:                   "text as HTML",
	} {
		if !foreign[what].MatchString(text) {
			t.Errorf("%q is not found to be %s", text, what)
		}
	}
}
