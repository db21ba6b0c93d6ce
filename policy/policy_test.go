package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"serai/wire"
)

// request is a Request with the values of a test.
type request struct {
	head          wire.RequestHead
	host          string
	https         bool
	cookie, value string
	learned       Learned
	client        netip.Addr
	known         map[Placeholder]string // besides host and path
}

func (r *request) Received() *wire.RequestHead  { return &r.head }
func (r *request) AppendHost(dst []byte) []byte { return append(dst, r.host...) }
func (r *request) OverHTTPS() bool              { return r.https }
func (r *request) AppendPlaceholder(dst []byte, p Placeholder) []byte {
	switch p {
	case Host:
		return r.AppendHost(dst)
	case Path:
		return append(dst, r.head.Path...)
	}
	return append(dst, r.known[p]...)
}
func (r *request) StickyCookie() (name, value string) { return r.cookie, r.value }
func (r *request) ClientAddr() netip.Addr             { return r.client }
func (r *request) Learned() *Learned                  { return &r.learned }
func (r *request) Wait(f func(gone <-chan struct{}))  { f(nil) }
func (r *request) AppendForwarded(dst []wire.Field) []wire.Field {
	return append(dst, r.head.Fields...)
}
func (r *request) Looped() bool      { return false }
func (r *request) FromTrusted() bool { return false }

// lines writes fields as HTTP/1 does.
func lines(fields []wire.Field) string { return string(wire.AppendFields(nil, fields)) }

func TestRedirect(t *testing.T) {
	whole := &Redirect{Status: 301, Parts: []Part{{Literal: "https://new.test"}, {Is: Path}, {Literal: "?"}, {Is: Query}}}
	more := &Redirect{Status: 301, Parts: []Part{{Literal: "https://new.test/?from=x&"}, {Is: Query}}}
	for name, c := range map[string]struct {
		to      *Redirect
		https   bool
		path    string
		query   string // "?" is an empty one
		want    string // Location; empty where the request goes on
		explain string
	}{
		"to https":            {to: &Redirect{Status: 308, HTTPS: true}, path: "/a", query: "b=c", want: "https://a.test/a?b=c", explain: "redirect: plain HTTP is answered 308, with the same URL over https"},
		"to https, empty":     {to: &Redirect{Status: 308, HTTPS: true}, path: "/a", query: "?", want: "https://a.test/a?"},
		"that is https":       {to: &Redirect{Status: 308, HTTPS: true}, https: true, path: "/a"},
		"to a URL":            {to: whole, path: "/a", query: "b", want: "https://new.test/a?b", explain: "redirect: every request is answered 301, with https://new.test{path}?{query}"},
		"to a URL, no query":  {to: whole, path: "/a", want: "https://new.test/a"},
		"to a URL, empty":     {to: whole, path: "/a", query: "?", want: "https://new.test/a"},
		"among others":        {to: more, path: "/a", query: "b", want: "https://new.test/?from=x&b"},
		"among others, none":  {to: more, path: "/a", want: "https://new.test/?from=x"},
		"among others, empty": {to: more, path: "/a", query: "?", want: "https://new.test/?from=x"},
		"to a URL from https": {to: whole, https: true, path: "/a", want: "https://new.test/a"},
		"bytes no URL has":    {to: whole, path: "/\"<", query: "\\", want: "https://new.test/%22%3C?%5C"},
		"OPTIONS *":           {to: whole, path: "*", want: "https://new.test/"},
	} {
		l := ForRoute(&OfRoute{Redirect: c.to}, &State{})
		r := &request{host: "a.test", https: c.https}
		r.head.Path, r.head.Query, r.head.HasQuery = []byte(c.path), []byte(strings.TrimPrefix(c.query, "?")), c.query != ""
		reply := &Reply{Values: &wire.Values{}}
		want := ""
		if c.want != "" {
			want = "Location: " + c.want + "\r\n"
		}
		if answered := l.Request(r, reply); answered != (c.want != "") || lines(reply.Fields) != want {
			t.Errorf("%s: answered %v with %q, want %q", name, answered, lines(reply.Fields), want)
		} else if answered && (reply.Status != c.to.Status || reply.Reason != "redirect" || reply.Detail != "") {
			t.Errorf("%s: answered %+v", name, reply)
		}
		if got := Explain(l, nil); c.explain != "" && !slices.Equal(got, []string{c.explain}) {
			t.Errorf("%s: explained as %q", name, got)
		}
	}
}

