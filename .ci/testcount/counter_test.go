package main

import (
	"strings"
	"testing"
)

// events are lines of `go test -json`, shortened to the fields that count.
const (
	passes = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:3: chatter\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.004s\n"}
{"Action":"pass","Package":"m/a"}
`
	skips = `{"Action":"run","Package":"m/s","Test":"TestSkip"}
{"Action":"output","Package":"m/s","Test":"TestSkip","Output":"=== RUN   TestSkip\n"}
{"Action":"output","Package":"m/s","Test":"TestSkip","Output":"    s_test.go:6: no strace here\n"}
{"Action":"output","Package":"m/s","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"m/s","Test":"TestSkip"}
{"Action":"output","Package":"m/s","Output":"ok  \tm/s\t0.004s\n"}
{"Action":"pass","Package":"m/s"}
`
	subtestFails = `{"Action":"run","Package":"m/f","Test":"TestTable"}
{"Action":"run","Package":"m/f","Test":"TestTable/one"}
{"Action":"run","Package":"m/f","Test":"TestTable/two"}
{"Action":"output","Package":"m/f","Test":"TestTable/one","Output":"    f_test.go:7: got 1, want 1\n"}
{"Action":"output","Package":"m/f","Test":"TestTable/two","Output":"    f_test.go:8: got 2, want 3\n"}
{"Action":"output","Package":"m/f","Test":"TestTable","Output":"--- FAIL: TestTable (0.00s)\n"}
{"Action":"pass","Package":"m/f","Test":"TestTable/one"}
{"Action":"fail","Package":"m/f","Test":"TestTable/two"}
{"Action":"fail","Package":"m/f","Test":"TestTable"}
{"Action":"output","Package":"m/f","Output":"FAIL\n"}
{"Action":"output","Package":"m/f","Output":"FAIL\tm/f\t0.004s\n"}
{"Action":"fail","Package":"m/f"}
`
	panics = `{"Action":"run","Package":"m/p","Test":"TestPanic"}
{"Action":"output","Package":"m/p","Test":"TestPanic","Output":"panic: boom\n"}
{"Action":"output","Package":"m/p","Output":"FAIL\tm/p\t0.004s\n"}
{"Action":"fail","Package":"m/p"}
`
	doesNotBuild = `{"ImportPath":"m/b","Action":"build-output","Output":"b.go:1: undefined: x\n"}
{"ImportPath":"m/b","Action":"build-fail"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b [build failed]\n"}
{"Action":"fail","Package":"m/b","FailedBuild":"m/b"}
`
	noTests = `{"Action":"output","Package":"m/n","Output":"?   \tm/n\t[no test files]\n"}
{"Action":"skip","Package":"m/n"}
`
	cutOff = `{"Action":"run","Package":"m/c","Test":"TestLong"}
`
)

func TestCount(t *testing.T) {
	tests := []struct {
		name, in string
		good     bool
		last     string   // the last line
		want     []string // printed as well
		not      []string // not printed
	}{
		{"a pass is counted and quiet", passes, true, "1 passed, 0 failed, 0 skipped",
			[]string{"ok  \tm/a\t0.004s\n"}, []string{"chatter", "=== RUN", "PASS"}},
		{"a skip is listed with its reason", passes + skips, true, "1 passed, 0 failed, 1 skipped",
			[]string{"  m/s.TestSkip: s_test.go:6: no strace here\n"}, nil},
		{"a failed subtest fails its parent, and only they are shown", passes + subtestFails, false,
			"2 passed, 2 failed, 0 skipped",
			[]string{"got 2, want 3", "--- FAIL: TestTable", "FAIL\tm/f"}, []string{"got 1"}},
		{"a test cut short by a panic failed", panics, false, "0 passed, 1 failed, 0 skipped",
			[]string{"panic: boom"}, nil},
		{"a package that does not build is one failure", passes + doesNotBuild, false,
			"1 passed, 1 failed, 0 skipped", []string{"undefined: x", "[build failed]"}, nil},
		{"no test at all is not good", noTests, false, "0 passed, 0 failed, 0 skipped",
			[]string{"no test ran", "[no test files]"}, nil},
		{"a stream that breaks off is not good", passes + cutOff, false,
			"1 passed, 1 failed, 0 skipped", nil, nil},
		{"the go command's own words are passed on", "go: no such tool\n" + passes, true,
			"1 passed, 0 failed, 0 skipped", []string{"go: no such tool\n"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			c := newCounter(&out)
			if err := c.read(strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			if good := c.finish(); good != tt.good {
				t.Errorf("good = %v, want %v", good, tt.good)
			}
			got := out.String()
			if !strings.HasSuffix(got, "\n"+tt.last+"\n") && got != tt.last+"\n" {
				t.Errorf("output does not end with %q:\n%s", tt.last, got)
			}
			for _, s := range tt.want {
				if !strings.Contains(got, s) {
					t.Errorf("output lacks %q:\n%s", s, got)
				}
			}
			for _, s := range tt.not {
				if strings.Contains(got, s) {
					t.Errorf("output has %q:\n%s", s, got)
				}
			}
		})
	}
}
