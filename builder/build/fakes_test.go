package build

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/policy"
)

// fakeEngine makes an image that is a function of the request: of the bytes of
// the context, of the images it is built from, and of nothing else.
type fakeEngine struct {
	name string
	// salt is added to what a package's image holds; comment to its history only.
	// env is the environment of its configuration.
	salt, comment, env map[string]string
	fail               map[string]error
	hook               func(r *engine.Request)

	mu    sync.Mutex
	built []string
}

func (e *fakeEngine) Info() engine.Info { return engine.Info{Name: e.name, Version: "1"} }
func (e *fakeEngine) Close() error      { return nil }

func (e *fakeEngine) Build(ctx context.Context, r *engine.Request) (*engine.Result, error) {
	e.mu.Lock()
	e.built = append(e.built, r.ID)
	e.mu.Unlock()
	if e.hook != nil {
		e.hook(r)
	}
	res := &engine.Result{Started: time.Unix(100, 0), Ended: time.Unix(200, 0), Steps: []engine.Step{{Name: "COPY . /"}}}
	if err := e.fail[r.ID]; err != nil {
		return res, err
	}
	layer, err := layerOf(r, e.salt[r.ID])
	if err != nil {
		return res, err
	}
	created := image.StageXEpoch()
	d := &image.Description{Layers: 1, Epoch: created}
	os, arch, _ := strings.Cut(r.Platform, "/")
	d.Image.Platform = ocispec.Platform{OS: os, Architecture: arch}
	d.Image.Created = &created
	d.Image.History = []ocispec.History{{Created: &created, CreatedBy: "COPY . /" + e.comment[r.ID]}}
	d.Image.Config = dockerspec.DockerOCIImageConfig{}
	if env := e.env[r.ID]; env != "" {
		d.Image.Config.Env = []string{env}
	}
	_, err = image.StageX1.Write(ctx, r.Output, &image.Input{
		Description: d, Annotations: r.Annotations,
		Layers: []func() (io.ReadCloser, error){func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }},
	})
	return res, err
}

// layerOf returns a tar with one file, that names all that the image is made of.
func layerOf(r *engine.Request, salt string) ([]byte, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s %s\n", r.Platform, r.Target, salt)
	err := filepath.WalkDir(r.Context, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "package.toml" {
			return err
		}
		b, err := os.ReadFile(path)
		sum := sha256.Sum256(b)
		rel, _ := filepath.Rel(r.Context, path)
		fmt.Fprintf(&text, "%s %s\n", rel, hex.EncodeToString(sum[:]))
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(r.Images)) {
		im, err := image.Open(r.Images[name], r.Platform)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&text, "%s %s\n", name, im.Layers[0].DiffID)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "made", Mode: 0o644, Size: int64(text.Len()), Format: tar.FormatUSTAR}); err != nil {
		return nil, err
	}
	_, _ = w.Write([]byte(text.String()))
	return b.Bytes(), w.Close()
}

func (e *fakeEngine) ran() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	ran := slices.Clone(e.built)
	e.built = nil
	slices.Sort(ran)
	return ran
}

// world is a tree with a chain of packages and two that must meet, and a
// ledger in memory.
type world struct {
	t      *testing.T
	root   string
	store  *source.Store
	log    *clienttest.Ledger
	ledger *record.Ledger
}

const sourceText = "the source\n"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir()}
	sum := sha256.Sum256([]byte(sourceText))
	w.pkg("bootstrap/seed", "gate = 2\nseeds = [\"hex0\"]\n", "FROM scratch\nCOPY hex0 /\n")
	w.write("packages/bootstrap/seed/hex0", "\x7fELF seed")
	w.pkg("bootstrap/left", "", "FROM scratch\nCOPY file /\n")
	w.pkg("bootstrap/right", "", "FROM scratch\nCOPY file /\n")
	for _, side := range []string{"left", "right"} {
		w.write("packages/bootstrap/"+side+"/file", "same")
	}
	w.pkg("core/tool", "reproduce = [\"buildah\"]\n", "FROM scratch\nCOPY --from=stagex/bootstrap-seed / /\n")
	w.write("packages/core/tool/package.toml", w.read("packages/core/tool/package.toml")+
		"\n[sources.tool]\nhash = \""+hex.EncodeToString(sum[:])+"\"\nfile = \"tool.txt\"\nmirrors = [\"https://tool.example/tool.txt\"]\n")
	w.pkg("core/met", "meets = [\"bootstrap-left\", \"bootstrap-right\"]\n", "FROM scratch\nCOPY --from=stagex/bootstrap-left / /\n")
	w.pkg("user/app", "", "FROM scratch\nCOPY --from=stagex/core-tool / /\n")
	var err error
	if w.store, err = source.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Add(t.Context(), hex.EncodeToString(sum[:]), strings.NewReader(sourceText)); err != nil {
		t.Fatal(err)
	}
	if w.log, err = clienttest.New("log.example/test"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w.log)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + w.log.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.ledger = &record.Ledger{Client: c, Policy: pol}
	return w
}

func (w *world) pkg(name, keys, containerfile string) {
	w.t.Helper()
	_, base, _ := strings.Cut(name, "/")
	w.write("packages/"+name+"/package.toml",
		"[package]\nname = \""+base+"\"\nversion = \"1\"\ndescription = \"a test\"\nlicense = \"MIT\"\n"+keys)
	w.write("packages/"+name+"/Containerfile", containerfile)
}

func (w *world) write(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root, path))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// operator is one builder and what it did last.
type operator struct {
	*Builder
	engine  *fakeEngine
	reports map[string]Action
	against string // where the distributed images are
}

// operator returns a builder with a directory of its own. With a name, it
// attests and logs.
func (w *world) operator(name, engineName string, change ...func(*Config)) *operator {
	w.t.Helper()
	return w.operatorIn(w.t.TempDir(), name, engineName, change...)
}

func (w *world) operatorIn(dir, name, engineName string, change ...func(*Config)) *operator {
	w.t.Helper()
	t, err := tree.Load(w.root)
	if err != nil {
		w.t.Fatal(err)
	}
	o := &operator{engine: &fakeEngine{name: engineName}, reports: make(map[string]Action)}
	cfg := Config{
		Tree: t, Store: w.store, Engine: o.engine, Dir: dir, Platform: "linux/amd64", Parallel: 2, Gate: OpenGate{},
		Done: func(r Report) { o.reports[r.Package] = r.Action },
	}
	if name != "" {
		cfg.Recorder = w.recorder(dir, name)
	}
	for _, c := range change {
		c(&cfg)
	}
	if o.Builder, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = o.Close() })
	return o
}

func (w *world) recorder(dir, name string) *record.Recorder {
	w.t.Helper()
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := attest.Enrol(signer, name, "")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := w.log.Add(raw); err != nil {
		w.t.Fatal(err)
	}
	return &record.Recorder{
		Identity: &record.Identity{Signer: signer, BuilderID: name, Operator: name, Repository: "stagex"},
		Ledger:   w.ledger, Results: record.Results{Dir: filepath.Join(dir, "results")},
	}
}

func (o *operator) result(t *testing.T, id string) *record.Result {
	t.Helper()
	r, err := o.Result(id)
	if err != nil || r == nil {
		t.Fatalf("the result of %s: %v, %v", id, r, err)
	}
	return r
}