// TestRedirectWithoutHost: without a Host no Location is made.
func TestRedirectWithoutHost(t *testing.T) {
	for name, c := range map[string]struct {
		to     *Redirect
		status int
	}{
		"to https":       {&Redirect{Status: 308, HTTPS: true}, 400},
		"to its host":    {&Redirect{Status: 308, Parts: []Part{{Literal: "https://"}, {Is: Host}, {Is: Path}}}, 400},
		"to another one": {&Redirect{Status: 308, Parts: []Part{{Literal: "https://b.test"}, {Is: Path}}}, 308},
	} {
		r := &request{}
		r.head.Path = []byte("/a")
		reply := &Reply{Values: &wire.Values{}}
		if answered := ForRoute(&OfRoute{Redirect: c.to}, &State{}).Request(r, reply); !answered || reply.Status != c.status {
			t.Errorf("%s: answered %v with %d, want %d", name, answered, reply.Status, c.status)
		}
	}
}

func TestHSTS(t *testing.T) {
	l := ForRoute(&OfRoute{HSTS: "max-age=9"}, &State{})
	for name, c := range map[string]struct {
		https      bool
		sent, want string
	}{
		"plain":              {false, "X: 1", "X: 1\r\n"},
		"https":              {true, "X: 1", "X: 1\r\nStrict-Transport-Security: max-age=9\r\n"},
		"of the instance":    {true, "strict-transport-security: max-age=1", "Strict-Transport-Security: max-age=9\r\n"},
		"of a similar name":  {true, "Strict-Transport-Securitx: 1", "Strict-Transport-Securitx: 1\r\nStrict-Transport-Security: max-age=9\r\n"},
		"of it, over plain":  {false, "Strict-Transport-Security: max-age=1", "Strict-Transport-Security: max-age=1\r\n"},
		"several of its own": {true, "Strict-Transport-Security: a\r\nStrict-Transport-Security: b", "Strict-Transport-Security: max-age=9\r\n"},
	} {
		h := &wire.ResponseHead{}
		for line := range strings.SplitSeq(c.sent, "\r\n") {
			n, v, _ := strings.Cut(line, ": ")
			h.Fields = append(h.Fields, field(n, v))
		}
		l.Answer(&Answer{Request: &request{https: c.https}, Head: h})
		if got := lines(h.Fields); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSticky(t *testing.T) {
	l := ForRoute(&OfRoute{Sticky: "stay"}, &State{})
	for name, c := range map[string]struct {
		request request
		own     bool
		want    string
	}{
		"plain":        {request{cookie: "stay", value: "v"}, false, "Set-Cookie: stay=v; Path=/; HttpOnly; SameSite=Lax\r\n"},
		"https":        {request{cookie: "stay", value: "v", https: true}, false, "Set-Cookie: stay=v; Path=/; HttpOnly; SameSite=Lax; Secure\r\n"},
		"has it":       {request{}, false, ""},
		"serai's own":  {request{cookie: "stay", value: "v"}, true, ""},
		"named by nil": {request{cookie: "stay"}, false, ""},
	} {
		h := &wire.ResponseHead{}
		l.Answer(&Answer{Request: &c.request, Head: h, Own: c.own, Values: &wire.Values{}})
		if got := lines(h.Fields); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestSameSite: None goes over https alone, where the cookie is Secure.
func TestSameSite(t *testing.T) {
	for _, c := range []struct {
		sameSite SameSite
		https    bool
		want     string
	}{
		{SameSiteStrict, false, "SameSite=Strict"}, {SameSiteStrict, true, "SameSite=Strict; Secure"},
		{SameSiteNone, false, "SameSite=Lax"}, {SameSiteNone, true, "SameSite=None; Secure"},
	} {
		h := &wire.ResponseHead{}
		l := ForRoute(&OfRoute{Sticky: "stay", SameSite: c.sameSite}, &State{})
		l.Answer(&Answer{Request: &request{cookie: "stay", value: "v", https: c.https}, Head: h, Values: &wire.Values{}})
		if got, want := lines(h.Fields), "Set-Cookie: stay=v; Path=/; HttpOnly; "+c.want+"\r\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestStrip(t *testing.T) {
	for path, want := range map[string]string{
		"/api": "/", "/api/": "/", "/api/x": "/x", "/api//x": "//x", "/api/%2e%2e": "/%2e%2e",
		"/apix": "", "/": "", "*": "", "/API/x": "",
	} {
		for _, query := range []string{"", "?", "?a=b"} {
			l := ForInstance(&OfInstance{Strip: "/api"})
			r := &request{}
			r.head.Path, r.head.Query, r.head.HasQuery = []byte(path), []byte(strings.TrimPrefix(query, "?")), query != ""
			target := path + query
			f := &Forward{Request: r, Head: &wire.OutgoingRequest{Target: []byte(target)}, Path: r.head.Path, Values: &wire.Values{}}
			l.Forward(f)
			stripped := ""
			if want != "" {
				target, stripped = want+query, "/api"
			}
			if string(f.Head.Target) != target || string(f.Stripped) != stripped {
				t.Errorf("%s%s is sent as %s without %q", path, query, f.Head.Target, f.Stripped)
			}
			if string(r.head.Path) != path {
				t.Errorf("what was received is %s now", r.head.Path)
			}
		}
	}
}

// TestNothingAskedForIsNil: a route without policies has no List, and a nil List does
// nothing.
func TestNothingAskedForIsNil(t *testing.T) {
	l := ForRoute(&OfRoute{}, &State{})
	if l != nil || ForInstance(&OfInstance{}) != nil || ForInstance(&OfInstance{Strip: "/"}) != nil {
		t.Fatal("nothing is compiled to something")
	}
	if l.Unlogged() || l.MayAnswer() || l.Request(nil, nil) || len(Explain(l, []*List{nil})) > 0 {
		t.Error("a nil List does something")
	}
	l.Forward(nil)
	l.Answer(nil)
	l.Trailers(RequestMessage, nil)
}

// TestExplain: in the order of the phases, with the number of instances if not all have
// the policy.
func TestExplain(t *testing.T) {
	l := ForRoute(&OfRoute{HSTS: "max-age=9", Sticky: "stay", Redirect: &Redirect{Status: 308, HTTPS: true}}, &State{})
	if !l.MayAnswer() {
		t.Error("a redirection may not answer")
	}
	strips := func(prefixes ...string) (all []*List) {
		for _, p := range prefixes {
			all = append(all, ForInstance(&OfInstance{Strip: p}))
		}
		return all
	}
	before := "redirect: plain HTTP is answered 308, with the same URL over https"
	behind := []string{
		"hsts: answers over https carry Strict-Transport-Security: max-age=9",
		"sticky: the cookie stay keeps a client on the instance that answered it",
	}
	for name, c := range map[string]struct {
		instances []*List
		want      []string
	}{
		"no instance": {nil, nil},
		"none asks":   {strips("", ""), nil},
		"all ask":     {strips("/a", "/a"), []string{"strip: /a is removed from the path that is sent"}},
		"some ask":    {strips("/a", "", "/b"), []string{"strip: /a is removed from the path that is sent (1 of 3 instances)", "strip: /b is removed from the path that is sent (1 of 3 instances)"}},
	} {
		want := slices.Concat([]string{before}, c.want, behind)
		if got := Explain(l, c.instances); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestStateIsKept(t *testing.T) {
	var s State
	begin := func() *int { return new(int) }
	a := Keep(&s, "a", begin)
	if Keep(&s, "a", begin) != a {
		t.Error("a table's policy does not go on with what the last one's kept")
	}
	if Keep(&s, "b", begin) == a {
		t.Error("two policies keep the same")
	}
}
