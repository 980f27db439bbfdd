package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// aNote is a well-formed note; nobody's signature is on it.
const aNote = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— a AAAAAAAA\n"

func TestArchiveIsServed(t *testing.T) {
	checkpoints, err := checkpoint.OpenArchive(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checkpoints.Close() })
	mux := http.NewServeMux()
	mux.Handle("GET /checkpoints/{segment}", &archive{checkpoints: checkpoints, logger: slog.New(slog.DiscardHandler)})
	get := func(path, from string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if from != "" {
			r.Header.Set("Range", "bytes="+from+"-")
		}
		mux.ServeHTTP(w, r)
		return w
	}
	if w := get("/checkpoints/000000000", ""); w.Code != http.StatusNotFound {
		t.Errorf("an empty archive answers %d", w.Code)
	}
	for range 2 {
		if err := checkpoints.Add(t.Context(), []byte(aNote)); err != nil {
			t.Fatal(err)
		}
	}
	framed := string(checkpoint.AppendArchived(nil, []byte(aNote)))
	if w := get("/checkpoints/000000000", ""); w.Code != http.StatusOK || w.Body.String() != framed+framed ||
		w.Header().Get("Cache-Control") != cacheNever {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w := get("/checkpoints/000000000", "80"); w.Code != http.StatusPartialContent || w.Body.String() != (framed + framed)[80:] {
		t.Errorf("the rest: %d %q", w.Code, w.Body)
	}
	for _, name := range []string{"000000001", "0", "00000000", "0000000000", "-00000000", "x", "99999999999999999999"} {
		if w := get("/checkpoints/"+name, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s answers %d", name, w.Code)
		}
	}
}
