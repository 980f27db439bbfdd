package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long a listener waits for a notification before it makes sure that the
// server is still there, and before it connects again, at first and at most.
const (
	listenPing       = 15 * time.Second
	listenPingAnswer = 5 * time.Second
	listenFirstDelay = 50 * time.Millisecond
	listenLastDelay  = 2 * time.Second
)

// Listen signals notifications of a channel until ctx ends, on a connection of its
// own that is made again when it is lost. It signals once whenever it begins to
// listen, since notifications of the time before are lost, and several that come
// together once; so a signal says only: look.
func (p *Pool) Listen(ctx context.Context, channel string) <-chan struct{} {
	signal := make(chan struct{}, 1)
	go func() {
		delay := listenFirstDelay
		for ctx.Err() == nil {
			if p.listen(ctx, channel, signal) {
				delay = listenFirstDelay
			}
			select {
			case <-ctx.Done():
			case <-time.After(delay):
			}
			delay = min(2*delay, listenLastDelay)
		}
	}()
	return signal
}

// listen returns when the connection is lost, and whether there was one.
func (p *Pool) listen(ctx context.Context, channel string, signal chan<- struct{}) (listened bool) {
	conn, err := pgx.ConnectConfig(ctx, p.Config().ConnConfig)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return false
	}
	for {
		select {
		case signal <- struct{}{}:
		default: // one is there
		}
		if err := awaitNotification(ctx, conn); err != nil {
			return true
		}
	}
}

// awaitNotification waits for a notification, and meanwhile asks from time to time
// whether the server is there: a connection to one that went away silently looks
// like one without notifications.
func awaitNotification(ctx context.Context, conn *pgx.Conn) error {
	for {
		wait, cancel := context.WithTimeout(ctx, listenPing)
		_, err := conn.WaitForNotification(wait)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		answer, cancel := context.WithTimeout(ctx, listenPingAnswer)
		err = conn.Ping(answer)
		cancel()
		if err != nil {
			return err
		}
	}
}
