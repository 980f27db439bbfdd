package pgtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watch is the janitor's: it waits for the end of the process that holds the other
// end of its standard input, and then ends the server and removes its files. After
// the normal end of a test there is nothing left to do. The server removes its
// postmaster.pid last.
const watch = `cat >/dev/null
lock=$1/data/postmaster.pid
pid=$(head -n 1 "$lock" 2>/dev/null) && kill -QUIT "$pid" && while [ -e "$lock" ]; do sleep 0.05; done
rm -rf "$1"`

// start makes the files of a server and starts it.
func start(settings []string) (_ *Server, err error) {
	s := &Server{settings: settings}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	if s.creds, err = unprivileged(); err != nil {
		return nil, err
	}
	// Not below a test's directory: the path of a socket has at most 107 bytes.
	if s.dir, err = os.MkdirTemp("", "cairn-pg"); err != nil {
		return nil, err
	}
	if s.creds != nil {
		err = os.Chown(s.dir, int(s.creds.Uid), int(s.creds.Gid))
	}
	if err == nil {
		s.janitor, err = s.startJanitor()
	}
	if err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, err
	}
	if err := s.create(); err != nil {
		_ = s.end()
		return nil, err
	}
	return s, nil
}

// create makes the database cluster and starts the server on a port that is free.
func (s *Server) create() error {
	initdb := s.command("initdb", "--pgdata="+s.data(), "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	return s.run()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is one of the server's programs, apart from the terminal's signals.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.Bin(name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.creds, Setsid: true}
	return cmd
}

func (s *Server) startJanitor() (io.Closer, error) {
	cmd := s.command("postgres")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", watch, "janitor", s.dir}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	return stdin, nil
}

// run starts the server and waits until it answers.
func (s *Server) run() error {
	args := []string{"-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "log_checkpoints=off", "max_connections=200"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	cmd := s.command("postgres", args...)
	// Every process of the server holds the pipe, so its end is theirs.
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("pgtest: starting PostgreSQL: %w", err)
	}
	ready, exited := make(chan struct{}), make(chan struct{})
	go func() {
		s.follow(stderr, ready)
		_ = cmd.Wait()
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	select {
	case <-ready:
		return nil
	case <-exited:
		s.cmd = nil
		return fmt.Errorf("pgtest: PostgreSQL did not start:\n%s", s.logTail())
	case <-time.After(startTimeout):
		_ = s.Kill()
		return fmt.Errorf("pgtest: PostgreSQL does not answer after %v:\n%s", startTimeout, s.logTail())
	}
}

// follow copies the server's messages to its log until all of its processes have
// ended, and closes ready when it takes connections.
func (s *Server) follow(stderr io.Reader, ready chan<- struct{}) {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log = nil // what is written to a nil file is lost; the server is not
	}
	defer func() { _ = log.Close() }()
	buf, line := make([]byte, 4096), []byte(nil)
	for {
		n, err := stderr.Read(buf)
		_, _ = log.Write(buf[:n])
		if ready != nil {
			line = append(line, buf[:n]...)
			if bytes.Contains(line, []byte("database system is ready to accept connections")) {
				close(ready)
				ready, line = nil, nil
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// logTail returns the end of the server's log.
func (s *Server) logTail() string {
	b, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// children returns the process ids of the children of a process.
func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // they notice that the parent is gone
	}
	var pids []int
	for field := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(field); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}
