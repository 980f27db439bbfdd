package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// newBrowser starts a browser that has never been anywhere. On Linux it is killed
// with the tests.
func newBrowser(t testing.TB) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is not installed: run `make deps`: %v", err)
	}
	opts := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	opts = append(opts, chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", false))
	allocator, gone := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() { cancel(); gone() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	return ctx
}

// look is how somebody looks at pages.
type look struct {
	width, height int64
	dark          bool
	noScript      bool
}

func (l look) String() string {
	s := fmt.Sprintf("%d light", l.width)
	if l.dark {
		s = fmt.Sprintf("%d dark", l.width)
	}
	if l.noScript {
		s += ", no scripts"
	}
	return s
}

var (
	wide   = look{width: 1440, height: 900}
	narrow = look{width: 360, height: 800}
)

// request is what a page asked of a server.
type request struct{ method, url, body string }

// tab is a page in a browser context of its own, such as a person has open.
type tab struct {
	testing.TB
	ctx  context.Context
	look look

	mu       sync.Mutex
	requests []request
	problems []string // errors on the console
}

// open opens an empty page. At the end of the test, all that it asked must have been
// asked of the origins, and its console must be empty but for what is expected.
func open(t testing.TB, browser context.Context, l look, origins ...string) *tab {
	t.Helper()
	p := &tab{TB: t, look: l}
	var close, stop context.CancelFunc
	p.ctx, close = chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	p.ctx, stop = context.WithTimeout(p.ctx, e2etest.Patience)
	t.Cleanup(func() { stop(); close() })
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	run(p, network.Enable, network.EnableParams{})
	run(p, log.Enable, cdp.Empty{})
	run(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600,
	})
	run(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	run(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScript})
	t.Cleanup(func() { p.finish(origins) })
	return p
}

// run runs a command of the DevTools protocol.
func run[P, R any](p *tab, cmd cdp.Command[P, R], params P) R {
	p.Helper()
	r, err := chromedp.Call(p.ctx, cmd, params)
	if err != nil {
		p.Fatalf("%s: %v", cmd.Method, err)
	}
	return r
}

// hear notes what the browser says of the page. It must not block.
func (p *tab) hear(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		r := request{method: ev.Request.Method, url: ev.Request.URL}
		for _, e := range ev.Request.PostDataEntries {
			r.body += string(e.Bytes)
		}
		p.requests = append(p.requests, r)
	case *network.EventWebSocketCreated:
		p.requests = append(p.requests, request{method: "WebSocket", url: ev.URL})
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
			p.problems = append(p.problems, fmt.Sprintf("%s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL))
		}
	case *runtime.EventConsoleAPICalled:
		p.problems = append(p.problems, fmt.Sprintf("console.%s", ev.Type))
	case *runtime.EventExceptionThrown:
		text := ev.ExceptionDetails.Text
		if e := ev.ExceptionDetails.Exception; e != nil {
			text += " " + e.Description
		}
		p.problems = append(p.problems, "uncaught: "+text)
	}
}

// finish checks what the page did.
func (p *tab) finish(origins []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if !fromOne(origins, r.url) {
			p.Errorf("%s: the page asked another host: %s %.300s", p.look, r.method, r.url)
		}
	}
	for _, e := range p.problems {
		p.Errorf("%s: the console says: %.500s", p.look, e)
	}
}

func fromOne(origins []string, address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	for _, o := range origins {
		if u.Scheme+"://"+u.Host == o {
			return true
		}
	}
	return u.Scheme == "data"
}

// expect takes what the console says and contains text from what the test fails for,
// and reports whether there was any.
func (p *tab) expect(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []string
	for _, e := range p.problems {
		if !strings.Contains(e, text) {
			rest = append(rest, e)
		}
	}
	found := len(rest) < len(p.problems)
	p.problems = rest
	return found
}

// sent returns what the page asked so far.
func (p *tab) sent() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]request{}, p.requests...)
}

// do runs actions, which must succeed.
func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.Fatalf("%s: %v\n%.3000s", p.look, err, p.text())
	}
}

// visit goes to a page and waits until it is loaded.
func (p *tab) visit(address string) {
	p.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(address)); err != nil {
		p.Fatalf("%s: %s: %v", p.look, address, err)
	}
}

// eval returns what an expression is on the page.
func eval[T any](p *tab, expression string) T {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%s: %.300s: %v", p.look, expression, err)
	}
	return v
}

// await waits until an expression is true on the page. what is for people.
func (p *tab) await(what, expression string) {
	p.Helper()
	for deadline := time.Now().Add(e2etest.Patience); !eval[bool](p, expression); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("%s: never %s:\n%.3000s", p.look, what, p.text())
		}
	}
}

// text is what a person reads, in one line.
func (p *tab) text() string {
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(text), " ")
}

// reads checks that a person reads each of the texts.
func (p *tab) reads(want ...string) {
	p.Helper()
	text := p.text()
	for _, w := range want {
		if !strings.Contains(text, w) {
			p.Errorf("%s, %s: nobody reads %q:\n%.2500s", eval[string](p, `location.pathname`), p.look, w, text)
		}
	}
}

// picture is the page as PNG, from some height on and at most so high.
func (p *tab) picture(top, height float64) []byte {
	p.Helper()
	height = min(height, eval[float64](p, `document.documentElement.scrollHeight`)-top)
	beyond := true
	return run(p, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Clip: &page.Viewport{Y: top, Width: float64(p.look.width), Height: height, Scale: 1}, CaptureBeyondViewport: &beyond,
	}).Data
}
