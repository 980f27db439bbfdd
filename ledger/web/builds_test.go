package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// fakeQueue has builds, the latest first, and the pieces of their logs.
type fakeQueue struct {
	builds []*cairnv1.Build
	logs   map[int64][]*cairnv1.StreamBuildLogResponse
	asked  *cairnv1.ListBuildsRequest // the last without a state of its own
	sent   int                        // pieces of logs
}

func (f *fakeQueue) ListBuilds(_ context.Context, req *cairnv1.ListBuildsRequest) (*cairnv1.ListBuildsResponse, error) {
	if req.GetPageSize() == buildsPage {
		f.asked = req
	}
	if req.GetState() == "odd" {
		return nil, reason.Errorf(reason.ArgumentInvalid, "state is not one of queued, leased, done, failed, cancelled")
	}
	resp := &cairnv1.ListBuildsResponse{}
	for _, b := range f.builds {
		if req.GetState() == "" || req.GetState() == b.GetState() {
			resp.Builds = append(resp.Builds, b)
		}
	}
	if len(resp.Builds) > int(req.GetPageSize()) {
		resp.Builds, resp.NextPageToken = resp.Builds[:req.GetPageSize()], "next+1"
	}
	return resp, nil
}

func (f *fakeQueue) GetBuild(_ context.Context, req *cairnv1.GetBuildRequest) (*cairnv1.GetBuildResponse, error) {
	i := slices.IndexFunc(f.builds, func(b *cairnv1.Build) bool { return b.GetId() == req.GetId() })
	if i < 0 {
		return nil, reason.Errorf(reason.BuildNotFound, "there is no build %d", req.GetId())
	}
	return &cairnv1.GetBuildResponse{Build: f.builds[i]}, nil
}

func (f *fakeQueue) Counts(context.Context) (map[string]int, error) {
	counts := make(map[string]int)
	for _, b := range f.builds {
		counts[b.GetState()]++
	}
	return counts, nil
}

