package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
)

// Limits of one review.
const (
	maxReview     = 8 << 20 // bytes; the API server takes objects of up to 3 MiB, and sends the old one too
	maxParallel   = 4       // decisions for one review
	maxWarning    = 250     // bytes; the API server cuts off at 256
	maxWarnings   = 10
	maxMessage    = 8 << 10
	defaultReview = 10 * time.Second // what Kubernetes waits unless it is told otherwise
	reviewMargin  = 500 * time.Millisecond
)

// Webhook is the service that the Kubernetes API server asks whether an object
// may be made: a validating admission webhook at POST /validate.
type Webhook struct {
	Config
	// Resolve returns the digest that a tag names now. If it is nil, images must
	// be pinned by digest. What a tag names when the pod starts may be something
	// else: resolving is of use where the tags are one's own.
	Resolve func(ctx context.Context, repository, tag string) (Image, error)

	judge *judge
}

// Handler returns the service.
func (h *Webhook) Handler() http.Handler {
	h.judge = newJudge(h.Config)
	mux, handle := newMux(h.Config)
	handle("POST /validate", "validate", h.serve)
	return mux
}

// serve answers 200 with a decision for every review that it understands, and a
// decision to refuse if it could not ask: a webhook that fails is ignored where
// failurePolicy says so.
func (h *Webhook) serve(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		http.Error(w, "want Content-Type application/json", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		http.Error(w, fmt.Sprintf("the AdmissionReview is over the limit of %d bytes", maxReview), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "the AdmissionReview could not be read", http.StatusBadRequest)
		return
	}
	request, err := parseReview(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience(r))
	defer cancel()
	response := h.review(ctx, request)
	if !response.Allowed {
		h.Logger.Warn("denied", "kind", request.Kind.String(), "namespace", request.Namespace, "name", request.Name, "message", response.Status.Message)
	}
	b, err := json.Marshal(admissionReview{APIVersion: admissionVersion, Kind: admissionKind, Response: response})
	if err != nil {
		h.Logger.Error("encoding an answer", "error", err)
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// patience returns how long the API server waits, less what the answer takes.
func patience(r *http.Request) time.Duration {
	d, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || d <= reviewMargin || d > 30*time.Second {
		d = defaultReview
	}
	return d - reviewMargin
}

// finding is what the webhook says about one image.
type finding struct {
	code    int    // HTTP status that says how it is; 200 for accepted
	message string // why not
	remarks []string
}

func (h *Webhook) review(ctx context.Context, r *admissionRequest) *admissionResponse {
	response := &admissionResponse{UID: r.UID}
	images, err := newImages(r)
	if err != nil {
		response.Status = deny(http.StatusUnprocessableEntity, err.Error())
		return response
	}
	findings := make([]finding, len(images))
	g := new(errgroup.Group)
	g.SetLimit(maxParallel)
	for i, used := range images {
		g.Go(func() error {
			findings[i] = h.decide(ctx, used)
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
	var messages []string
	code := http.StatusOK
	for _, f := range findings {
		if f.code != http.StatusOK {
			// A definite no outweighs that something could not be asked.
			if code == http.StatusOK || f.code == http.StatusForbidden {
				code = f.code
			}
			messages = append(messages, f.message)
		}
		response.Warnings = append(response.Warnings, f.remarks...)
	}
	response.Warnings = boundWarnings(response.Warnings)
	if len(messages) > 0 {
		response.Status = deny(code, strings.Join(messages, "; "))
		return response
	}
	response.Allowed = true
	return response
}

// decide decides about one image of an object.
func (h *Webhook) decide(ctx context.Context, used usedImage) finding {
	img, tag, err := ParseImage(used.reference)
	if err != nil {
		return finding{code: http.StatusUnprocessableEntity, message: fmt.Sprintf("%s: %v", used.where, err)}
	}
	if img.Digest == "" {
		if h.Resolve == nil {
			return finding{code: http.StatusForbidden, message: fmt.Sprintf(
				"%s: image %s is not pinned: name it as %s@sha256:…, since what a tag names can change", used.where, used.reference, img.Repository)}
		}
		if img, err = h.Resolve(ctx, img.Repository, tag); err != nil {
			return finding{code: http.StatusServiceUnavailable, message: fmt.Sprintf("%s: resolving image %s: %v", used.where, used.reference, err)}
		}
	}
	d, err := h.judge.judge(ctx, img)
	if err != nil {
		return finding{code: http.StatusServiceUnavailable, message: fmt.Sprintf("%s: the gate could not decide: %v", used.where, err)}
	}
	if !d.Accepted {
		return finding{code: http.StatusForbidden, message: fmt.Sprintf(
			"%s: image %s is %s: %s", used.where, img, d.Report.Verdict, strings.Join(d.Reasons, ", "))}
	}
	return finding{code: http.StatusOK, remarks: d.Remarks()}
}

var statusReasons = map[int]string{
	http.StatusForbidden: "Forbidden", http.StatusUnprocessableEntity: "Invalid", http.StatusServiceUnavailable: "ServiceUnavailable",
}

func deny(code int, message string) *admissionStatus {
	return &admissionStatus{Code: code, Reason: statusReasons[code], Message: cut(message, maxMessage)}
}

func boundWarnings(warnings []string) []string {
	if len(warnings) > maxWarnings {
		more := len(warnings) - maxWarnings
		warnings = append(warnings[:maxWarnings:maxWarnings], fmt.Sprintf("and %d more remarks", more))
	}
	for i := range warnings {
		warnings[i] = cut(warnings[i], maxWarning)
	}
	return warnings
}

// cut shortens a text to n bytes of UTF-8, which JSON must be.
func cut(s string, n int) string {
	if s = strings.ToValidUTF8(s, "?"); len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}
