package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// follow is a Store that runs against an agent, and what it logs.
type follow struct {
	*Store
	t      *testing.T
	client *nomad.Client
	log    *output
	mu     sync.Mutex
	denied []string
}

type output struct {
	mu sync.Mutex
	bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Buffer.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.String()
}

func run(t *testing.T, url string) *follow {
	t.Helper()
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	f := &follow{Store: NewStore(), t: t, client: client, log: &output{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		f.Run(ctx, Options{Client: client, Logger: slog.New(slog.NewTextHandler(f.log, nil)), Refused: func(path string, err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.denied = append(f.denied, path)
		}})
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		client.CloseIdleConnections()
	})
	return f
}

func (f *follow) put(path string, items ...string) {
	f.t.Helper()
	v := nomad.Variable{VariableMeta: nomad.VariableMeta{Path: path}, Items: make(map[string]string)}
	for i := 0; i < len(items); i += 2 {
		v.Items[items[i]] = items[i+1]
	}
	if _, err := f.client.PutVariable(f.t.Context(), v); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follow) remove(path string) {
	f.t.Helper()
	if err := f.client.DeleteVariable(f.t.Context(), "", path); err != nil {
		f.t.Fatal(err)
	}
}

// used notes what a secret was used with: "none" for nil. What begins with "bad" it does not
// take.
type used struct {
	mu  sync.Mutex
	all []string
}

func (u *used) use(content []byte) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case content == nil:
		u.all = append(u.all, "none")
	case bytes.HasPrefix(content, []byte("bad")):
		return "", errors.New("it is bad")
	default:
		u.all = append(u.all, string(content))
	}
	return "", nil
}

func (u *used) seen() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.all)
}

// becomes waits until u was used with exactly that, in that order.
func (f *follow) becomes(u *used, want ...string) {
	f.t.Helper()
	f.until(fmt.Sprint("uses ", want), func() bool { return slices.Equal(u.seen(), want) })
}

// problem waits until the only problem has that text; used says whether something is used.
func (f *follow) problem(text string, used bool) {
	f.t.Helper()
	f.until("problem "+text, func() bool {
		s := f.Status()
		return len(s) == 1 && s[0].Used == used && (text == "") == (s[0].Problem == "") && strings.Contains(s[0].Problem, text) && (text == "") == s[0].Since.IsZero()
	})
}

func (f *follow) until(what string, holds func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("never: %s; status %+v; log:\n%s", what, f.Status(), f.log.text())
		}
	}
}

// reads makes a fault apply to reads alone.
func reads(f nomadsim.Fault) nomadsim.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		f(w, r, next)
	}
}

// contract is what a Store does with every agent.
func contract(t *testing.T, url string) {
	const path = "serai/auth/staff"
	f := run(t, url)
	u := &used{}
	f.Follow([]*Secret{f.Secret(path, "users", `auth "staff"`, u.use)})
	select {
	case <-f.Asked():
	case <-time.After(patience):
		t.Fatal("nobody was asked")
	}
	f.problem(`nomad has no variable "serai/auth/staff"`, false)
	f.put(path, "other", "x")
	f.problem(`has no item "users"`, false)
	f.becomes(u)
	f.put(path, "other", "x", "users", "one")
	f.becomes(u, "one")
	f.problem("", true)
	f.put("serai/auth/other", "users", "not mine")
	f.put(path, "users", "bad")
	f.problem(`item "users" of variable "serai/auth/staff" cannot be used: it is bad`, true)
	f.put(path, "users", "two")
	f.becomes(u, "one", "two")
	f.problem("", true)
	f.remove(path)
	f.becomes(u, "one", "two", "none")
	f.problem("nomad has no variable", false)
	f.put(path, "users", "two")
	f.becomes(u, "one", "two", "none", "two")
	f.put(path, "else", "x")
	f.becomes(u, "one", "two", "none", "two", "none")
	f.put(path, "users", "three")
	f.becomes(u, "one", "two", "none", "two", "none", "three")
	f.problem("", true)
}

func TestFollowed(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	contract(t, url)
}

func TestFollowedByARealAgent(t *testing.T) {
	t.Parallel()
	contract(t, nomadtest.Server(t))
}

