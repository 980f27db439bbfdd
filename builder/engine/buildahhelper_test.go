package engine_test

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"
)

// awaitEnd waits until no process has this word as an argument.
func awaitEnd(t *testing.T, word string) {
	t.Helper()
	for tries := 0; len(running(t, word)) > 0; tries++ {
		if tries == 3000 {
			t.Fatalf("the step outlived what ran it: %v", running(t, word))
		}
		time.Sleep(10 * time.Millisecond) // for the kernel to end it
	}
}

// killHelper runs a test of this binary as a process of its own, and kills it
// once a step of its build waits.
func killHelper(t *testing.T, test string, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "waiting\n" {
		t.Errorf("the step did not start: %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}
