package auth

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"serai/internal/testnet"
)

// TestPasswordLimits: each limit refuses what is beyond it, and counts it.
func TestPasswordLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPasswords()
		p.SetLimits(PasswordLimits{Checks: 1, Waiting: 3, ClientWaiting: 2, Wait: time.Second})
		g := p.gate
		if err := g.enter(address(1), nil); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, client := range []int{1, 1, 2} {
			all.Go(func() { g.enter(address(client), nil) })
		}
		synctest.Wait()
		if err := g.enter(address(1), nil); err != errClientBusy {
			t.Errorf("a third of one client: %v", err)
		}
		if err := g.enter(address(2), nil); err != errBusy {
			t.Errorf("a fourth of all: %v", err)
		}
		if s := p.Status(); s.Waiting != 3 || s.WaitingLimit != 3 {
			t.Errorf("while they wait: %+v", s)
		}
		all.Wait() // in vain
		want := map[string]uint64{"client": 1, "all": 1, "time": 3, "length": 0}
		if s := p.Status(); s.Waiting != 0 || fmt.Sprint(s.Refused) != fmt.Sprint(want) {
			t.Errorf("at the end: %+v, want refused %v", s, want)
		}
	})
}

// TestRefusalIsOnesOwn: a client that waits for a check which another one has begun is not
// refused because that one has too many under way.
func TestRefusalIsOnesOwn(t *testing.T) {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "a"), "bob:"+bcrypted(t, "b"))
	ann := b.users.Load().byName["ann"]
	synctest.Test(t, func(t *testing.T) {
		p := NewPasswords()
		p.SetLimits(PasswordLimits{Checks: 1, Waiting: 3, ClientWaiting: 3, Wait: time.Minute})
		if err := p.gate.enter(address(9), nil); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		verify := func(client int, digest byte, ok *bool, err *error) {
			all.Go(func() {
				q := &question{user: ann, password: "a", client: address(client).Addr()}
				q.digest[0] = digest
				*ok, *err = p.verify(q, nil)
			})
			synctest.Wait()
		}
		var oks [6]bool
		var errs [6]error
		for i, asks := range []struct {
			client int
			digest byte
		}{{1, 1}, {1, 2}, {1, 3}, {2, 3}, {1, 3}, {3, 4}} { // the last one takes the place of the third
			verify(asks.client, asks.digest, &oks[i], &errs[i])
		}
		p.gate.leave()
		all.Wait()
		for i, want := range []error{nil, errClientBusy, errClientBusy, nil, errClientBusy, nil} {
			if errs[i] != want || oks[i] != (want == nil) {
				t.Errorf("%d: %t, %v; want %v", i, oks[i], errs[i], want)
			}
		}
	})
}

// TestPasswordsAreCounted: those that are right, wrong, known, too long and displaced.
func TestPasswordsAreCounted(t *testing.T) {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "a"), "bob:"+bcrypted(t, "b"))
	b.passwords.SetLimits(PasswordLimits{Known: 1, Credentials: 64})
	for i, c := range []struct {
		user, password string
		let            bool
		right, wrong   uint64
		displaced      uint64
	}{
		{"ann", "a", true, 1, 0, 0}, {"ann", "a", true, 1, 0, 0}, {"ann", "b", false, 1, 1, 0}, {"carl", "a", false, 1, 2, 0},
		{"bob", "b", true, 2, 2, 1}, {"ann", "a", true, 3, 2, 2}, {"ann", strings.Repeat("a", 80), false, 3, 2, 2},
	} {
		let := strings.HasPrefix(verdict(b, ask(basic(c.user, c.password))), "pass")
		if s := b.passwords.Status(); let != c.let || s.Right != c.right || s.Wrong != c.wrong || s.Displaced != c.displaced || s.Known != 1 || s.Limit != 1 {
			t.Errorf("%d: %s is let in: %v; %+v", i, c.user, let, s)
		}
	}
	if s := b.passwords.Status(); s.Refused["length"] != 1 {
		t.Errorf("%+v", s)
	}
	for name, l := range map[string]PasswordLimits{"none": {Known: -1}, "no time": {KnownFor: -1}} {
		b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "a"))
		b.passwords.SetLimits(l)
		verdict(b, ask(basic("ann", "a")))
		verdict(b, ask(basic("ann", "a")))
		if s := b.passwords.Status(); s.Right != 2 || s.Known != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestQuestionsAreCounted: each by what became of it, also by the auth that is made anew.
