package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/door"
	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/gossip"
	"github.com/cairnlog/cairn/witness/state"
)

// Limits of the HTTP server: who sends slowly is cut off.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	// maxConnections bounds the memory of those who send nothing; the longest idle makes
	// room for a new one.
	maxConnections = 2048
)

// thinEvery is how often old records are thinned.
const thinEvery = time.Hour

// witnessDaemon is the parts of one witness.
type witnessDaemon struct {
	config  *config
	witness *witness.Witness
	gossip  *gossip.Node
	state   *state.DB
	logs    []witness.Log
	logger  *slog.Logger
	handler http.Handler
}

func newDaemon(ctx context.Context, c *config, p *parts, id *identity, logger *slog.Logger, metrics ...prometheus.Collector) (*witnessDaemon, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reg.MustRegister(metrics...)
	if len(p.logs) == 0 {
		logger.Warn("no logs are configured: every request will be refused (-log VKEY)")
	}
	self, err := witness.NewVerifier(id.key.Name, id.key.Signer)
	if err != nil {
		return nil, usageError{err}
	}
	node, err := gossip.New(ctx, gossip.Config{
		Self: self, Logs: p.logs, Witnesses: p.witnesses, Peers: p.peers, EvidenceURLs: p.evidence, State: id.state,
		HTTP: newClient(), Now: time.Now, Random: rand.Float64, Interval: c.Gossip.Interval, ChallengeAfter: c.Gossip.ChallengeAfter,
		Registerer: reg, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	w, err := witness.New(ctx, witness.Config{
		Name: id.key.Name, Signer: id.key.Signer, Logs: p.logs, State: id.state, Observer: node,
		Now: time.Now, MaxClockBehind: c.MaxClockBehind, Registerer: reg, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	d := &witnessDaemon{config: c, witness: w, gossip: node, state: id.state, logs: p.logs, logger: logger}
	mux := http.NewServeMux()
	w.Register(mux)
	node.Register(mux)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "ok\n") })
	mux.HandleFunc("GET /readyz", d.serveReady)
	d.handler = observe.Handler(mux, logger)
	return d, nil
}

// newClient returns a client for peers and logs. What they answer is untrusted:
// redirects are not followed, nothing is decompressed, and headers are bounded.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableCompression: true, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (d *witnessDaemon) serveReady(rw http.ResponseWriter, _ *http.Request) {
	select {
	case <-d.state.Broken():
		http.Error(rw, "the state cannot be written", http.StatusServiceUnavailable)
	default:
		if !d.witness.Started() {
			http.Error(rw, "starting", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(rw, "ok\n")
	}
}

// run serves until ctx is done or the state cannot be written, and calls ready
// once the witness cosigns. It serves before: peers that start at the same time
// ask each other what they saw.
func (d *witnessDaemon) run(ctx context.Context, listener net.Listener, ready func() error) error {
	connections := door.NewConnections(maxConnections, nil)
	server := &http.Server{
		ConnState: connections.State,
		Handler:   d.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(d.logger.Handler(), slog.LevelDebug),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(connections.Listener(listener)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.config.Grace)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			d.logger.Warn("requests were cut off", "err", err)
			return server.Close()
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-d.state.Broken():
			return state.ErrBroken
		}
	})
	g.Go(func() error { return d.maintain(ctx) })
	g.Go(func() error { return d.start(ctx, ready) })
	return g.Wait()
}

// start asks the peers, lets the witness cosign, and gossips until ctx is done.
func (d *witnessDaemon) start(ctx context.Context, ready func() error) error {
	if err := d.gossip.SelfCheck(ctx, d.config.Gossip.StartWait, d.config.Gossip.StartPeers); err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before it was ready
		}
		return err
	}
	d.witness.Start()
	if err := ready(); err != nil {
		return fmt.Errorf("printing the ready line: %w", err)
	}
	return d.gossip.Run(ctx)
}

// maintain thins old records.
func (d *witnessDaemon) maintain(ctx context.Context) error {
	if d.config.Keep == 0 {
		return nil
	}
	ticker := time.NewTicker(thinEvery)
	defer ticker.Stop()
	for {
		for _, l := range d.logs {
			if err := d.state.Thin(ctx, l.Origin, time.Now().Add(-d.config.Keep).Unix()); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
