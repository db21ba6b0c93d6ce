package router_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// order is an agreement about a.example.
func order(services ...string) router.Agreement {
	var claimants []router.Claimant
	for _, s := range services {
		claimants = append(claimants, router.Claimant{Key: discovery.Key{Namespace: "default", Name: s}, Job: "job-" + s})
	}
	return router.Agreement{"a.example /": claimants}
}

func (w *world) holds(service string) {
	w.t.Helper()
	if r := w.lookup("a.example"); r == nil || r.Service != service {
		w.t.Fatalf("the host goes to %v, want %s", r, service)
	}
}

// contested returns the claimants of a.example.
func (w *world) contested() string {
	for _, c := range w.builder.Contests() {
		if c.Name == "a.example /" {
			var names []string
			for _, one := range c.Claimants {
				name := one.Name
				if !one.Instances {
					name = "(" + name + ")"
				}
				names = append(names, name)
			}
			return strings.Join(names, " ")
		}
	}
	return ""
}

// TestAgreedOrder: a node that started after the holder's redeploy, and sees the holder
// as younger than the rival, still gives the host to it.
func TestAgreedOrder(t *testing.T) {
	w := newWorld(t)
	w.builder.Agree(order("old", "new"), "")
	w.set("new", "two,"+a)
	w.set("old", "three,"+a)
	w.holds("old")
	if got := w.contested(); got != "old new" {
		t.Errorf("contested by %s", got)
	}
	if x := w.router.Current().Explain(&router.Query{Host: []byte("a.example"), Method: []byte("GET"), Path: []byte("/")}); x.Winner != "default/old/" || x.Candidates[0].Route != "default/old/" {
		t.Errorf("explained as %+v", x)
	}
	// What is agreed may change while the table stands, and back.
	w.builder.Agree(order("new", "old"), "")
	w.holds("new")
	w.builder.Agree(order("old", "new"), "")
	w.holds("old")
	w.set("old", "four,"+a) // compiled again
	w.holds("old")
}

// TestAgreementEnds: when an agreement ends, age decides, and only the age of the
// current instances: the earlier claims have ended for other nodes, though this node
// has only seen a gap.
func TestAgreementEnds(t *testing.T) {
	w := newWorld(t)
	w.builder.Agree(order("old", "new"), "")
	w.set("old", "one,"+a)
	w.set("new", "two,"+a)
	w.set("old")
	w.set("old", "three,"+a)
	w.holds("old")
	w.builder.Agree(nil, "")
	w.holds("new")
	if got := w.contested(); got != "new old" {
		t.Errorf("contested by %s", got)
	}
	w.set("new", "four,"+a)
	w.holds("new") // its age goes on from here
}

// TestStartBetweenTwoInstancesOfTheHolder: a node that starts while the holder
// has no instance does not hand its host to the rival.
func TestStartBetweenTwoInstancesOfTheHolder(t *testing.T) {
	for _, first := range []string{"agreement", "services"} {
		t.Run(first, func(t *testing.T) {
			w := newWorld(t)
			if first == "services" {
				w.set("new", "two,"+a, "two-b,"+a)
			}
			w.builder.Agree(order("older", "old", "new", "never"), "")
			w.set("new", "two,"+a)
			w.holds("older")
			if got := w.contested(); got != "(older) (old) new" {
				t.Errorf("contested by %s", got)
			}
			// The next instance takes over, whatever the name of its route.
			w.set("older", "three,ingress.x.host=a.example")
			w.holds("older")
			if r := w.lookup("a.example"); r.Lingers() || r.Name != "x" {
				t.Errorf("the host goes to %+v", r)
			}
			w.now = w.now.Add(time.Minute)
			w.builder.Expire()
			if got := w.contested(); got != "older new" {
				t.Errorf("contested by %s", got)
			}
			w.set("older", "three,ingress.host=b.example")
			w.holds("new")
		})
	}
}

// TestOthersSawTheEnd: a claim that lingers here goes at once when the record
// says that it is over.
func TestOthersSawTheEnd(t *testing.T) {
	w := newWorld(t)
	w.set("old", "one,"+a)
	w.set("new", "two,"+a)
	w.builder.Agree(order("old", "new"), "")
	w.set("old")
	w.holds("old")
	w.builder.Agree(nil, "")
	w.holds("new")
	if next := w.builder.NextExpiry(); !next.IsZero() {
		t.Errorf("something still expires at %v", next)
	}
	w.set("old", "three,"+a)
	w.holds("new")
}

