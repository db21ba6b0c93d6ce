package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"serai/internal/testnet"
	"serai/nomad"
)

// TestDashboardWithToken: a browser logs in with the token as a password, once, and then sees every
// page live, styles and streams among it; when the token has gone, so has the stream.
func TestDashboardWithToken(t *testing.T) {
	tab := chromium(t, "127.0.0.1:1")
	admin, file := testnet.Address(t), filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(oldToken)
	_, address := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org")}, "--admin="+admin, "--admin-token-file="+file)
	until(t, "an answer", func() bool { status, _ := get(address, "shop.example.org", "/"); return status == 200 })
	seen := &watched{}
	if err := chromedp.Listen(tab, seen.see); err != nil {
		t.Fatal(err)
	}
	called(t, tab, cdplog.Enable, cdp.Empty{})
	called(t, tab, network.Enable, network.EnableParams{})

	browse(t, tab, "the login", chromedp.Navigate("http://operator:"+oldToken+"@"+admin+"/"), chromedp.WaitVisible("#live.on"))
	for name, path := range map[string]string{
		"overview": "", "routes": "ui/routes", "instances": "ui/instances", "rejections": "ui/rejections", "certificates": "ui/certificates",
		"events": "ui/events", "explain": "ui/explain?host=shop.example.org&path=/x",
	} {
		browse(t, tab, name, chromedp.Navigate("http://"+admin+"/"+path), chromedp.WaitVisible("#live.on"))
		if rules := evaluate(t, tab, `String([...document.styleSheets].reduce((n, s) => n + s.cssRules.length, 0))`); rules == "0" {
			t.Errorf("%s has no styles", name)
		}
	}
	if text := evaluate(t, tab, `document.querySelector("main").innerText`); text == "" {
		t.Error("the last page is empty")
	}
	seen.mu.Lock()
	for _, complaint := range seen.complaints {
		t.Errorf("the browser complains of %q", complaint)
	}
	for _, u := range seen.urls {
		if !strings.HasPrefix(u, "http://"+admin+"/") && !strings.HasPrefix(u, "http://operator:"+oldToken+"@"+admin+"/") || strings.Contains(u, "?token") {
			t.Errorf("a page asks for %s", u)
		}
	}
	seen.mu.Unlock()

	write(newToken)
	until(t, "the end of the stream", func() bool { return evaluate(t, tab, `String(document.querySelectorAll("#live.on").length)`) == "0" })
}