func (f *fakeQueue) StreamBuildLog(req *cairnv1.StreamBuildLogRequest, stream cairnv1.BuildService_StreamBuildLogServer) error {
	for _, p := range f.logs[req.GetId()] {
		start, data := p.GetOffset(), p.GetData()
		if skip := req.GetOffset() - start; skip >= int64(len(data)) {
			continue
		} else if skip > 0 {
			start, data = start+skip, data[skip:]
		}
		f.sent++
		if err := stream.Send(&cairnv1.StreamBuildLogResponse{Offset: start, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

func logged(offset int64, text string) *cairnv1.StreamBuildLogResponse {
	return &cairnv1.StreamBuildLogResponse{Offset: offset, Data: []byte(text)}
}

func someBuilds() []*cairnv1.Build {
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	claim := int64(12)
	return []*cairnv1.Build{
		{Id: 8, State: "queued", Spec: &cairnv1.BuildSpec{Kind: "build", Package: "core-zlib"}, MaxAttempts: 5, QueuedBy: "dev", QueueTime: at(time.Minute)},
		{
			Id: 7, State: "leased", Attempts: 2, MaxAttempts: 5, QueuedBy: "log", QueueTime: at(2 * time.Hour), LeaseTime: at(5 * time.Minute),
			LeaseEndTime: timestamppb.New(now.Add(time.Minute)), Worker: "worker-1", Operator: "https://bob.example", LogSize: 28,
			Spec: &cairnv1.BuildSpec{
				Kind: "reproduction", Package: "core-go", Platform: "linux/amd64", Engine: "buildkit", TreeUri: "https://tree.example/x",
				TreeDigest: string(sumOf("tree")), ExpectedDigest: string(sumOf("go")), ClaimIndex: &claim, ExcludedOperators: []string{"https://alice.example"},
			},
			Failure: &cairnv1.BuildFailure{Kind: "LEASE_EXPIRED", Message: "the lease ended", Retryable: true},
		},
		{
			Id: 6, State: "done", Attempts: 1, MaxAttempts: 5, QueueTime: at(50 * time.Hour), EndTime: at(49 * time.Hour), Worker: "worker-1",
			Spec: &cairnv1.BuildSpec{Kind: "reproduction", Package: "core-make"}, Result: &cairnv1.BuildResult{Envelope: string(sumOf("e")), Index: 99, Result: "DIFFERENT"},
		},
	}
}

func hostileBuild() *cairnv1.Build {
	return &cairnv1.Build{
		Id: 5, State: "leased", Worker: hostileText, Operator: hostileText, QueuedBy: hostileText, LeaseTime: timestamppb.New(now), LogSize: int64(len(hostileText)),
		Spec:    &cairnv1.BuildSpec{Kind: "build", Package: hostileText, Platform: hostileText, Engine: hostileText, TreeUri: "javascript:alert(1)", ExcludedOperators: []string{hostileText}},
		Failure: &cairnv1.BuildFailure{Kind: hostileText, Message: hostileText},
	}
}

func TestBuilds(t *testing.T) {
	q := &fakeQueue{builds: someBuilds(), logs: map[int64][]*cairnv1.StreamBuildLogResponse{7: {logged(0, "fetching\ncompiling\r\nlinking\n")}}}
	site := newSite(t, nil, func(c *Config) { c.Builds = q })
	body := wantText(t, site, "/builds", http.StatusOK,
		"▸ leased 1", "· queued 1", "– done 1", "! failed 0",
		"core-go reproduction 7 worker-1 of https://bob.example, since 2026-11-22T11:55:00Z (5 min ago), attempt 2 of 5, linux/amd64, buildkit fetching compiling linking",
		"8 · queued core-zlib build", "6 – done core-make reproduction ✗ different 1 of 5 worker-1")
	for _, link := range []string{`href="/builds/7"`, `href="/e/99"`, `href="/builds?state=failed&amp;package="`} {
		if !strings.Contains(body, link) {
			t.Errorf("no %s", link)
		}
	}
	wantText(t, site, "/builds?state=failed&package=core-go", http.StatusOK, "Jobs that are failed of core-go", "There are none.")
	if q.asked.GetState() != "failed" || q.asked.GetPackage() != "core-go" {
		t.Errorf("asked for %v", q.asked)
	}
	wantText(t, site, "/builds?state=odd", http.StatusBadRequest, "state is not one of queued")
	_, text := get(t, site, "/builds.json")
	for _, want := range []string{`"kept": true`, `"id": 7`, `"leased": "2026-11-22T11:55:00Z"`, `"outcome": "DIFFERENT"`, `"text": "fetching\ncompiling\nlinking"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the twin has no %s:\n%s", want, text)
		}
	}
}

func TestBuildsArePaged(t *testing.T) {
	q := &fakeQueue{}
	for i := range int64(buildsPage + 1) {
		q.builds = append(q.builds, &cairnv1.Build{Id: buildsPage + 1 - i, State: "done"})
	}
	site := newSite(t, nil, func(c *Config) { c.Builds = q })
	body := wantText(t, site, "/builds?state=done", http.StatusOK, "Earlier jobs")
	if want := `href="/builds?package=&amp;page=next%2B1&amp;state=done"`; !strings.Contains(body, want) {
		t.Errorf("no %s", want)
	}
	get(t, site, "/builds?page=next%2B1")
	if q.asked.GetPageToken() != "next+1" {
		t.Errorf("asked for page %q", q.asked.GetPageToken())
	}
}

func TestNoQueue(t *testing.T) {
	site := newSite(t, nil, nil)
	wantText(t, site, "/builds", http.StatusOK, "This ledger keeps no queue of builds.")
	wantText(t, site, "/builds/7", http.StatusNotImplemented, "this ledger keeps no queue of builds")
}

func TestBuild(t *testing.T) {
	q := &fakeQueue{builds: someBuilds(), logs: map[int64][]*cairnv1.StreamBuildLogResponse{7: {logged(0, "\x1b[31mfetching\x1b[0m\n"), logged(20, "\tlinking")}}}
	site := newSite(t, nil, func(c *Config) { c.Builds = q })
	body := wantText(t, site, "/builds/7", http.StatusOK,
		"Build 7: core-go", "▸ leased", "Kind reproduction", "linux/amd64", "To reproduce entry 12", "Not by https://alice.example",
		"by log", "Attempts 2 of 5", "Worker worker-1 of https://bob.example, as it declares", "The last attempt failed: LEASE_EXPIRED the lease ended",
		"Bytes 0 to 28 of 28", "fetching [2 bytes of the log were not kept] linking", "Load this page again")
	for _, part := range []string{`href="/v1/builds/7/log"`, `href="/e/12"`, `data-build="7" data-offset="28"`, `<a href="https://tree.example/x" rel="nofollow noopener noreferrer">`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s", part)
		}
	}
	body = wantText(t, site, "/builds/6", http.StatusOK, "the attestation is entry 99, which says ✗ different", "Nothing is written yet.")
	if strings.Contains(body, "data-build") {
		t.Error("the log of a job that has ended is followed")
	}
	wantText(t, site, "/builds/99", http.StatusNotFound, "there is no build 99")
	for _, bad := range []string{"x", "-1", "007", "99999999999999999999"} {
		wantText(t, site, "/builds/"+bad, http.StatusBadRequest, "the number of a build must be a number from 0 to 9223372036854775807")
	}
	wantText(t, site, "/builds/7?before=x", http.StatusBadRequest, "before must be a number")
	_, text := get(t, site, "/builds/7.json")
	for _, want := range []string{`"claimEntry": 12`, `"missing": 2`, `"message": "the lease ended"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the twin has no %s:\n%s", want, text)
		}
	}
}

func TestLogIsShownInParts(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	log := strings.Repeat(line, 2000) // 200,000 bytes
	b := &cairnv1.Build{Id: 1, State: "done", LogSize: int64(len(log))}
	q := &fakeQueue{builds: []*cairnv1.Build{b}, logs: map[int64][]*cairnv1.StreamBuildLogResponse{}}
	for at := 0; at < len(log); at += 32 << 10 {
		q.logs[1] = append(q.logs[1], logged(int64(at), log[at:min(len(log), at+32<<10)]))
	}
	site := newSite(t, nil, func(c *Config) { c.Builds = q })
	path, lines := "/builds/1", 0
	for range 10 {
		q.sent = 0
		_, body := get(t, site, path)
		if q.sent > 4 {
			t.Errorf("%s read %d pieces", path, q.sent)
		}
		lines += strings.Count(body, line)
		_, rest, found := strings.Cut(body, `<a rel="prev" href="`)
		if !found {
			break
		}
		path, _, _ = strings.Cut(rest, `"`)
	}
	if lines != 2000 || path == "/builds/1" {
		t.Errorf("all parts have %d lines, the last is %s", lines, path)
	}
}

func TestLogsThatAreNotKept(t *testing.T) {
	q := &fakeQueue{builds: []*cairnv1.Build{{Id: 1, State: "done", LogSize: 5000}}}
	wantText(t, newSite(t, nil, func(c *Config) { c.Builds = q }), "/builds/1", http.StatusOK, "[5000 bytes of the log were not kept]")
}

func TestBuildsShowHostileTextAsText(t *testing.T) {
	q := &fakeQueue{builds: []*cairnv1.Build{hostileBuild()}, logs: map[int64][]*cairnv1.StreamBuildLogResponse{5: {logged(0, hostileText)}}}
	site := newSite(t, nil, func(c *Config) { c.Builds = q })
	wantHarmless(t, "/builds", wantText(t, site, "/builds", http.StatusOK, `<script>alert(1)</script>`))
	body := wantText(t, site, "/builds/5", http.StatusOK, `<script>alert(1)</script>\u001b[2J\u202e"'&`+strings.Repeat("W", 10_000))
	wantHarmless(t, "/builds/5", body)
	if strings.Contains(body, `href="javascript`) {
		t.Error("a URL that is none of the web is a link")
	}
}
