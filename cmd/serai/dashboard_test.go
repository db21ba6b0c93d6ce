package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"serai/internal/testnet"
	"serai/nomad"
)

// watched is what a browser has complained of, and asked for.
type watched struct {
	mu         sync.Mutex
	complaints []string
	urls       []string
}

func (w *watched) see(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.complaints = append(w.complaints, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		w.complaints = append(w.complaints, string(e.Type))
	case *cdplog.EventEntryAdded:
		w.complaints = append(w.complaints, e.Entry.Text+" "+e.Entry.URL)
	case *network.EventRequestWillBeSent:
		w.urls = append(w.urls, e.Request.URL)
	}
}

// audit finds what a page lacks for people who do not see it well, or not at all: names of
// fields, buttons and links, contrast of text (WCAG 2.1 AA), a language, headings in order,
// and whether it fits the width.
const audit = `(() => {
	const wrong = [];
	const visible = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
	for (const e of document.querySelectorAll("input,select,textarea")) if (visible(e) && !e.labels.length && !e.ariaLabel) wrong.push("a field without a label: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("a,button")) if (!e.textContent.trim() && !e.ariaLabel) wrong.push("a link or button without a name: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("svg")) if (e.getAttribute("aria-hidden") !== "true" && !e.ariaLabel) wrong.push("a picture without words: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("table")) if (!e.querySelector("th")) wrong.push("a table without headings");
	if (!document.documentElement.lang) wrong.push("no language");
	if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
	let level = 1;
	for (const e of document.querySelectorAll("h1,h2,h3")) { const n = +e.tagName[1]; if (n > level + 1) wrong.push("a heading is left out before " + e.textContent); level = n; }
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	if (new Set(ids).size !== ids.length) wrong.push("an id twice");
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const colour = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
	const over = (a, b) => a.slice(0, 3).map((v, i) => v * a[3] + b[i] * (1 - a[3]));
	const back = e => { const list = []; for (; e; e = e.parentElement) list.push(colour(getComputedStyle(e).backgroundColor)); let c = [255, 255, 255]; for (const b of list.reverse()) c = over(b, c); return c; };
	const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), seen = new Set();
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || seen.has(e) || !visible(e) || e.closest("script,style") || seen.size > 400) continue;
		seen.add(e);
		const style = getComputedStyle(e), b = back(e), a = light(over(colour(style.color), b)), c = light(b);
		const ratio = (Math.max(a, c) + .05) / (Math.min(a, c) + .05), size = parseFloat(style.fontSize);
		if (ratio < (size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5)) wrong.push("contrast " + ratio.toFixed(2) + ": " + e.textContent.trim().slice(0, 40));
	}
	if (document.documentElement.scrollWidth > innerWidth) wrong.push("it is " + document.documentElement.scrollWidth + " wide, in " + innerWidth);
	return wrong.join("\n");
})()`

// shownSerai is a serai with everything that the dashboard can show.
type shownSerai struct {
	*testing.T
	admin, http string
	flaky       *flakyInstance
}

// flakyInstance fails requests when told to.
type flakyInstance struct {
	mu   sync.Mutex
	fail bool
}

func (f *flakyInstance) set(fail bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *flakyInstance) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

// serve answers requests, or cuts them off.
func (f *flakyInstance) serve(l net.Listener) {
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if f.fails() {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				c.Close()
			}
			return
		}
		fmt.Fprint(w, "ok")
	}))
}

func newShownSerai(t *testing.T) *shownSerai {
	s := &shownSerai{T: t, admin: testnet.Address(t), flaky: &flakyInstance{}}
	l, flaky := byHand(t, "shop", "ingress.host=shop.example.org", "ingress.retries=0", "ingress.x.strip=1", "ingress.x.host=shop.example.org", "ingress.x.path=/x")
	go s.flaky.serve(l)
	regs := []nomad.Registration{
		flaky, instance(t, "shop", "ingress.host=shop.example.org", "ingress.retries=0"), instance(t, "shop", "ingress.host=shop.example.org", "ingress.retries=0"),
		instance(t, "api", "ingress.host=api.example.org", "ingress.path=/v1", "ingress.rate=1000/s"),
		instance(t, "blog", "ingress.host=blog.example.org", "ingress.strip=/x"),
		{ServiceName: "<script>alert(1)</script>", Address: "127.0.0.1", Port: 9, Tags: []string{"ingress.evil.host=evil.example.org", "ingress.evil.striip=<img src=x onerror=alert(1)>"}},
		{ServiceName: "cart", Address: "127.0.0.1", Port: 9, Tags: []string{"ingress.host=cart.example.org", "ingress.loadbalancer=leastconn"}},
		{ServiceName: "shop-copy", Address: "127.0.0.1", Port: 9, Tags: []string{"ingress.host=shop.example.org"}},
	}
	for i := range 1000 {
		regs = append(regs, nomad.Registration{ServiceName: fmt.Sprintf("team-%d", i%40), Address: "127.0.0.1", Port: 10 + i, Tags: []string{fmt.Sprintf("ingress.host=app-%04d.example.org", i)}})
	}
	dir := t.TempDir()
	authority(t).write(t, dir, "default", "shop.example.org", "*.example.org")
	_, s.http = serveStatic(t, regs, "--admin="+s.admin, "--https="+testnet.Address(t), "--cert-dir="+dir, "--eject-time=2s", "--eject-after=3")
	until(t, "the instances", func() bool {
		var l struct{ Total int }
		json.Unmarshal([]byte(apiAnswer(t, s.admin, "instances?service=shop&state=ready")), &l)
		return l.Total == 3
	})
	return s
}

