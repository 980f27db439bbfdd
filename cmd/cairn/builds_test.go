package main

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// patience bounds what a script does beside cairn.
const patience = time.Minute

// bearerOf returns a client of a -dev ledger, with the token that it made.
func bearerOf(url, dir string) (*client.Client, error) {
	token, err := bearer.ReadOwn(filepath.Join(dir, "worker.token"))
	if err != nil {
		return nil, err
	}
	return client.New(url, client.Options{Token: token})
}

func scriptClient(ts *testscript.TestScript, neg bool, args []string, want int, usage string) *client.Client {
	if neg || len(args) != want {
		ts.Fatalf("usage: %s", usage)
	}
	c, err := bearerOf(ts.Getenv("CAIRN_LEDGER"), ts.MkAbs("ledger"))
	ts.Check(err)
	return c
}

// askingBuild is a build of core-go that asks for reproductions.
func askingBuild(signer *attest.Signer) ([]byte, error) {
	st, err := attest.NewStatement(attest.PredicateProvenance, &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{
			BuildType: attest.BuildTypeStageX,
			ExternalParameters: map[string]any{
				"reproduce": []string{"buildah", "buildkit"}, "package": "core-go", "platform": "linux/amd64",
				"tree": attest.ResourceDescriptor{URI: "https://tree.example", Digest: map[string]string{"sha256": strings.Repeat("a", 64)}},
			},
		},
		RunDetails: attest.RunDetails{Builder: attest.Builder{ID: "https://ci.example"}},
	}, attest.ResourceDescriptor{Name: "core-go", Digest: map[string]string{"sha256": strings.Repeat("b", 64)}})
	if err != nil {
		return nil, err
	}
	return signer.Sign(st)
}

// asks is `asks KEY`: it logs a build that asks for reproductions.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	c := scriptClient(ts, neg, args, 1, "asks KEY")
	signer, err := attest.ParsePrivateKey([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	raw, err := askingBuild(signer)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw})
	ts.Check(err)
}

func offer(engine string) *cairnv1.LeaseBuildRequest {
	return &cairnv1.LeaseBuildRequest{
		Worker: "w1", Operator: "https://bob.example", Key: "sha256:" + strings.Repeat("0", 64),
		Platforms: []string{"linux/amd64"}, Engines: []string{engine}, WaitSeconds: 20,
	}
}

// leaseBuild is `lease ENGINE`: it leases a build, and sets BUILD and LEASE.
func leaseBuild(ts *testscript.TestScript, neg bool, args []string) {
	c := scriptClient(ts, neg, args, 1, "lease ENGINE")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := c.LeaseBuild(ctx, offer(args[0]))
	ts.Check(err)
	if resp.GetBuild() == nil {
		ts.Fatalf("lease: there is no build")
	}
	ts.Setenv("BUILD", strconv.FormatInt(resp.GetBuild().GetId(), 10))
	ts.Setenv("LEASE", resp.GetLeaseToken())
}

func leasedBuild(ts *testscript.TestScript) (id int64, token string) {
	id, err := strconv.ParseInt(ts.Getenv("BUILD"), 10, 64)
	ts.Check(err)
	return id, ts.Getenv("LEASE")
}

// appendBuildLog is `append FILE`: it adds the file to the log of the build.
func appendBuildLog(ts *testscript.TestScript, neg bool, args []string) {
	c := scriptClient(ts, neg, args, 1, "append FILE")
	id, token := leasedBuild(ts)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.AppendBuildLog(ctx, &cairnv1.AppendBuildLogRequest{Id: id, LeaseToken: token, Data: []byte(ts.ReadFile(args[0]))})
	ts.Check(err)
}

// failBuild is `fail`: the leased build fails for good.
func failBuild(ts *testscript.TestScript, neg bool, args []string) {
	c := scriptClient(ts, neg, args, 0, "fail")
	id, token := leasedBuild(ts)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.CompleteBuild(ctx, &cairnv1.CompleteBuildRequest{Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Failure{
		Failure: &cairnv1.BuildFailure{Kind: "SOURCE_MISSING", Message: "no mirror has it"},
	}})
	ts.Check(err)
}

// TestBuildsOfTheRealLedger makes every call of the client's for builds, those
// too that no command makes, and kills the ledger between them.
func TestBuildsOfTheRealLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	cmd, ready, err := runLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := bearerOf(ready.HTTP, dir)
	if err != nil {
		t.Fatal(err)
	}
	spec := &cairnv1.BuildSpec{Kind: "build", Package: "core-go", TreeDigest: "sha256:" + strings.Repeat("a", 64)}
	queued, err := c.QueueBuild(ctx, &cairnv1.QueueBuildRequest{Spec: spec, RequestId: "once"})
	if err != nil || !queued.GetCreated() {
		t.Fatalf("%v, %v", queued, err)
	}
	leased, err := c.LeaseBuild(ctx, offer("buildkit"))
	if err != nil || leased.GetBuild().GetId() != 1 {
		t.Fatalf("%v, %v", leased, err)
	}
	id, token := leased.GetBuild().GetId(), leased.GetLeaseToken()
	if r, err := c.AppendBuildLog(ctx, &cairnv1.AppendBuildLogRequest{Id: id, LeaseToken: token, Data: []byte("one\n")}); err != nil || r.GetSize() != 4 {
		t.Errorf("%v, %v", r, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if cmd, ready, err = runLedger(dir); err != nil {
		t.Fatal(err)
	}
	if c, err = bearerOf(ready.HTTP, dir); err != nil {
		t.Fatal(err)
	}
	if again, err := c.QueueBuild(ctx, &cairnv1.QueueBuildRequest{Spec: spec, RequestId: "once"}); err != nil || again.GetCreated() || again.GetBuild().GetId() != id {
		t.Errorf("queued again: %v, %v", again, err)
	}
	finishBuild(ctx, t, c, id, token)
}

// finishBuild completes a leased build, of whose log there is a line.
func finishBuild(ctx context.Context, t *testing.T, c *client.Client, id int64, token string) {
	t.Helper()
	if r, err := c.RenewLease(ctx, &cairnv1.RenewLeaseRequest{Id: id, LeaseToken: token}); err != nil || r.GetStatus() != "held" {
		t.Errorf("renewed: %v, %v", r, err)
	}
	complete := &cairnv1.CompleteBuildRequest{Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Result{
		Result: &cairnv1.BuildResult{Envelope: string(leaf.SHA256(nil))},
	}}
	_, err := c.CompleteBuild(ctx, complete)
	if e, ok := reason.Of(err); !ok || e.Reason != reason.AttestationNotFound {
		t.Errorf("completed with what is not logged: %v", err)
	}
	complete.GetResult().Envelope = string(logBuild(ctx, t, c))
	if r, err := c.CompleteBuild(ctx, complete); err != nil || r.GetBuild().GetState() != "done" || r.GetBuild().GetResult().GetIndex() != 1 {
		t.Errorf("completed: %v, %v", r, err)
	}
	var text []byte
	for m, err := range c.StreamBuildLog(ctx, &cairnv1.StreamBuildLogRequest{Id: id, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, m.GetData()...)
	}
	if string(text) != "one\n" {
		t.Errorf("the log is %q", text)
	}
}

// logBuild enrols a key, and logs a build with it.
func logBuild(ctx context.Context, t *testing.T, c *client.Client) leaf.Digest {
	t.Helper()
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	enrolment, err := attest.Enrol(signer, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	build, err := askingBuild(signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{enrolment, build} {
		if _, err := c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw}); err != nil {
			t.Fatal(err)
		}
	}
	return leaf.SHA256(build)
}
