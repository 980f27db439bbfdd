package engine

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// maxLog is how much of the end of a step's log is kept.
const maxLog = 64 << 10

// vertexName matches the names that BuildKit gives to what comes from an
// instruction: "[linux/amd64 build 2/7] RUN make". Its groups are what is known
// of the stage, the instruction's number and their count in the stage, its text,
// and its keyword.
var vertexName = regexp.MustCompile(`(?s)^\[([^]]* )? *(\d+)/(\d+)\] (([A-Za-z]+).*)$`)

// steps follows the steps of a build. BuildKit may say the same thing several
// times, and what it says of different steps comes in any order.
type steps struct {
	r       *Request
	file    *containerfile
	byID    map[digest.Digest]*step // nil for what is no step
	ordered []*step
}

type step struct {
	Step
	line     int    // of the Containerfile
	text     string // of the instruction
	index    int
	started  bool
	ended    bool // an event has said how
	finished *time.Time
	err      string
	log      []byte
}

func newSteps(r *Request, file *containerfile) *steps {
	return &steps{r: r, file: file, byID: map[digest.Digest]*step{}}
}

func (s *steps) add(status *client.SolveStatus) {
	for _, v := range inOrder(status.Vertexes) {
		s.vertex(v)
	}
	for _, l := range status.Logs {
		if st := s.byID[l.Vertex]; st != nil {
			st.log = append(st.log, l.Data...)
			if over := len(st.log) - maxLog; over > 0 {
				st.log = append([]byte(nil), st.log[over:]...)
			}
			if !st.ended {
				s.emit(st, Event{Kind: StepLog, Log: l.Data})
			}
		}
	}
	// The log of a step may come with its end, so ends are told last.
	for _, v := range status.Vertexes {
		if st := s.byID[v.Digest]; st != nil {
			s.end(st)
		}
	}
}

// inOrder puts vertices after those that they build upon. The others stay as
// they are, which is by name: BuildKit tells of them in no order.
func inOrder(vertices []*client.Vertex) []*client.Vertex {
	byName := slices.Clone(vertices)
	slices.SortStableFunc(byName, func(a, b *client.Vertex) int { return strings.Compare(a.Name, b.Name) })
	byID := map[digest.Digest][]*client.Vertex{}
	for _, v := range byName {
		byID[v.Digest] = append(byID[v.Digest], v)
	}
	ordered := make([]*client.Vertex, 0, len(vertices))
	var visit func(digest.Digest)
	visit = func(id digest.Digest) {
		all := byID[id]
		delete(byID, id)
		for _, v := range all {
			for _, input := range v.Inputs {
				visit(input)
			}
		}
		// Several are states of one, of which the later is the news.
		ordered = append(ordered, all...)
	}
	for _, v := range byName {
		visit(v.Digest)
	}
	return ordered
}

func (s *steps) vertex(v *client.Vertex) {
	st, ok := s.byID[v.Digest]
	if !ok {
		st = s.step(v.Name)
		s.byID[v.Digest] = st
	}
	if st == nil {
		return
	}
	st.Cached = st.Cached || v.Cached
	if v.Started != nil && !st.started && !st.Cached {
		st.started = true
		s.emit(st, Event{Kind: StepStarted})
	}
	if v.Completed != nil {
		st.finished, st.err = v.Completed, v.Error
	}
}

// step returns the step of a vertex that was not seen before, nil if it is of
// none. BuildKit runs a step once that two builds need at the same time, and
// then tells one of them of the other's vertex, by the other's name.
func (s *steps) step(name string) *step {
	m := vertexName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	in, ok := s.file.find(m[1], m[2], m[3], m[5])
	for _, st := range s.ordered {
		if ok && st.line == in.line || !ok && st.text == m[4] {
			return st
		}
	}
	if !ok {
		return nil
	}
	st := &step{Step: Step{Name: name, Network: in.network}, line: in.line, text: m[4], index: len(s.ordered)}
	s.ordered = append(s.ordered, st)
	return st
}

// find returns the instruction that BuildKit counts as number of count in the
// stage of this label. A base that is an image is in the count. It has no number
// of its own where it is one of the request's images, and there are no others.
func (c *containerfile) find(label, number, count, keyword string) (instruction, bool) {
	n, _ := strconv.Atoi(number)
	m, _ := strconv.Atoi(count)
	words := strings.Fields(label)
	for i := range c.stages {
		st := &c.stages[i]
		first := m - len(st.steps)
		named := slices.Contains(words, st.name) || len(c.stages) == 1 && !slices.ContainsFunc(words, isStage)
		if i := n - 1; named && (first == 0 || first == 1) && i >= 0 && i < len(st.steps) && st.steps[i].keyword == keyword {
			return st.steps[i], true
		}
	}
	return instruction{}, false
}

// isStage tells the word of a label that is a stage's name from a platform.
func isStage(word string) bool { return !strings.Contains(word, "/") }

// end tells how a step ended, once.
func (s *steps) end(st *step) {
	switch {
	case st.ended:
	case st.Cached:
		st.ended = true
		s.emit(st, Event{Kind: StepCached})
	case st.finished == nil:
	case st.err == "":
		st.ended = true
		s.emit(st, Event{Kind: StepDone})
	case !strings.Contains(st.err, "context canceled"):
		st.ended = true
		s.emit(st, Event{Kind: StepFailed, Err: st.err})
	}
}

func (s *steps) emit(st *step, e Event) {
	if s.r.Progress == nil {
		return
	}
	e.ID, e.Step, e.Name = s.r.ID, st.index, st.Name
	s.r.Progress(e)
}

// finish returns the steps of a build that succeeded. What then was never begun
// was not needed, because what follows it was known.
func (s *steps) finish() []Step {
	all := make([]Step, len(s.ordered))
	for i, st := range s.ordered {
		if !st.started {
			st.Cached = true
			s.end(st)
		}
		all[i] = st.Step
	}
	return all
}