func TestQuestionsAreCounted(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	refuses := testnet.Address(t)
	for want, url := range map[string]string{
		"passed": raw(t, head+"Content-Length: 0\r\n\r\n"), "denied": raw(t, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
		"unreachable": "http://" + refuses, "late": "http://" + silent.Addr().String(), "unusable": raw(t, "HTTP/1.1 304 Same\r\n\r\n"),
		"too-long": raw(t, head+"Content-Length: 101\r\n\r\n"+strings.Repeat("x", 101)),
	} {
		var all Questions
		for range 2 {
			o := ForwardOptions{URL: url, MaxAnswer: 100, Timeout: time.Minute, Questions: &all}
			if want == "late" {
				o.Timeout = 50 * time.Millisecond
			}
			verdict(newForward(t, o), ask())
		}
		for result, n := range all.Status()["sso"] {
			if n != 2 && result == want || n != 0 && result != want {
				t.Errorf("%s: %d are %s", want, n, result)
			}
		}
		if all.Retain(map[string]bool{"other": true}); len(all.Status()) != 0 {
			t.Error("auths that are gone are counted")
		}
	}
	var all Questions
	f := newForward(t, ForwardOptions{URL: raw(t, head+"X: "+strings.Repeat("x", 9000)+"\r\n\r\n"), MaxAnswer: 4096, Questions: &all})
	if v := verdict(f, ask()); v != "503 auth-unavailable" || all.Status()["sso"]["too-long"] != 1 {
		t.Errorf("a head that is too long: %s, %v", v, all.Status())
	}
}

// TestBusyQuestionsAreCounted: for one client's limit, and for that of all.
func TestBusyQuestionsAreCounted(t *testing.T) {
	var all Questions
	arrived, stop := make(chan struct{}, 4), make(chan struct{})
	f := newForward(t, ForwardOptions{URL: service(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-stop
	}), MaxInflight: 4, Timeout: time.Minute, Questions: &all})
	var asking sync.WaitGroup
	from := func(n int) *asked {
		a := ask()
		a.client = address(n).Addr()
		return a
	}
	for n := range 4 {
		asking.Go(func() { verdict(f, from(n)) })
		<-arrived
	}
	if now, most := f.Waiting(); now != 4 || most != 4 {
		t.Errorf("%d of %d wait", now, most)
	}
	verdict(f, from(0))
	verdict(f, from(9))
	close(stop)
	asking.Wait()
	if s := all.Status()["sso"]; s["client-busy"] != 1 || s["busy"] != 1 || s["passed"] != 4 {
		t.Errorf("%v", s)
	}
}

// TestTokenLimits: as many requests wait for keys, and as many bytes are passed on, as may.
func TestTokenLimits(t *testing.T) {
	tokens := NewTokens()
	tokens.SetLimits(TokenLimits{Waiting: 8, Forwarded: 20})
	j := newJWT(t, nil)
	j.tokens = tokens
	p, err := NewJWT("api", j.options, j.keys, tokens)
	if err != nil {
		t.Fatal(err)
	}
	if now, most := p.Waiting(); now != 0 || most != 8 {
		t.Errorf("%d of %d wait", now, most)
	}
	p.forward = []forwardedClaim{{[]byte("X-A"), claimPath{"a"}}, {[]byte("X-B"), claimPath{"b"}}, {[]byte("X-C"), claimPath{"c"}}}
	for _, c := range []struct {
		a, b, c int
		ok      bool
	}{{10, 10, 0, true}, {11, 0, 0, false}, {10, 10, 1, false}, {7, 7, 6, true}} {
		fields, err := p.fields(map[string]any{"a": strings.Repeat("a", c.a), "b": strings.Repeat("b", c.b), "c": strings.Repeat("c", c.c)})
		if (err == nil) != c.ok {
			t.Errorf("%+v: %d fields, %v", c, len(fields), err)
		}
	}
}