// TestSilence: whatever Nomad answers but that a variable does not exist, what it said before
// stays, the reason is told in words, and it is followed again when that is over.
func TestSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault nomadsim.Fault
		says  string
	}{
		"forbidden":    {nomadsim.Forbidden(), "the token lacks a capability for this"},
		"token":        {nomadsim.Status(403, "ACL token expired"), "the token is unknown or expired"},
		"unauthorized": {nomadsim.Status(401, "Unauthorized"), "no token was sent"},
		"error":        {nomadsim.Status(500, "oops"), "answered 500"},
		"no leader":    {nomadsim.NoLeader(), "the servers are electing a leader"},
		"a web page":   {nomadsim.Status(404, "<html>"), "no Nomad agent would answer that"},
		"another page": {nomadsim.WebPage(), "bad answer"},
		"redirect":     {nomadsim.Redirect("/"), "the address leads to something that redirects"},
		"another variable": {nomadsim.Body("application/json", 9, `{"Namespace":"default","Path":"x","ModifyIndex":9,"Items":{"users":"stranger"}}`),
			`the answer is variable "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, url, _ := nomadtest.Simulator(t)
			f := run(t, url)
			f.put("a", "users", "one s3cret")
			u := &used{}
			f.Follow([]*Secret{f.Secret("a", "users", "test", u.use)})
			f.becomes(u, "one s3cret")
			var failed atomic.Int64
			remove := sim.Inject(nomad.KindVariable, reads(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				failed.Add(1)
				c.fault(w, r, next)
			}))
			// A query that is under way brings this, or there is none yet, and the next
			// one fails.
			f.put("a", "users", "two s3cret")
			f.problem(c.says, true)
			before := u.seen()
			f.put("a", "users", "three s3cret")
			f.until("another failure", func() bool { return failed.Load() >= 2 })
			if now := u.seen(); !slices.Equal(now, before) {
				t.Errorf("used with %q, before with %q", now, before)
			}
			remove()
			f.until("what it says now", func() bool {
				all := u.seen()
				return all[len(all)-1] == "three s3cret" && !slices.Contains(all, "none")
			})
			f.problem("", true)
			if strings.Contains(f.log.text(), "s3cret") {
				t.Errorf("the log has the secret:\n%s", f.log.text())
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if forbidden := name == "forbidden"; forbidden != (len(f.denied) == 1) {
				t.Errorf("a right that is missing was told %d times", len(f.denied))
			}
		})
	}
}

// TestSilenceAtStart: nobody knows the secret, and that is no reason to wait.
func TestSilenceAtStart(t *testing.T) {
	t.Parallel()
	_, url, stop := nomadtest.Simulator(t)
	stop()
	f := run(t, url)
	u := &used{}
	f.Follow([]*Secret{f.Secret("a", "users", "test", u.use)})
	select {
	case <-f.Asked():
	case <-time.After(patience):
		t.Fatal("waits for an agent that is away")
	}
	f.problem("unreachable", false)
	f.becomes(u)
}

// TestServerThatLags: a server that has not seen the variable yet, or has seen only an older
// one, takes nothing away.
func TestServerThatLags(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]nomadsim.Fault{
		"missing": nomadsim.Status(404, "variable not found"),
		"older":   nomadsim.Body("application/json", 1, `{"Namespace":"default","Path":"a","ModifyIndex":1,"Items":{"users":"old"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, url, _ := nomadtest.Simulator(t)
			f := run(t, url)
			f.put("a", "users", "one")
			u := &used{}
			f.Follow([]*Secret{f.Secret("a", "users", "test", u.use)})
			f.becomes(u, "one")
			lagged := make(chan struct{}, 100)
			sim.Inject(nomad.KindVariable, reads(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if !r.URL.Query().Has("stale") {
					next.ServeHTTP(w, r)
					return
				}
				old(w, r, next)
				select {
				case lagged <- struct{}{}:
				default:
				}
			}))
			f.put("a", "users", "two") // answers the query under way
			f.becomes(u, "one", "two")
			for range 2 {
				select {
				case <-lagged:
				case <-time.After(patience):
					t.Fatal("the server that lags was not asked")
				}
			}
			f.becomes(u, "one", "two")
			f.problem("", true)
		})
	}
}

// TestOthersAreFollowed: another config file needs other secrets, and gets at once what is
// known.
func TestOthersAreFollowed(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	f := run(t, url)
	f.put("a", "x", "ax", "y", "ay")
	f.put("b", "x", "bx")
	var ax, again, ay, bx used
	first := f.Secret("a", "x", "test", ax.use)
	f.Follow([]*Secret{first})
	f.becomes(&ax, "ax")
	// What the next file needs is given to it before it is followed.
	same := f.Secret("a", "x", "test", again.use)
	f.becomes(&again, "ax")
	next := []*Secret{same, f.Secret("a", "y", "test", ay.use), f.Secret("b", "x", "test", bx.use)}
	f.Follow(append([]*Secret{first}, next...))
	f.becomes(&ay, "ay")
	<-f.Asked()
	f.becomes(&bx, "bx")
	f.Follow(next)
	f.put("a", "x", "ax2", "y", "ay")
	f.becomes(&again, "ax", "ax2")
	f.becomes(&ay, "ay")
	f.becomes(&ax, "ax")
	f.Follow(nil)
	if s := f.Status(); s != nil {
		t.Errorf("followed: %v", s)
	}
	f.put("a", "x", "ax3")
	f.Follow([]*Secret{f.Secret("a", "x", "test", bx.use)})
	f.becomes(&bx, "bx", "ax3")
}
