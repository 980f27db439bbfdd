// Package gate runs images with the real podman and skopeo under the policy that
// the real cairn exports, with the real cairn-ledger behind it.
//
// What every test relies on:
//   - The images are at a registry on loopback, in this process. Pulled images go
//     into a storage of the test's own, which is unmounted and removed after it.
//   - podman and skopeo are Debian's, and get the files that `cairn export
//     oci-policy` wrote, as they are. What they verify, GnuPG verifies.
//   - A test whose program is not there is skipped and says so, and so it is
//     where podman cannot run an image without any policy either.
package gate

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// bin is the directory with the binaries that TestMain built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn", "cairn-ledger", "e2e/gate/testdata/hello")
	}))
}

// need returns the path of a program, or skips the test.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; `make deps` installs it", name)
	}
	return path
}

// runtime is podman and skopeo with a home, and so a registries.d, of their own.
type runtime struct {
	home   string
	policy string
}

// newRuntime takes over what `cairn export oci-policy` wrote into a directory.
func newRuntime(t *testing.T, exported string) *runtime {
	t.Helper()
	r := &runtime{home: t.TempDir(), policy: filepath.Join(exported, "policy.json")}
	dir := filepath.Join(r.home, ".config/containers")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "registries.d"), os.DirFS(filepath.Join(exported, "registries.d"))); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs a program, and returns what it wrote.
func (r *runtime) run(t *testing.T, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "HOME="+r.home, "XDG_CONFIG_HOME="+filepath.Join(r.home, ".config"), "LC_ALL=C.UTF-8")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// podman is podman with a storage of its own.
type podman struct {
	*runtime
	global []string
}

// newPodman makes a storage, with the vfs driver: it mounts nothing and works on
// any file system.
func newPodman(t *testing.T, r *runtime) *podman {
	t.Helper()
	need(t, "podman")
	need(t, "runc")
	if os.Getuid() != 0 {
		t.Skip("podman runs with cgroupfs and without user namespaces here, which takes root")
	}
	// Not t.TempDir: what a container left mounted must not fail the test twice.
	dir, err := os.MkdirTemp("", "cairn-podman-")
	if err != nil {
		t.Fatal(err)
	}
	p := &podman{runtime: r, global: []string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
	}}
	t.Cleanup(func() {
		for _, args := range [][]string{{"rm", "--all", "--force"}, {"unmount", "--all", "--force"}} {
			if out, err := exec.Command("podman", append(p.global, args...)...).CombinedOutput(); err != nil {
				t.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		for line := range strings.Lines(string(mounts)) {
			if target := strings.Fields(line)[1]; strings.HasPrefix(target, dir+"/") {
				if out, err := exec.Command("umount", target).CombinedOutput(); err != nil {
					t.Errorf("unmounting %s: %v\n%s", target, err, out)
				}
			}
		}
		if err != nil || os.RemoveAll(dir) != nil {
			t.Errorf("the storage %s is left over: %v", dir, err)
		}
	})
	return p
}

// runImage runs an image under a policy.
func (p *podman) runImage(t *testing.T, policy, image string) (stdout, stderr string, err error) {
	t.Helper()
	args := append(p.global, "run", "--signature-policy", policy, "--tls-verify=false", "--rm", "--network", "none",
		// What podman asks for by default is more than a shell may have.
		"--ulimit", "nofile=256:256", "--ulimit", "nproc=1024:1024", image)
	return p.run(t, "podman", args...)
}

// probe skips the test where podman cannot run anything.
func (p *podman) probe(t *testing.T, image string) {
	t.Helper()
	anything := filepath.Join(t.TempDir(), "anything.json")
	if err := os.WriteFile(anything, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := p.runImage(t, anything, image); err != nil {
		t.Skipf("podman cannot run an image on this machine, whatever the policy is: %v\n%s", err, stderr)
	}
}
