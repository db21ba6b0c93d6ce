package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
	"serai/nomad"
)

// guardReport is a case from public reports about what stands before an instance. The
// service that an auth asks answers verdict, or lets everybody in as ann; asked is what
// it must be told, as seen is for the instance.
type guardReport struct {
	report
	verdict, asked string
}

const letsIn = "HTTP/1.1 200 OK\nRemote-User: ann\nRemote-Groups: a\nRemote-Groups: b\nX-Else: 1\nSet-Cookie: session=new\nContent-Length: 4\n\nfine"

// guardedServices have the guards, each on a host.
func (s *stage) guardedServices() []nomad.Registration {
	var all []nomad.Registration
	for i, tags := range [][]string{
		{"ingress.host=web.example.org"},
		{"ingress.host=basic.example.org", "ingress.auth=staff"},
		{"ingress.host=keep.example.org", "ingress.auth=keeping"},
		{"ingress.host=sso.example.org", "ingress.auth=sso"},
		{"ingress.host=cached.example.org", "ingress.auth=sso", "ingress.response-set=Cache-Control: public, max-age=3600", "ingress.response-remove=Set-Cookie"},
		{"ingress.host=trusting.example.org", "ingress.auth=trusting"},
		{"ingress.host=both.example.org", "ingress.auth=sso", "ingress.policies=inside"},
		{"ingress.host=app.example.org", "ingress.admin.host=app.example.org", "ingress.admin.path=/admin", "ingress.admin.allow=192.0.2.0/24",
			"ingress.login.host=app.example.org", "ingress.login.path-exact=/login", "ingress.login.method=POST", "ingress.login.allow=192.0.2.0/24"},
		{"ingress.host=encoded.example.org", "ingress.cafe.host=encoded.example.org", "ingress.cafe.path=/caf%C3%A9,/my%20files,/%7Ebob", "ingress.cafe.allow=192.0.2.0/24"},
		{"ingress.host=list.example.org", "ingress.allow=127.0.0.1,2001:db8::/32", "ingress.deny=127.0.0.9"},
		{"ingress.host=cors.example.org", "ingress.cors=https://app.example.org,https://*.dev.example.org,null", "ingress.cors-methods=GET,PUT", "ingress.cors-headers=Content-Type,X-A", "ingress.cors-credentials=true", "ingress.cors-expose=X-B"},
		{"ingress.host=corsauth.example.org", "ingress.cors=https://app.example.org", "ingress.auth=staff"},
		{"ingress.host=corssso.example.org", "ingress.cors=https://app.example.org", "ingress.auth=sso"},
		{"ingress.host=rate.example.org", "ingress.rate=1/h"},
		{"ingress.host=strip.example.org", "ingress.path=/api,/%61", "ingress.strip=/api"},
		{"ingress.host=rewrite.example.org", "ingress.rewrite=^/v1/(.*)$ /api/$1"},
		{"ingress.host=any.example.org", "ingress.rewrite=^(.*)$ /x$1"},
		{"ingress.host=loose.example.org", "ingress.rewrite=^/p/(.*)$ /$1"},
		{"ingress.host=prepend.example.org", "ingress.prepend=/app"},
		{"ingress.host=glued.example.org", "ingress.path=/api", "ingress.rewrite=^/api(.*)$ /$1"},
		{"ingress.host=set.example.org", "ingress.request-set=X-User: {client} {host} {path}", "ingress.request-remove=X-Debug", "ingress.response-set=X-Path: {path}", "ingress.response-remove=Server"},
		{"ingress.host=to.example.org", "ingress.redirect=https://new.example.org{path}?{query}"},
		{"ingress.host=same.example.org,*.same.example.org", "ingress.redirect=https://{host}:8443{path}"},
	} {
		all = append(all, s.registration(fmt.Sprintf("g%d", i), tags...))
	}
	return all
}

