// Cairn-buildah runs one build with buildah as a library, for the engine of
// that name (builder/engine). It is a module of its own, because buildah needs
// versions of several hundred modules that nothing else should be tied to.
//
// It reads a Request from standard input, writes Messages to standard output,
// one JSON object per line, and buildah's own log to standard error. It exits
// with 0 after a result, 1 after an error. SIGTERM cancels the build.
//
// Invariants:
//   - Nothing is pulled: images come from the request's OCI layouts, every
//     reference is resolved before buildah starts, and buildah may not pull.
//   - A step has no network interface but for RUN --network=default.
//   - Steps see nothing of the host's configuration: neither containers.conf nor
//     registries.conf, neither its hosts nor its name. Their capabilities,
//     system-call filter, mounts and limits are those that BuildKit gives.
//   - The build runs in a PID and a mount namespace of its own: when it ends,
//     however it ends, no process and no mount of it is left.
package main

import (
	"fmt"
	"os"

	"go.podman.io/buildah"
)

func main() {
	// Buildah starts this binary again for what needs a process of its own.
	if buildah.InitReexec() {
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "cairn-buildah: error: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return supervise()
	}
	switch args[0] {
	case "version":
		_, err := fmt.Println(buildah.Version)
		return err
	case "confined":
		return confined()
	case "nothing": // see amendWorkdir
		return nil
	case "runtime":
		return runtimeMain(args[1:])
	default:
		return fmt.Errorf("unknown argument %q: a request is read from standard input", args[0])
	}
}
