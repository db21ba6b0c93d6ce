package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"serai/nomad"
	"serai/nomad/nomadtest"
)

// asker is an instance of a service that lets those in who have a session.
type asker struct {
	*httptest.Server
	asked atomic.Int64
	mu    sync.Mutex
	last  *http.Request
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	a := &asker{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		a.mu.Lock()
		a.last = r
		a.mu.Unlock()
		switch c, err := r.Cookie("session"); {
		case err != nil:
			w.Header().Set("Location", "https://login.example.org/")
			w.WriteHeader(302)
			io.WriteString(w, "log in")
		case c.Value == "long":
			io.WriteString(w, strings.Repeat("x", 100<<10))
		case c.Value == "cut":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "x")
		case c.Value == "down":
			w.WriteHeader(503)
			io.WriteString(w, "of the service")
		default:
			w.Header().Set("Remote-User", c.Value)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *asker) registration(id, namespace string, tags ...string) nomad.Registration {
	return nomad.Registration{ID: id, ServiceName: "sso", Namespace: namespace, AllocID: "alloc-" + id, JobID: "sso",
		Address: "127.0.0.1", Port: a.Listener.Addr().(*net.TCPAddr).Port, Tags: append([]string{"ingress.host=login.example.org"}, tags...)}
}

const serviceAuth = "auth \"sso\" {\n  forward {\n    service = \"sso\"\n    path = \"/verify?x=1\"\n    copy = [\"Remote-User\"]\n  }\n}\n"

// TestAuthAsksAService: a service of the table is asked through its pool, whatever its own
// routes demand of clients.
func TestAuthAsksAService(t *testing.T) {
	t.Parallel()
	i, a := newGuardedInstance(t), newAsker(t)
	_, url, _ := nomadtest.Simulator(t, i.registration("ingress.auth=sso"),
		a.registration("a", "default", "ingress.auth=sso", "ingress.allow=192.0.2.0/24", "ingress.strip=/verify", "ingress.prepend=/x", "ingress.redirect=https",
			"ingress.request-set=X-Set: 1", "ingress.response-set=Remote-User: root", "ingress.path=/verify"))
	c := serveConfig(t, url, serviceAuth)
	for name, h := range webClients(t, c.traffic) {
		t.Run(name, func(t *testing.T) {
			until(t, "the service", func() bool { return request(t, h, "GET", "/", "Cookie: session=ann").status == 200 })
			g := request(t, h, "POST", "/a?b=c", "Remote-User: root", "X-Forwarded-For: 6.6.6.6")
			if g.status != 302 || g.body != "log in" || g.fields.Get("Location") != "https://login.example.org/" || g.fields.Get("X-Serai-Reason") != "auth-denied" {
				t.Errorf("answered %d %q with %v", g.status, g.body, g.fields)
			}
			a.mu.Lock()
			asked := a.last
			a.mu.Unlock()
			if asked.Method != "GET" || asked.RequestURI != "/verify?x=1" || asked.Host != "login.example.org" {
				t.Errorf("the service was asked %s %s of %s", asked.Method, asked.RequestURI, asked.Host)
			}
			for name, want := range map[string]string{
				"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/a?b=c", "X-Forwarded-Host": authHost, "X-Forwarded-Proto": "http", "X-Forwarded-For": "127.0.0.1",
				"X-Serai-Hops": "1", "Remote-User": "", // which only the auth may set
				"X-Set": "", "Content-Length": "", "X-Forwarded-Prefix": "",
			} {
				if got := strings.Join(asked.Header.Values(name), "|"); got != want {
					t.Errorf("the service is told %s: %q, want %q", name, got, want)
				}
			}
			if g := request(t, h, "GET", "/", "Cookie: session=ann", "Remote-User: root"); g.status != 200 || g.body != "for ann" {
				t.Errorf("answered %d %q", g.status, g.body)
			}
			if g := request(t, h, "GET", "/", "Cookie: session=down"); g.status != 503 || g.body != "of the service" || g.fields.Get("X-Serai-Reason") != "auth-denied" {
				t.Errorf("the service's own 503 is %d %q with %v", g.status, g.body, g.fields)
			}
			for _, session := range []string{"long", "cut"} {
				if g := request(t, h, "GET", "/", "Cookie: session="+session); g.status != 503 || g.fields.Get("X-Serai-Reason") != "auth-unavailable" {
					t.Errorf("%s: answered %d with %v", session, g.status, g.fields)
				}
			}
		})
	}
	if status := c.status("login.example.org"); status == 200 {
		t.Error("the service's own route is open")
	}
	_, explained := get(c.admin, "localhost", "/explain?host="+authHost+"&path=/")
	if want := "auth: sso asks the service default/sso"; !strings.Contains(explained, want) {
		t.Errorf("/explain does not say %q:\n%s", want, explained)
	}
}

// TestAuthServiceComesAndGoes: questions are spread over the instances, go on while one of
// them is left, and let nobody in when there is none.
func TestAuthServiceComesAndGoes(t *testing.T) {
	t.Parallel()
	i, a, b, other := newGuardedInstance(t), newAsker(t), newAsker(t), newAsker(t)
	sim, url, _ := nomadtest.Simulator(t, i.registration("ingress.auth=sso"), a.registration("a", "default"), b.registration("b", "default"))
	sim.CreateNamespace("other")
	elsewhere := other.registration("o", "other")
	elsewhere.Tags = []string{"ingress.host=other.example.org"}
	sim.Register(elsewhere)
	c := serveConfig(t, url, serviceAuth)
	h := webClients(t, c.traffic)["HTTP/1"]
	asks := func() got { return request(t, h, "GET", "/", "Cookie: session=ann") }
	until(t, "questions to both", func() bool { return asks().status == 200 && a.asked.Load() > 0 && b.asked.Load() > 0 })
	a.CloseClientConnections()
	a.Listener.Close()
	for range 50 {
		if g := asks(); g.status != 200 {
			t.Fatalf("with one instance of two answered %d with %v", g.status, g.fields)
		}
	}
	b.CloseClientConnections()
	b.Listener.Close()
	reached := i.count()
	for range 3 {
		if g := asks(); g.status != 503 || g.fields.Get("X-Serai-Reason") != "auth-unavailable" {
			t.Fatalf("without any answered %d with %v", g.status, g.fields)
		}
	}
	sim.Deregister("default", "a")
	sim.Deregister("default", "b")
	until(t, "the end of the service", func() bool {
		_, routes := get(c.admin, "localhost", "/endpoints")
		return !strings.Contains(routes, "alloc-b")
	})
	if g := asks(); g.status != 503 || g.fields.Get("X-Serai-Reason") != "auth-unavailable" {
		t.Errorf("without registrations answered %d with %v", g.status, g.fields)
	}
	if i.count() != reached || other.asked.Load() > 0 {
		t.Errorf("%d requests have passed nobody; a service of another namespace was asked %d times", i.count()-reached, other.asked.Load())
	}
	d := newAsker(t)
	sim.Register(d.registration("d", "default"))
	until(t, "the service to be back", func() bool { return asks().status == 200 })
	// Another file asks the service of another namespace.
	c.write(strings.Replace(serviceAuth, `"sso"`+"\n    path", `"other/sso"`+"\n    path", 1))
	until(t, "the other service", func() bool { return asks().status == 200 && other.asked.Load() > 0 })
}

// TestServiceBlocks: what is wrong with the words in the file is told.
func TestServiceBlocks(t *testing.T) {
	for text, want := range map[string]string{
		`service = "a b"`:                             "wants the NAME of a service",
		`service = "/a"`:                              "wants the NAME of a service",
		`service = "a/b/c"`:                           "wants the NAME of a service",
		"service = \"a\"\n path = \"verify\"":         "path is not the path of a URL",
		"service = \"a\"\n path = \"http://b.test/\"": "path is not the path of a URL",
		"service = \"a\"\n path = \"/a#b\"":           "path is not the path of a URL",
		"service = \"a\"\n url = \"http://b.test/\"":  "service and url are both set",
		"path = \"/a\"\n url = \"http://b.test/\"":    "path is for a service",
		"path = \"/a\"":                               "url or service is missing",
	} {
		_, err := readText(t, fmt.Sprintf("auth \"sso\" {\n forward {\n %s\n }\n}\n", text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant %q", text, err, want)
		}
	}
}
