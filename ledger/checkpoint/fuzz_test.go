package checkpoint

import "testing"

func TestParseTextRefuses(t *testing.T) {
	const root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	if _, err := parseText("log.example\n0\n" + root + "\n"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":               "",
		"no final newline":    "log.example\n0\n" + root,
		"no origin":           "\n0\n" + root + "\n",
		"leading zero":        "log.example\n00\n" + root + "\n",
		"sign":                "log.example\n+1\n" + root + "\n",
		"negative":            "log.example\n-1\n" + root + "\n",
		"too large":           "log.example\n9223372036854775808\n" + root + "\n",
		"short root":          "log.example\n1\nAAAA\n",
		"root with a newline": "log.example\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRk\nm5NMpJWZG3hSuFU=\n",
		"loose base64":        "log.example\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n",
		"carriage returns":    "log.example\r\n1\r\n" + root + "\r\n",
		"extension":           "log.example\n1\n" + root + "\nmore\n",
		"signed":              "log.example\n1\n" + root + "\n\n— x AAAA\n",
	} {
		if c, err := parseText(text); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

// What is accepted has one text, and nothing panics.
func FuzzParseText(f *testing.F) {
	for _, seed := range []string{
		"log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"a/b\n9223372036854775807\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"a\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\next\n",
		"a\n01\n\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseText(text)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Errorf("%q is written as %q", text, c.String())
		}
		if c.N < 0 || c.Origin == "" {
			t.Errorf("accepted %+v", c)
		}
	})
}
