package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/builder/image"
)

// maxValue is how much of a value a Field has, in bytes.
const maxValue = 300

// Field is one place in a document where the images differ.
type Field struct {
	Document string `json:"document,omitempty"` // manifest or config
	// Path is a JSON Pointer (RFC 6901): /config/Env/0.
	Path string `json:"path"`
	// Want and Got are the values as JSON in ASCII, cut off if they are long, or
	// "-" for none.
	Want string `json:"want"`
	Got  string `json:"got"`
}

const none = "-"

// diffJSON returns where two documents differ, sorted by path.
func diffJSON(want, got []byte) ([]Field, error) {
	w, err := decode(want)
	if err != nil {
		return nil, err
	}
	g, err := decode(got)
	if err != nil {
		return nil, err
	}
	return walk(nil, "", w, g, true, true), nil
}

func decode(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // a float would make different numbers the same
	err = d.Decode(&v)
	return v, err
}

// walk appends where two values differ. Absent ones are no nulls.
func walk(fields []Field, path string, want, got any, inWant, inGot bool) []Field {
	w, wantObject := want.(map[string]any)
	g, gotObject := got.(map[string]any)
	wl, wantList := want.([]any)
	gl, gotList := got.([]any)
	switch {
	case inWant && inGot && wantObject && gotObject:
		names := maps.Clone(w)
		maps.Copy(names, g)
		for _, k := range slices.Sorted(maps.Keys(names)) {
			wv, inW := w[k]
			gv, inG := g[k]
			fields = walk(fields, path+"/"+pointer(k), wv, gv, inW, inG)
		}
	case inWant && inGot && wantList && gotList:
		for i := range max(len(wl), len(gl)) {
			fields = walk(fields, path+"/"+strconv.Itoa(i), at(wl, i), at(gl, i), i < len(wl), i < len(gl))
		}
	default:
		wv, gv := value(want, inWant), value(got, inGot)
		if wv != gv {
			fields = append(fields, Field{Path: path, Want: cut(wv), Got: cut(gv)})
		}
	}
	return fields
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// pointer escapes a member's name for a JSON Pointer, and then for the eye.
func pointer(name string) string {
	return image.Escape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}

// value returns v as JSON in ASCII.
func value(v any, present bool) string {
	if !present {
		return none
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprintf("%T", v) // what was decoded can be encoded
	}
	return ascii(strings.TrimSuffix(b.String(), "\n"))
}

// ascii escapes what is not graphic ASCII or a space as JSON does. Invalid UTF-8
// has been replaced before.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case ' ' <= r && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func cut(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return fmt.Sprintf("%s... and %d more bytes", s[:maxValue], len(s)-maxValue)
}

// diffRunning returns where two configurations run differently.
func diffRunning(want, got *image.Image) ([]Field, error) {
	w, err := want.Running()
	if err != nil {
		return nil, fmt.Errorf("parsing the wanted configuration: %w", err)
	}
	g, err := got.Running()
	if err != nil {
		return nil, fmt.Errorf("parsing the configuration that was got: %w", err)
	}
	return diffJSON(w, g)
}
