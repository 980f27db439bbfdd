package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

func TestBindKey(t *testing.T) {
	pool := open(t, pgtest.Database(t))
	const first, second = "log.example+0a+AAAA", "log.example+0b+BBBB"
	if err := pool.BindKey(t.Context(), first); !errors.Is(err, postgres.ErrNoLog) {
		t.Errorf("without a log: %v, want %v", err, postgres.ErrNoLog)
	}
	if _, err := pool.InitLog(t.Context(), "log.example", func(context.Context) (int64, error) { return 7, nil }); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		key  string
		want error
	}{{first, nil}, {second, postgres.ErrOtherKey}, {first, nil}} {
		if err := pool.BindKey(t.Context(), step.key); !errors.Is(err, step.want) {
			t.Errorf("BindKey(%s) = %v, want %v", step.key, err, step.want)
		}
	}
}
