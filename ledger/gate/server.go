package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what the services have in common.
type Config struct {
	Gate *Gate
	// TTL is how long an acceptance is kept, 0 for not at all; Timeout is how
	// long a decision may take.
	TTL, Timeout time.Duration
	Now          func() time.Time
	Logger       *slog.Logger
	Registerer   *prometheus.Registry
}

// newMux returns a handler with what all daemons serve, and a function that adds
// one that is counted.
func newMux(cfg Config) (*http.ServeMux, func(pattern, name string, h http.HandlerFunc)) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_gate_requests_total", Help: "Requests by what was asked for and HTTP status.",
	}, []string{"handler", "code"})
	cfg.Registerer.MustRegister(requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registerer, promhttp.HandlerOpts{}))
	return mux, func(pattern, name string, h http.HandlerFunc) {
		mux.Handle(pattern, promhttp.InstrumentHandlerCounter(requests.MustCurryWith(prometheus.Labels{"handler": name}), h))
	}
}

// Signatures is the service that serves a lookaside store: it decides about the
// image that is asked for, and signs.
type Signatures struct {
	Config
	Key    *Key
	Scopes []Scope
	// Valid is how long a signature is; 0 is for ever.
	Valid time.Duration

	judge *judge
}

// Handler returns the service.
func (s *Signatures) Handler() http.Handler {
	s.judge = newJudge(s.Config)
	mux, handle := newMux(s.Config)
	handle("GET /{path...}", "signature", s.serve)
	return mux
}

// serve answers for HOST/PATH@sha256=HEX/signature-N. 404 is how containers/image
// is told that there is no signature, or no further one; at any other status it
// fails.
func (s *Signatures) serve(w http.ResponseWriter, r *http.Request) {
	img, n, ok := parseSignaturePath(r.PathValue("path"))
	if !ok || n != "1" || !s.has(img) {
		http.Error(w, "no such signature", http.StatusNotFound)
		return
	}
	d, err := s.judge.judge(r.Context(), img)
	if err != nil {
		unavailable(w, err)
		return
	}
	if !d.Accepted {
		http.Error(w, fmt.Sprintf("%s is not signed: %s: %s", img, d.Report.Verdict, d.Reasons), http.StatusNotFound)
		return
	}
	signature, err := s.Key.Sign(img, s.Now(), s.Valid)
	if err != nil {
		s.Logger.Error("signing", "image", img.String(), "error", err)
		unavailable(w, errors.New("the gate cannot sign"))
		return
	}
	w.Header().Set("Content-Type", "application/pgp-signature")
	w.Header().Set("Content-Length", strconv.Itoa(len(signature)))
	w.Header().Set("Cache-Control", "no-store") // how long an answer holds is the gate's to say
	_, _ = w.Write(signature)
}

func (s *Signatures) has(img Image) bool {
	for _, scope := range s.Scopes {
		if scope.Has(img) {
			return true
		}
	}
	return false
}

func unavailable(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// Serve serves until ctx is done, then lets the requests under way finish, for at
// most grace. It speaks TLS if config is not nil.
func Serve(ctx context.Context, l net.Listener, h http.Handler, config *tls.Config, logger *slog.Logger, grace time.Duration) error {
	server := &http.Server{
		Handler: h, TLSConfig: config,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() {
		if config != nil {
			ended <- server.ServeTLS(l, "", "")
		} else {
			ended <- server.Serve(l)
		}
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("closing HTTP: %w", errors.Join(err, server.Close()))
	}
	return nil
}
