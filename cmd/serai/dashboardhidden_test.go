package main

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"serai/internal/testnet"
	"serai/nomad"
)

// TestHiddenDashboard: a page that nobody sees holds no connection, of which a browser opens six
// to a server, and follows again when it is seen.
func TestHiddenDashboard(t *testing.T) {
	tab := chromium(t, "127.0.0.1:1")
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org")}, "--admin="+admin)
	until(t, "an answer of the instance", func() bool { status, _ := get(address, "shop.example.org", "/"); return status == 200 })
	followers := func(want string) {
		t.Helper()
		until(t, want+" followers", func() bool { return metric(admin, "serai_admin_followers ") == "serai_admin_followers "+want+"\n" })
	}
	// A browser without a window shows all of its tabs.
	look := func(hidden string) {
		t.Helper()
		evaluate(t, tab, `Object.defineProperty(document, "hidden", {value: `+hidden+`, configurable: true}); document.dispatchEvent(new Event("visibilitychange")); ""`)
	}
	browse(t, tab, "the dashboard", chromedp.Navigate("http://"+admin+"/ui/overview"), chromedp.WaitVisible("#live.on"))
	followers("1")
	look("true")
	followers("0")
	if got := evaluate(t, tab, `document.getElementById("live").textContent`); got != "paused while hidden" {
		t.Errorf("it says %q", got)
	}
	look("false")
	browse(t, tab, "the dashboard again", chromedp.WaitVisible("#live.on"))
	followers("1")
}

// TestSilentDashboard: a page whose connection is open, and brings nothing any more, as after a machine has
// slept or behind a network that forgot it, is not live: it says so, and connects again.
func TestSilentDashboard(t *testing.T) {
	tab := chromium(t, "127.0.0.1:1")
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org")}, "--admin="+admin)
	until(t, "an answer of the instance", func() bool { status, _ := get(address, "shop.example.org", "/"); return status == 200 })
	browse(t, tab, "the routes", chromedp.Navigate("http://"+admin+"/ui/routes"), chromedp.WaitVisible("#live.on"))
	// For the page a minute goes by between any two looks at the clock, so that whatever it hears is old.
	evaluate(t, tab, `const now = Date.now; let said = []; new MutationObserver(() => said.push(document.getElementById("live").textContent)).observe(document.getElementById("live"), {childList: true, characterData: true, subtree: true}); let looks = 0; Date.now = () => now() + 60000 * ++looks; ""`)
	says := ""
	defer func() { t.Logf("it has said %q", says) }()
	until(t, "that it is lost, and live again", func() bool {
		says = evaluate(t, tab, `said.join()`)
		return strings.HasPrefix(says, "connection lost: retrying,live")
	})
	until(t, "the one follower", func() bool { return metric(admin, "serai_admin_followers ") == "serai_admin_followers 1\n" })
}