// traffic makes requests until the test ends.
func (s *shownSerai) traffic() {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				get(s.http, []string{"shop.example.org", "api.example.org", "shop.example.org", "blog.example.org"}[i%4], "/v1")
			}
		}
	})
	s.Cleanup(func() { close(done); running.Wait() })
}

// TestDashboard drives every page in a real browser, at the widths of a telephone and of a
// desk, light and dark: it complains of nothing, asks nobody else, and can be read.
func TestDashboard(t *testing.T) {
	t.Parallel()
	tab := chromium(t, "127.0.0.1:1")
	s := newShownSerai(t)
	s.traffic()
	seen := &watched{}
	if err := chromedp.Listen(tab, seen.see); err != nil {
		t.Fatal(err)
	}
	called(t, tab, cdplog.Enable, cdp.Empty{})
	called(t, tab, network.Enable, network.EnableParams{})
	home := "http://" + s.admin + "/"
	until(t, "traffic", func() bool { return strings.Count(apiAnswer(t, s.admin, "traffic"), `"time"`) >= 2 })
	for _, width := range []int64{360, 1440} {
		for _, scheme := range []string{"light", "dark"} {
			look := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
			browse(t, tab, "the window", chromedp.EmulateViewport(width, 900))
			called(t, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: look})
			for name, path := range map[string]string{
				"overview": "", "routes": "ui/routes", "route": "ui/route?host=shop.example.org&path=%2F&namespace=default&service=shop&route=", "instances": "ui/instances", "rejections": "ui/rejections",
				"certificates": "ui/certificates", "events": "ui/events", "explain": "ui/explain?host=shop.example.org&path=/x",
			} {
				browse(t, tab, name, chromedp.Navigate(home+path), chromedp.WaitVisible("#live.on"))
				if wrong := evaluate(t, tab, audit); wrong != "" {
					t.Errorf("%s at %d, %s:\n%s", name, width, scheme, wrong)
				}
				if (scheme == "light") == (width == 1440) || name == "overview" {
					s.photograph(tab, fmt.Sprintf("%s-%d-%s", name, width, scheme))
				}
			}
		}
	}
	// An ejection is shown when it happens, and so is its end.
	browse(t, tab, "instances of a service", chromedp.Navigate(home+"ui/instances?service=shop"), chromedp.WaitVisible("#live.on"))
	ejected := func() string {
		return evaluate(t, tab, `String(document.querySelectorAll("main .state.ejected").length)`)
	}
	if got := ejected(); got != "0" {
		t.Errorf("%s instances are ejected at first", got)
	}
	s.flaky.set(true)
	until(t, "an ejected instance on the page", func() bool { return ejected() == "1" })
	s.flaky.set(false)
	until(t, "its return on the page", func() bool { return ejected() == "0" })
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.complaints) > 0 {
		t.Errorf("the browser complains of %q", seen.complaints)
	}
	for _, u := range seen.urls {
		if !strings.HasPrefix(u, home) {
			t.Errorf("a page asks for %s", u)
		}
	}
}

// called runs a command of the browser's protocol.
func called[P any](t *testing.T, tab context.Context, command cdp.Command[P, cdp.Empty], params P) {
	t.Helper()
	if _, err := chromedp.Call(tab, command, params); err != nil {
		t.Fatal(err)
	}
}

// photograph keeps a picture where SERAI_TEST_SCREENSHOTS says.
func (s *shownSerai) photograph(tab context.Context, name string) {
	dir := os.Getenv("SERAI_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		s.Error(err)
	}
}
