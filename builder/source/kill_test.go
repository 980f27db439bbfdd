package source

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The environment of the process that TestKilled kills: a store, and a mirror.
const (
	killedStore  = "CAIRN_TEST_KILLED_STORE"
	killedMirror = "CAIRN_TEST_KILLED_MIRROR"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedStore); dir != "" {
		fetchUntilKilled(dir, os.Getenv(killedMirror))
	}
	os.Exit(m.Run())
}

// fetchUntilKilled says on standard output when bytes have been written.
func fetchUntilKilled(dir, mirror string) {
	store, err := Open(dir)
	if err == nil {
		err = (&Fetcher{Store: store}).Fetch(context.Background(), []Wanted{want(content, mirror)}, func(p Progress) {
			if p.Done > 0 {
				fmt.Println("written")
			}
		})
	}
	fmt.Println("not killed:", err)
	os.Exit(1)
}

// A process that is killed holds no lock, and what it had is gone on with.
func TestKilled(t *testing.T) {
	var ranges []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) == 1 {
			w.Write(content[:len(content)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	defer server.Close()
	store := openStore(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedStore+"="+store.dir, killedMirror+"="+server.URL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "written\n" {
		t.Errorf("the process said %q (%v)", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // the error is that it was killed
	if store.Has(sumOf(content)) {
		t.Error("half a file is stored")
	}
	if err := (&Fetcher{Store: store}).Fetch(t.Context(), []Wanted{want(content, server.URL)}, nil); err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 2 || !strings.HasPrefix(ranges[1], "bytes=") {
		t.Errorf("asked for %q", ranges)
	}
	tidy(t, store)
}
