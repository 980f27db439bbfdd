package survey

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// Names are passed over to find a part of them, and who may log may think of many and of
// long ones. So it takes time in proportion to their length alone, few do it at once,
// which leaves connections to those who do not, and none for long.
const (
	maxSearches = 2
	searchTime  = 3 * time.Second
)

// registered adds to SQLite what finds a text in a name. LIKE and instr look at a name
// as often as the text is long.
var registered = sync.OnceValue(func() error {
	return sqlite.RegisterDeterministicScalarFunction("holds", 2, holds)
})

// holds reports whether its first argument, a name, has the second in it, which is in
// lower case.
func holds(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	name, ok := args[0].(string)
	text, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, fmt.Errorf("holds: want two texts, got %T and %T", args[0], args[1])
	}
	return strings.Contains(strings.ToLower(name), text), nil
}

// sought is a text as holds wants it.
func sought(text string) string { return strings.ToLower(cut(text, maxText)) }

// searching lets a search for a text begin, and bounds it; without a text, there is
// nothing to pass over. Its context ends when done is called.
func (s *Survey) searching(ctx context.Context, text string) (bounded context.Context, done func(), err error) {
	if text == "" {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	select {
	case s.searches <- struct{}{}:
		return ctx, func() { <-s.searches; cancel() }, nil
	case <-ctx.Done():
		defer cancel()
		return nil, nil, fmt.Errorf("waiting for other searches: %w", ctx.Err())
	}
}
