package admin_test

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"serai/admin"
	"serai/internal/history"
	"serai/router"
)

// TestExplainsRefusedRequests: a request that serai refuses before it looks for a route is not explained as one that a
// route takes, not even that of all hosts.
func TestExplainsRefusedRequests(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	n.set("any", instance("ingress.host=*"))
	long := strings.Repeat("a", 9000)
	for _, c := range []struct{ host, path, method, result, why string }{
		{"shop.example.org", "/", "", "found", ""},
		{"other.example.org:80", "/a?b=c", "", "found", ""},
		{long, "/", "", "bad-host", "400: Host is not one valid host[:port]"},
		{"shop.example.org\r\nX: y", "/", "", "bad-host", "400: Host"},
		{"a@b", "/", "", "bad-host", "400: Host"},
		{"shop.example.org", "/" + long + long, "", "target-too-long", "414: the request target"},
		{"shop.example.org", "/a b", "", "bad-request-line", "400: the request line"},
		{"shop.example.org", "/", "G(T", "bad-method", "400: the method"},
		{"shop.example.org", "/", "GET\r\n", "bad-method", "400: "},
		{"shop.example.org", "/", "CONNECT", "connect-refused", "501: CONNECT"},
		{"shop.example.org:99999", "/", "", "bad-host", "400: Host"},
	} {
		var x router.Explanation
		q := url.Values{"host": {c.host}, "path": {c.path}, "method": {c.method}}
		if status := n.read("/api/v1/explain?"+q.Encode(), &x); status != 200 {
			t.Errorf("%.60q%.60q answers %d", c.host, c.path, status)
		}
		if x.Result != c.result || !strings.HasPrefix(x.Why, c.why) || (x.Winner == "") != (c.result != "found") || x.Candidates == nil {
			t.Errorf("%s %.60q%.60q is explained as %+v, want %s and %s", c.method, c.host, c.path, x, c.result, c.why)
		}
		if _, page := n.get("/ui/explain?" + q.Encode()); !strings.Contains(page, strings.ReplaceAll(x.Why, "'", "&#39;")) {
			t.Errorf("the page does not say %q", x.Why)
		}
	}
}

// TestExplainsDisguises: the page says why a request is refused that may be read as one for a guarded route.
func TestExplainsDisguises(t *testing.T) {
	n := newNode(t, admin.Options{}, router.Options{})
	n.set("shop", instance("ingress.host=shop.example.org", "ingress.a.host=shop.example.org", "ingress.a.path=/admin", "ingress.a.allow=10.0.0.0/8",
		"ingress.b.host=shop.example.org", "ingress.b.path=/form", "ingress.b.method=POST", "ingress.b.rate=1/s"))
	for query, want := range map[string]string{
		"host=shop.example.org&path=/x/../admin":       "400: an instance may read the path as one that a guarded route of this host takes",
		"host=shop.example.org&path=/form&method=post": "400: an instance may read the method as one that a guarded route of this host takes",
		"host=nothing.example.org":                     "404: no route takes this host",
	} {
		if _, page := n.get("/ui/explain?" + query); !strings.Contains(page, "<h2>"+want) {
			t.Errorf("%s: the page does not say %q:\n%s", query, want, page)
		}
	}
}

// explain returns what is gone.
func (n *node) explain(query string) string {
	var x admin.Explanation
	if n.read("/api/v1/explain?"+query, &x); x.Gone == nil {
		return ""
	}
	return x.Gone.Service + " " + x.Gone.Host + x.Gone.Details["path"]
}

// TestExplainsWhatIsGone: the service that had a host until lately is named, but not to a request that a route takes.
func TestExplainsWhatIsGone(t *testing.T) {
	ring := history.NewRing(0)
	n := newNode(t, admin.Options{History: ring}, router.Options{Logger: history.Logger(slog.New(slog.DiscardHandler), ring)})
	n.set("web", instance("ingress.host=web.example.org"))
	n.set("shop", instance("ingress.host=shop.example.org", "ingress.path=/cart"))
	n.set("wild", instance("ingress.host=*.example.net"))
	for _, name := range []string{"shop", "wild"} {
		n.set(name)
	}
	n.set("again", instance("ingress.host=again.example.org", "ingress.path=/a"))
	n.set("other", instance("ingress.host=again.example.org", "ingress.path=/b"), instance("ingress.host=again.example.org", "ingress.path=/b"))
	n.set("again")
	n.now = n.now.Add(time.Hour)
	n.set("other", instance("ingress.host=again.example.org", "ingress.path=/b"))
	before := n.explain("host=again.example.org&path=/a/x")
	n.set("again", instance("ingress.host=again.example.org", "ingress.path=/a"))
	n.set("web", instance("ingress.host=web.example.org"), instance("ingress.host=web.example.org"))
	if want := "again again.example.org/a"; before != want {
		t.Errorf("%q is gone, want %q", before, want)
	}
	for query, want := range map[string]string{
		"host=SHOP.example.org:80&path=/cart": "shop shop.example.org/cart",
		"host=shop.example.org":               "shop shop.example.org/cart",
		"host=a.example.net":                  "wild *.example.net",
		"host=web.example.org":                "",
		"host=example.net":                    "",
		"host=nothing.example.org":            "",
		"host=again.example.org&path=/c":      "", // /a is back
		"host=again.example.org&path=/ab":     "",
	} {
		if got := n.explain(query); got != want {
			t.Errorf("%s: %q is gone, want %q", query, got, want)
		}
		if _, page := n.get("/ui/explain?" + query); (want != "") != strings.Contains(page, "a route of default/") {
			t.Errorf("%s: want %q\n%s", query, want, page)
		}
	}
}
