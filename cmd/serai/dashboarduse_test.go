package main

import (
	"strings"
	"testing"

	permission "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// TestDashboardInUse uses the pages as an operator does, with a keyboard and a mouse: a
// route among a thousand is found, all of them are scrolled through while the page stays
// live, the fix of a rejection is copied, and an explanation is asked for.
func TestDashboardInUse(t *testing.T) {
	tab := chromium(t, "127.0.0.1:1")
	s := newShownSerai(t)
	s.traffic()
	seen := &watched{}
	if err := chromedp.Listen(tab, seen.see); err != nil {
		t.Fatal(err)
	}
	called(t, tab, cdplog.Enable, cdp.Empty{})
	home := "http://" + s.admin + "/ui/"
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		called(t, tab, permission.SetPermission, permission.SetPermissionParams{
			Permission: &permission.PermissionDescriptor{Name: name}, Setting: permission.PermissionSettingGranted, Origin: strings.TrimSuffix(home, "/ui/"),
		})
	}
	rows := func() string {
		return evaluate(t, tab, `String(document.querySelectorAll("table.routes tbody tr").length)`)
	}

	browse(t, tab, "all routes", chromedp.EmulateViewport(1440, 900), chromedp.Navigate(home+"routes?limit=1000"), chromedp.WaitVisible("#live.on"))
	if got := rows(); got != "1000" {
		t.Errorf("a page of 1,000 routes has %s", got)
	}
	// The end is reached, and stays where it is while the page is replaced by what is new.
	evaluate(t, tab, `scrollTo(0, document.documentElement.scrollHeight), "scrolled"`)
	bottom := func() string { return evaluate(t, tab, `String(Math.round(scrollY))`) }
	at, traffic := bottom(), func() string { return apiAnswer(t, s.admin, "traffic") }
	first := traffic()
	until(t, "two more samples", func() bool { return strings.Count(traffic(), `"time"`) >= strings.Count(first, `"time"`)+2 })
	if now := bottom(); now != at || at == "0" {
		t.Errorf("it was scrolled to %s and is at %s", at, now)
	}
	if live := evaluate(t, tab, `document.getElementById("live").textContent`); live != "live" {
		t.Errorf("the page of 1,000 routes is %q", live)
	}

	browse(t, tab, "a search", chromedp.Navigate(home+"routes"), chromedp.WaitVisible("#live.on"), chromedp.SendKeys(`input[name=q]`, "app-0777"))
	until(t, "the route that was searched", func() bool { return rows() == "1" })
	browse(t, tab, "its page", chromedp.Click(`table.routes tbody a`), chromedp.WaitVisible("#live.on"))
	if title := evaluate(t, tab, `document.querySelector("h1").textContent`); title != "app-0777.example.org/" {
		t.Errorf("the route's page is headed %q", title)
	}

	browse(t, tab, "a rejection", chromedp.Navigate(home+"rejections?q=striip"), chromedp.WaitVisible("#live.on"), chromedp.Click(`button.copy`))
	until(t, "the copy", func() bool {
		return evaluate(t, tab, `navigator.clipboard.readText().catch(String)`) == "ingress.evil.strip=/PREFIX"
	})

	browse(t, tab, "a question", chromedp.Navigate(home+"explain"), chromedp.WaitVisible("#live.on"),
		chromedp.SendKeys(`input[name=host]`, "shop.example.org"), chromedp.SendKeys(`input[name=path]`, "/basket\r"))
	until(t, "the explanation", func() bool {
		return strings.Contains(evaluate(t, tab, `document.querySelector("main").innerText`), "default/shop/ takes it")
	})

	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.complaints) > 0 {
		t.Errorf("the browser complains of %q", seen.complaints)
	}
}
