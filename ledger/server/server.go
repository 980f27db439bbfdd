package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/rebuilderd"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
	"github.com/cairnlog/cairn/proto/openapi"
)

// Config is what a Server serves.
type Config struct {
	Intake *intake.Intake
	Board  *checkpoint.Board // what is published
	// Refresh shows on the Board at least what any process has published by now; nil
	// if no other process publishes.
	Refresh func(context.Context) error
	Prover  *engine.Prover
	Log     engine.Log
	Archive Archive // nil for none
	Blobs   store.Blobs
	Index   store.Index
	Builds  Builds // the queue of builds; nil for none
	// Rekor is the log as Rekor's clients know it, by the host name of its URL; nil
	// if it is not to be known to them.
	Rekor *checkpoint.Alias
	// Rebuilderd answers rebuilderd's clients; nil for nobody.
	Rebuilderd http.Handler
	// Web answers what no other interface does: the dashboard; nil for nothing.
	Web http.Handler
	// Capacity is what is taken on at once; that of DefaultMemory if it is zero.
	Capacity Capacity
	// Metrics are shown beside those of requests.
	Metrics []prometheus.Collector
	Logger  *slog.Logger
	Now     func() time.Time
}

// maxScrapes is how many scrapes of the metrics are answered at a time.
const maxScrapes = 4

// Server serves a ledger's interfaces.
type Server struct {
	cfg     Config
	grpc    *grpc.Server
	health  *health.Server
	gateway *gateway
	certs   *certifications
	http    *http.Server
	doors   *doors
	closing chan struct{}
}

// New returns a Server; Serve makes it listen.
func New(ctx context.Context, cfg Config) (*Server, error) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg, cfg.Board, cfg.Now, func() float64 { return float64(cfg.Intake.Pending()) })
	if cfg.Capacity == (Capacity{}) {
		cfg.Capacity = CapacityOf(DefaultMemory)
	}
	s := &Server{cfg: cfg, doors: newDoors(cfg.Capacity, cfg.Now), closing: make(chan struct{})}
	svc := &service{
		Service: &query.Service{
			Latest: query.LatestOf(cfg.Board), Prover: cfg.Prover,
			Blobs: cfg.Blobs, Index: cfg.Index, Keys: cfg.Intake.Keyring(), Refresh: cfg.Refresh,
		},
		intake:  cfg.Intake,
		board:   cfg.Board,
		closing: s.closing,
	}
	if cfg.Refresh != nil {
		svc.Learn = cfg.Intake.CatchUp
	}
	if cfg.Builds == nil {
		s.cfg.Builds = noBuilds{}
	}
	reg.MustRegister(append(cfg.Metrics, s.cfg.Builds, s.doors)...)
	in := &interceptors{metrics: m, log: cfg.Logger, doors: s.doors, away: rate.Sometimes{Interval: awayInterval}}
	s.grpc, s.health = newGRPCServer(svc, s.cfg.Builds, in, s.doors)
	s.certs = &certifications{service: svc, in: in}
	var err error
	if s.gateway, err = newGateway(ctx, svc, s.cfg.Builds, newRekor(cfg.Rekor, svc), in); err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler:           observe.Handler(s.doors.handler(observe.Routes(s.routes(reg))), cfg.Logger),
		ReadHeaderTimeout: headerDeadline,
		ReadTimeout:       bodyDeadline,
		WriteTimeout:      answerDeadline,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.doors.http.State,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func (s *Server) routes(reg *prometheus.Registry) *http.ServeMux {
	mux := http.NewServeMux()
	t := &tiles{log: s.cfg.Log, board: s.cfg.Board, refresh: s.cfg.Refresh, logger: s.cfg.Logger}
	mux.HandleFunc("GET /checkpoint", t.serveCheckpoint)
	mux.HandleFunc("GET /tile/", t.serveTile)
	if s.cfg.Rekor != nil {
		a := *t
		a.alias = s.cfg.Rekor
		mux.HandleFunc("GET /api/v2/checkpoint", a.serveCheckpoint)
		mux.Handle("GET /api/v2/tile/", http.StripPrefix("/api/v2", http.HandlerFunc(a.serveTile)))
	}
	mux.Handle("/api/v2/", http.HandlerFunc(s.serveRekor))
	if s.cfg.Archive != nil {
		mux.Handle("GET /checkpoints/{segment}", &archive{checkpoints: s.cfg.Archive, logger: s.cfg.Logger})
	}
	mux.Handle("/v1/", s.gateway)
	mux.Handle("/certifications/", s.certs)
	if s.cfg.Rebuilderd != nil {
		mux.Handle("GET "+rebuilderd.Path, s.cfg.Rebuilderd)
	} else {
		mux.HandleFunc("GET "+rebuilderd.Path, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "this ledger does not answer rebuilderd's clients: its operator names no policy to judge by (verdicts.policy)", http.StatusNotImplemented)
		})
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.serveReady)
	// A scrape asks storage, and anybody may scrape.
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openapi.JSON)
	})
	if s.cfg.Web != nil {
		mux.Handle("/", s.cfg.Web)
	}
	return mux
}

// Ready returns why the ledger cannot take and publish submissions, or nil. Anybody
// is told.
func (s *Server) Ready() error {
	if s.cfg.Intake.Err() != nil {
		return errors.New("halted: storage failed, or contradicts what was signed; the ledger's log has the details")
	}
	if s.cfg.Board.Latest() == nil {
		return errors.New("no checkpoint is published yet")
	}
	return nil
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := s.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// Serve serves both listeners until ctx is done, then lets the requests under
// way finish, for at most grace. The intake and the publisher must run until
// Serve returns.
func (s *Server) Serve(ctx context.Context, httpListener, grpcListener net.Listener, grace time.Duration) error {
	s.health.SetServingStatus(cairnv1.LedgerService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	if _, absent := s.cfg.Builds.(noBuilds); !absent {
		s.health.SetServingStatus(cairnv1.BuildService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		// Stopped before it began is stopped as asked.
		if err := s.grpc.Serve(&unreadListener{s.doors.grpc.Listener(grpcListener), s.doors.submissions}); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		if err := s.http.Serve(s.doors.http.Listener(httpListener)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving HTTP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		return s.drain(grace)
	})
	return g.Wait()
}

func (s *Server) drain(grace time.Duration) error {
	s.health.Shutdown()
	close(s.closing) // ends the streams, which would never end by themselves
	s.cfg.Builds.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("closing HTTP: %w", errors.Join(err, s.http.Close()))
	}
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	return err
}
