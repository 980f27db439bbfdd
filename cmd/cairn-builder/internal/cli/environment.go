package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/cairnlog/cairn/cmd/internal/host"
)

// environment is the machine, and what differs between two runs without a right
// to make a difference. Of the directory there is only a digest: all that
// matters is whether it is another.
func environment(dir string, getenv func(string) string) map[string]string {
	env := host.Environment(os.ReadFile)
	env["cpus"] = strconv.Itoa(runtime.NumCPU())
	env["uid"] = strconv.Itoa(os.Getuid())
	env["umask"] = umask()
	env["locale"] = locale(getenv)
	env["timezone"], _ = time.Now().Zone()
	if abs, err := filepath.Abs(dir); err == nil {
		sum := sha256.Sum256([]byte(abs))
		env["path"] = "sha256:" + hex.EncodeToString(sum[:])
	}
	return env
}

// umask returns the process's umask, in octal. It can only be read by setting
// it.
func umask() string {
	old := syscall.Umask(0o022)
	syscall.Umask(old)
	return fmt.Sprintf("%04o", old)
}

// locale returns what POSIX programs take as the locale of messages and
// sorting.
func locale(getenv func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			return v
		}
	}
	return "C"
}
