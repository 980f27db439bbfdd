package main

// Request is what cairn-buildah reads from its standard input: one JSON object.
// Unknown fields are an error. Directories and files are absolute.
type Request struct {
	ID            string            `json:"id"`            // of the package, for messages
	Root          string            `json:"root"`          // the engine's state: images, containers, cache
	Runtime       string            `json:"runtime"`       // the OCI runtime: runc
	Context       string            `json:"context"`       // directory; its fetch/ is the context "fetch", too
	Containerfile string            `json:"containerfile"` // file
	Target        string            `json:"target"`        // stage; the last if empty
	Platform      string            `json:"platform"`      // linux/amd64
	Args          []Arg             `json:"args"`
	Images        map[string]string `json:"images"`  // name in the Containerfile to OCI layout
	Output        string            `json:"output"`  // OCI layout to write, with one plain manifest
	NoCache       bool              `json:"noCache"` // run every step
	Memory        int64             `json:"memory"`  // bytes a step may use; 0 is no limit
	CPUs          int               `json:"cpus"`    // that a step may use; 0 is all
	Check         bool              `json:"check"`   // only read the Containerfile, build nothing
}

// Arg is a build argument.
type Arg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Message is one line of standard output. Exactly one field is set. The last
// line, and only it, is a result or an error; output that ends without one
// comes from a process that was killed.
type Message struct {
	Event  *Event  `json:"event,omitempty"`
	Result *Result `json:"result,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

// Event is something that happened to a step.
type Event struct {
	Step int    `json:"step"` // index in Result.Steps
	Name string `json:"name"`
	Kind string `json:"kind"` // started, log, cached, done or failed
	Log  []byte `json:"log,omitempty"`
	Err  string `json:"err,omitempty"`
}

// Result is a build that succeeded: Request.Output is complete.
type Result struct {
	Version string `json:"version"` // of buildah
	Steps   []Step `json:"steps"`
}

// Step is one instruction.
type Step struct {
	Name    string `json:"name"` // "[build 3/7] RUN make"
	Cached  bool   `json:"cached,omitempty"`
	Network string `json:"network,omitempty"` // of RUN: none, default or host
}

// Error is a build that failed.
type Error struct {
	// Step is the name of the step that failed, or "Containerfile". It is empty if
	// the failure says nothing about the package.
	Step string `json:"step,omitempty"`
	Line int    `json:"line,omitempty"` // of the Containerfile, from 1
	Exit int    `json:"exit,omitempty"` // status of the step's command
	Err  string `json:"err"`
}
