package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// chromium starts the real browser, which finds all hosts of example.org at an address.
func chromium(t *testing.T, address string) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed (Debian's package chromium): logins are not tried with a real browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.Flag("host-resolver-rules", "MAP *.example.org:443 "+address), chromedp.Flag("ignore-certificate-errors", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it does not run as root otherwise
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// browse does something in a tab.
func browse(t *testing.T, tab context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(tab, steps...); err != nil {
		t.Fatalf("%s: %v; at %s: %s", what, err, evaluate(t, tab, "location.href"), evaluate(t, tab, "document.body.innerText"))
	}
}

// evaluate returns what an expression is in a tab's page.
func evaluate(t *testing.T, tab context.Context, expression string) string {
	t.Helper()
	value, err := chromedp.Run(tab, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		return "no page: " + err.Error() // such as in the middle of a navigation
	}
	return value
}

// fillIn logs a user in at the provider's form, where the tab is or is led to.
func fillIn(t *testing.T, tab context.Context, user string) {
	t.Helper()
	browse(t, tab, "the provider's form", chromedp.WaitVisible("#username"), chromedp.SendKeys("#username", user),
		chromedp.SendKeys("#password", oidctest.Password), chromedp.Click("#login"))
}

// arrives waits until a tab is at a URL.
func arrives(t *testing.T, tab context.Context, at string) {
	t.Helper()
	until(t, at, func() bool { return evaluate(t, tab, "document.readyState + ' ' + location.href") == "complete "+at })
}

// fetched evaluates to what a script gets.
const fetched = `fetch("/api").then(r => r.status + " " + r.redirected)`

// TestLoginInChromium: a real browser logs in, comes to the page it wanted, also in two tabs
// at once; scripts and other sites get nothing; it logs out.
func TestLoginInChromium(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	p := oidctest.New(t, callbackURL, "https://"+authHost+"/bye")
	dir, secure := t.TempDir(), testnet.Address(t)
	authority(t).write(t, dir, "default", authHost)
	tags := []string{"ingress.auth=corp", "ingress.bye.host=" + authHost, "ingress.bye.path-exact=/bye", "ingress.evil.host=evil.example.org"}
	serveStatic(t, []nomad.Registration{i.registration(tags...)}, loginConfig(t, p, "    logout_redirect = \"/bye\"\n"), "--https="+secure, "--cert-dir="+dir)
	until(t, "the HTTPS listener", func() bool {
		c, err := net.Dial("tcp", secure)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	first := chromium(t, secure)
	const deep, logout = "https://" + authHost + "/deep/link?a=b&c=%2F#part", "https://" + authHost + "/.serai/oidc/corp/logout"
	browse(t, first, "the first tab", chromedp.Navigate(deep), chromedp.WaitVisible("#username"))
	second, cancel := chromedp.NewContext(first)
	defer cancel()
	browse(t, second, "the second tab", chromedp.Navigate("https://"+authHost+"/second"))
	fillIn(t, second, "ann")
	arrives(t, second, "https://"+authHost+"/second")
	fillIn(t, first, "ann")
	arrives(t, first, strings.TrimSuffix(deep, "#part")) // the provider's pages are in between, which lose it
	body, script, cookies := evaluate(t, first, "document.body.innerText"), evaluate(t, first, fetched), evaluate(t, first, "document.cookie")
	if body != "for id-ann" || script != "200 false" || cookies != "" {
		t.Errorf("the page is %q, a script gets %q and sees the cookies %q", body, script, cookies)
	}
	if cookie := i.last().Get("Cookie"); cookie != "" {
		t.Errorf("the instance gets the cookies %q", cookie)
	}

	// Another site sends the browser to the logout: it asks.
	browse(t, second, "another site", chromedp.Navigate("https://evil.example.org/"))
	evaluate(t, second, "location.href = '"+logout+"'")
	browse(t, second, "the question", chromedp.WaitVisible("button"))
	if script := evaluate(t, first, fetched); script != "200 false" {
		t.Errorf("another site has logged the user out: %s", script)
	}
	browse(t, second, "the logout", chromedp.Click("button"))
	arrives(t, second, "https://"+authHost+"/bye")
	if script := evaluate(t, first, fetched); script != "401 false" {
		t.Errorf("after the logout a script gets %s", script)
	}
	// And the page itself leads to the provider again.
	browse(t, first, "the page after the logout", chromedp.Navigate("https://"+authHost+"/again"))
	fillIn(t, first, "bob")
	arrives(t, first, "https://"+authHost+"/again")
	if body := evaluate(t, first, "document.body.innerText"); body != "for id-bob" {
		t.Errorf("the page is %q", body)
	}
	// Typed into the address bar, the logout needs no question.
	browse(t, first, "a logout that was typed", chromedp.Navigate(logout))
	arrives(t, first, "https://"+authHost+"/bye")
	if n := p.Asked("/end_session"); n != 2 {
		t.Errorf("the provider's session was ended %d times", n)
	}
}
