package dashboard

import (
	"os"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// worker takes jobs of a ledger's queue.
type worker struct {
	testing.TB
	client *client.Client
}

// job is a job that a worker holds.
type job struct {
	*worker
	id      int64
	lease   string
	written int64
}

func (w *world) worker(t testing.TB) *worker {
	t.Helper()
	line, err := os.ReadFile(w.path("ledger/worker.token"))
	if err != nil {
		t.Fatal(err)
	}
	secret, _, _ := strings.Cut(string(line), " ")
	return &worker{t, w.newClient(t, client.Options{Token: secret})}
}

// queue queues the reproduction of a package, and returns the job's number.
func (w *worker) queue(pkg, uri string, expected leaf.Digest) int64 {
	w.Helper()
	resp, err := w.client.QueueBuild(w.Context(), &cairnv1.QueueBuildRequest{MaxAttempts: 1, Spec: &cairnv1.BuildSpec{
		Kind: "reproduction", Package: pkg, TreeUri: uri, TreeDigest: string(leaf.SHA256([]byte("tree"))),
		Platform: "linux/amd64", ExpectedDigest: string(expected), Priority: 5,
	}})
	if err != nil {
		w.Fatal(err)
	}
	return resp.GetBuild().GetId()
}

// takes takes the next job.
func (w *worker) takes(name, operator string) *job {
	w.Helper()
	resp, err := w.client.LeaseBuild(w.Context(), &cairnv1.LeaseBuildRequest{
		Worker: name, Operator: operator, Key: string(leaf.SHA256([]byte(name))),
		Platforms: []string{"linux/amd64"}, Engines: []string{"buildkit"},
	})
	if err != nil || resp.GetBuild() == nil {
		w.Fatalf("there is no job: %v", err)
	}
	return &job{worker: w, id: resp.GetBuild().GetId(), lease: resp.GetLeaseToken()}
}

// writes adds to the log of the job.
func (j *job) writes(text string) {
	j.Helper()
	resp, err := j.client.AppendBuildLog(j.Context(), &cairnv1.AppendBuildLogRequest{Id: j.id, LeaseToken: j.lease, Offset: j.written, Data: []byte(text)})
	if err != nil {
		j.Fatal(err)
	}
	j.written = resp.GetSize()
}

// fails ends the job.
func (j *job) fails(kind, message string) {
	j.Helper()
	if _, err := j.client.CompleteBuild(j.Context(), &cairnv1.CompleteBuildRequest{
		Id: j.id, LeaseToken: j.lease, Outcome: &cairnv1.CompleteBuildRequest_Failure{Failure: &cairnv1.BuildFailure{Kind: kind, Message: message}},
	}); err != nil {
		j.Fatal(err)
	}
}
