package checkpoint

import (
	"bytes"
	"fmt"
	"strings"
)

// movedLine begins the state of a signer whose log moved away. No checkpoint begins
// so: what follows it is no size.
const movedLine = "moved\n"

// MovedError is that a signer's state says that its log moved: whoever has that state
// signs no more, for good, since the log is signed elsewhere.
type MovedError struct {
	To   string // where to, on one line
	Last []byte // the state that moved
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("the log moved to %s: this ledger's copy signs no more; start the front ends there", e.To)
}

// State returns the text that stands in place of a signer's state when its log has
// moved. To must be one line, and not empty.
func (e *MovedError) State() []byte {
	return fmt.Appendf(nil, "%sto %s\n\n%s", movedLine, strings.ReplaceAll(e.To, "\n", " "), e.Last)
}

// parseMoved parses what State returns; it returns nil for other texts. What begins
// as one and is cut short is one, too.
func parseMoved(text []byte) *MovedError {
	rest, ok := bytes.CutPrefix(text, []byte(movedLine))
	if !ok {
		return nil
	}
	to, last, _ := bytes.Cut(rest, []byte("\n\n"))
	return &MovedError{To: strings.TrimPrefix(string(to), "to "), Last: last}
}