func guardConfig(t *testing.T, verify net.Addr) string {
	users := usersFile(t, "ann:open-sesame", "bob:b", "c d:x", "col:a:b", "ünï:ç")
	return configOf(t, fmt.Sprintf(`
auth "staff" {
  basic {
    users_file = %[1]q
  }
}
auth "keeping" {
  basic {
    users_file = %[1]q
    user_field = "Remote-User"
    keep       = true
  }
}
auth "sso" {
  forward {
    url  = "http://%[2]s/verify?a=b"
    copy = ["Remote-User", "Remote-Groups"]
  }
}
auth "trusting" {
  forward {
    url             = "http://%[2]s/verify"
    copy            = ["X-Forwarded-User"]
    trust_forwarded = true
  }
}
policy "inside" {
  allow = ["127.0.0.0/8"]
}
`, users, verify))
}

// TestReportsOfGuards is what others' users have reported of auths, address lists, rates,
// CORS, paths and fields, tried here.
func TestReportsOfGuards(t *testing.T) {
	s, verify := newStage(t), newStage(t)
	_, address := serveStatic(t, s.guardedServices(), "--retry-share=0", "--h2c=off", guardConfig(t, verify.listener.Addr()))
	for group, cases := range guardReports() {
		t.Run(group, func(t *testing.T) { s.runGuarded(t, verify, address, cases) })
	}
}

func (s *stage) runGuarded(t *testing.T, verify *stage, address string, cases []guardReport) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.answer == "" {
				c.answer = plainAnswer
			}
			if c.verdict == "" {
				c.verdict = letsIn
			}
			s.begin(c.answer)
			verify.begin(c.verdict)
			if !c.alone {
				c.send += lastRequest
			}
			sent := crlf(c.send)
			conn := dialFrom(t, "127.0.0.1", address)
			io.WriteString(conn, sent)
			got, all := outcome(t, conn, sent)
			seen, asked := s.end(), verify.end()
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if bad := missing(c.seen, seen); bad != nil || c.seen == "-" && seen != "" {
				t.Errorf("the instance does not see as it should: %q", bad)
			}
			if bad := missing(c.asked, asked); bad != nil || c.asked == "-" && asked != "" {
				t.Errorf("the service that is asked does not see as it should: %q", bad)
			}
			if bad := missing(c.got, all); bad != nil {
				t.Errorf("the client does not see as it should: %q", bad)
			}
			if t.Failed() {
				t.Logf("instance: %q", seen)
				t.Logf("asked: %q", asked)
				t.Logf("client: %q", all)
			}
		})
	}
}

// TestTunnelOfHTTP2BehindAuth: a WebSocket over HTTP/2 is asked with CONNECT (RFC 8441). For
// the service it is the GET that it would be over HTTP/1: its rules for methods count.
func TestTunnelOfHTTP2BehindAuth(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	asked := make(chan http.Header, 10)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		if r.Header.Get("Cookie") != "a=1; session=ann" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Remote-User", "ann")
	}))
	t.Cleanup(service.Close)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=sso")}, forwardConfig(t, service.URL, ""))
	conn := dialFrom(t, "127.0.0.1", address)
	p := testhttp2.NewPeer(conn, authHost)
	tunnel := func(id uint32, more ...string) string {
		all := append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", authHost, ":path", "/ws", "sec-websocket-version", "13", "remote-user", "root"}, more...)
		if err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.Block(all...), EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		a, err := p.Answer(id)
		if err != nil {
			t.Fatal(err)
		}
		return a.Status
	}
	if status := tunnel(1); status != "403" || i.count() != 0 {
		t.Errorf("answered %s, %d requests have reached the instance", status, i.count())
	}
	if h := <-asked; h.Get("X-Forwarded-Method") != "GET" || h.Get("X-Forwarded-Uri") != "/ws" || h.Get("X-Forwarded-Host") != authHost || h.Get("Upgrade") != "" {
		t.Errorf("the service is asked with %v", h)
	}
	// Clients of HTTP/2 send cookies one by one.
	tunnel(3, "cookie", "a=1", "cookie", "session=ann")
	if h := <-asked; h.Get("X-Forwarded-Method") != "GET" {
		t.Errorf("the service is asked with %v", h)
	}
	until(t, "the instance", func() bool { return i.count() == 1 })
	if got := i.last()["Remote-User"]; len(got) != 1 || got[0] != "ann" {
		t.Errorf("the instance is told %q", got)
	}
}
