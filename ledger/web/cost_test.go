package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cairnlog/cairn/ledger/survey"
)

// TestGraphsWaitForTheirTurn: few graphs are drawn at once, other pages do not wait.
func TestGraphsWaitForTheirTurn(t *testing.T) {
	site := newSite(t, surveyOf(treeOf(t, "pallet-userland"), "userland"), nil)
	for range maxGraphs {
		site.drawing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := site.bootstrap(httptest.NewRequestWithContext(ctx, http.MethodGet, "/bootstrap", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("one more graph: %v", err)
	}
	if status, body := get(t, site, "/packages"); status != http.StatusOK {
		t.Errorf("another page: %d %s", status, body)
	}
	<-site.drawing
	if status, body := get(t, site, "/bootstrap"); status != http.StatusOK {
		t.Errorf("a graph's turn came: %d %s", status, body)
	}
	if len(site.drawing) != maxGraphs-1 {
		t.Errorf("%d graphs are still being drawn", len(site.drawing))
	}
}

// deadlines is a survey that notes whether it is given a deadline.
type deadlines struct {
	*fakeSurvey
	given bool
}

// State implements Survey.
func (d *deadlines) State(ctx context.Context) (survey.State, error) {
	_, d.given = ctx.Deadline()
	return d.fakeSurvey.State(ctx)
}

func TestPagesHaveADeadline(t *testing.T) {
	d := &deadlines{fakeSurvey: &fakeSurvey{}}
	if status, _ := get(t, newSite(t, d, nil), "/log"); status != http.StatusOK || !d.given {
		t.Errorf("status %d, with a deadline: %t", status, d.given)
	}
}