// TestThreeRivals: without the first the second holds, although the third is older on
// this node.
func TestThreeRivals(t *testing.T) {
	w := newWorld(t)
	w.builder.Agree(order("one", "two", "three"), "")
	w.set("three", "3,"+a)
	w.set("two", "2,"+a)
	w.set("one", "1,"+a)
	w.holds("one")
	w.set("one", "1,ingress.host=b.example")
	w.holds("two")
}

// TestNotRecorded: a rejection mentions a missing record only where other nodes may
// decide differently.
func TestNotRecorded(t *testing.T) {
	w := newWorld(t)
	w.set("old", "one,"+a)
	w.set("new", "two,"+a)
	why := func() string { return w.router.Current().Rejections()[0].Why }
	if strings.Contains(why(), "recorded") {
		t.Errorf("without anything wrong it says %q", why())
	}
	w.builder.Agree(nil, "no right")
	if !strings.Contains(why(), "not recorded (no right)") {
		t.Errorf("it says %q", why())
	}
	w.builder.Agree(order("old", "new"), "no right")
	if strings.Contains(why(), "not recorded") {
		t.Errorf("what is recorded says %q", why())
	}
}

// TestWhatIsContested: only claims that two services from Nomad could both take.
func TestWhatIsContested(t *testing.T) {
	for _, tc := range []struct{ one, two, want string }{
		{a, a, "a.example /: one two"},
		{a, a + ",ingress.path=/x", ""},
		{a, a + ",ingress.header=X: 1", ""},
		{a, a + ",ingress.priority=1", ""},
		{a + ",ingress.priority=-1", a + ",ingress.priority=-1", "a.example / priority -1: one two"},
		{a + ",ingress.path-exact=/x", a + ",ingress.path-exact=/x", "a.example =/x: one two"},
		{a + ",ingress.header=X: 1", a + ",ingress.header=Y: 1", "a.example / conditions 1: one two"},
		{a + ",ingress.method=GET", a + ",ingress.method=POST", ""},
		{a + ",ingress.method=GET", a + ",ingress.header=Y: 1", "a.example / conditions 1: one two"},
		{"ingress.host=*", "ingress.host=*", "* /: one two"},
		{a + ",ingress.b.host=a.example", "ingress.host=c.example", ""},
	} {
		w := newWorld(t)
		w.set("one", "1,"+tc.one)
		w.set("two", "2,"+tc.two)
		got := ""
		for _, c := range w.builder.Contests() {
			got += c.Name + ":"
			for _, one := range c.Claimants {
				got += " " + one.Name
			}
		}
		if got != tc.want {
			t.Errorf("%s and %s: %q, want %q", tc.one, tc.two, got, tc.want)
		}
	}
}

// TestRenamedRoute: a route of the same service that replaces it keeps its room and
// age, at once.
func TestRenamedRoute(t *testing.T) {
	w := newWorld(t)
	w.set("web", "one,ingress.x.host=a.example")
	before := w.lookup("a.example")
	w.set("rival", "r,"+a)
	w.set("web")
	w.set("web", "two,ingress.y.host=a.example")
	after := w.lookup("a.example")
	if after.Name != "y" || after.Lingers() || after.Pool.Room() != before.Pool.Room() || after.CreateIndex != before.CreateIndex {
		t.Errorf("the host goes to %+v, before it went to %+v", after, before)
	}
}

// TestAbsentJob: Nomad is asked about the holder's claim once somebody waits for it,
// and a claim that its job no longer wants ends at once.
func TestAbsentJob(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := netip.MustParseAddrPort(l.Addr().String())
	for _, tc := range []struct {
		name   string
		offers [][]string // the last one of each is the service's name
		ends   bool
	}{
		{"purged", nil, true},
		{"goes on", [][]string{{"ingress.host=a.example", "old"}}, false},
		{"goes on under another route name", [][]string{{"ingress.x.host=a.example", "old"}}, false},
		{"comes as a canary", [][]string{{"old"}, {"ingress.host=b.example,a.example", "old"}}, false},
		{"has another host now", [][]string{{"ingress.host=b.example", "old"}}, true},
		{"has another path now", [][]string{{"ingress.host=a.example", "ingress.path=/x", "old"}}, true},
		{"has a host that is filled in", [][]string{{"ingress.host=${meta.host}", "old"}}, false},
		{"has another class now", [][]string{{"ingress.host=a.example", "ingress.class=x", "old"}}, true},
		{"has it under another name that is to come", [][]string{{"ingress.host=a.example", "newer"}}, false},
		{"has a name that is filled in", [][]string{{"ingress.host=a.example", "${NOMAD_META_name}"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { w.registry.Run(ctx); close(ended) }()
			defer func() { cancel(); <-ended }()
			var offers []router.Offer
			for _, o := range tc.offers {
				offers = append(offers, router.Offer{Service: o[len(o)-1], Tags: o[:len(o)-1]})
			}
			w.job("old", "job-old", netip.AddrPort{})
			w.set("old")
			if got := w.builder.Absences(9); len(got) != 0 {
				t.Fatalf("nobody waits, and it asks %+v", got)
			}
			w.job("new", "job-new", address)
			for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
				got := w.builder.Absences(9)
				if len(got) == 1 && got[0].Name == "old" && got[0].Job == "job-old" {
					break
				}
				if len(got) > 0 || time.Now().After(end) {
					t.Fatalf("it asks %+v", got)
				}
			}
			if got := w.builder.Absences(9); len(got) != 0 {
				t.Errorf("it asks again at once: %+v", got)
			}
			w.now = w.now.Add(router.AskAgain)
			if got := w.builder.Absences(9); len(got) != 1 {
				t.Errorf("later it asks %+v", got)
			}
			w.holds("old")
			w.builder.Withdraw(router.Absence{Key: discovery.Key{Namespace: "default", Name: "old"}, Job: "another"}, nil)
			w.holds("old")
			w.builder.Withdraw(router.Absence{Key: discovery.Key{Namespace: "default", Name: "old"}, Job: "job-old"}, offers)
			if tc.ends {
				w.holds("new")
			} else {
				w.holds("old")
			}
		})
	}
}

// job makes the one instance of a service that claims a.example.
func (w *world) job(service, job string, at netip.AddrPort) {
	w.index++
	key := discovery.Key{Namespace: "default", Name: service}
	i := &discovery.Instance{ID: fmt.Sprint(service, w.index), Service: service, Namespace: "default", Job: job, Tags: []string{a},
		Address: "10.0.0.1", Port: 1, Created: w.index, Modified: w.index}
	if at.IsValid() {
		i.Address, i.Port = at.Addr().String(), int(at.Port())
	}
	w.known[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{i}}
	w.builder.Update(&discovery.Snapshot{Services: w.known, Index: w.index})
}

// TestWaitersOfAnEndedRoute: they are released at once, and so are later ones.
func TestWaitersOfAnEndedRoute(t *testing.T) {
	w := newWorld(t)
	w.job("old", "job-old", netip.AddrPort{})
	w.set("old")
	room := w.lookup("a.example").Pool.Room()
	got := make(chan error, 1)
	go func() {
		_, err := room.Wait(time.Hour, upstream.WaitingRequest{Tried: &upstream.Tried{}})
		got <- err
	}()
	for room.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	absent := w.builder.Absences(9)
	if len(absent) != 1 {
		t.Fatalf("a request waits, and it asks %+v", absent)
	}
	w.builder.Withdraw(absent[0], nil)
	if err := <-got; !errors.Is(err, upstream.ErrRoomEnded) {
		t.Errorf("it was let go with %v", err)
	}
	if _, err := room.Wait(time.Hour, upstream.WaitingRequest{Tried: &upstream.Tried{}}); !errors.Is(err, upstream.ErrRoomEnded) {
		t.Errorf("one that came late was let go with %v", err)
	}
	if r := w.lookup("a.example"); r != nil {
		t.Errorf("the host still goes to %+v", r)
	}
}

// TestNewNameAfterAGap: the old name holds the claim until the new name of the same job
// is ready, although a rival is ready; and the new name gets the old place.
func TestNewNameAfterAGap(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := netip.MustParseAddrPort(l.Addr().String())
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.registry.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	w.builder.Agree(order("old", "rival"), "")
	w.job("old", "job-old", netip.AddrPort{})
	w.job("rival", "job-rival", address)
	w.set("old")
	until := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
	var absent []router.Absence
	until("a question", func() bool { absent = w.builder.Absences(9); return len(absent) > 0 })
	w.builder.Withdraw(absent[0], []router.Offer{{Service: "name", Tags: []string{a}}})
	w.holds("old")
	w.job("name", "job-old", address)
	until("the new name", func() bool { w.builder.Absences(9); return w.lookup("a.example").Service == "name" })
	if got := w.contested(); got != "name rival" {
		t.Errorf("contested by %s", got)
	}
}

// TestAgreementBeforeServices: as long as no services are known, there is no table
// without services.
func TestAgreementBeforeServices(t *testing.T) {
	w := newWorld(t)
	w.builder.Agree(order("old", "new"), "nomad is away")
	if built := w.router.Current().Built; !built.IsZero() {
		t.Errorf("a table was built at %v", built)
	}
	w.set("third", "3,"+a)
	w.set("fourth", "4,"+a)
	if why := w.router.Current().Rejections()[0].Why; !strings.Contains(why, "not recorded (nomad is away)") {
		t.Errorf("it says %q", why)
	}
}
