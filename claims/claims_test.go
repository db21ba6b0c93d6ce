package claims

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
	"serai/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long bounds every wait; nothing takes nearly as long.
const long = time.Minute

// restore makes the agent go back to a state until holds. A state that is restored at
// the moment between two blocking queries is noticed when the next one ends, which
// takes a minute: here it is restored again.
func restore(t *testing.T, sim *nomadsim.Sim, state *nomadsim.State, what string, holds func() bool) {
	t.Helper()
	var last time.Time
	until(t, what, func() bool {
		if time.Since(last) > 200*time.Millisecond {
			last = time.Now()
			sim.Restore(state, false)
		}
		return holds()
	})
}

const path = "serai/claims/test"

// claimants are NAMESPACE/SERVICE/JOB, in brackets when they only linger.
func claimants(words ...string) (all []router.Claimant) {
	for _, word := range words {
		inner := strings.Trim(word, "()")
		c, _ := decodeClaimant(inner)
		c.Instances = inner == word
		all = append(all, c)
	}
	return all
}

func contest(name string, words ...string) router.Contest {
	return router.Contest{Name: name, Claimants: claimants(words...)}
}

func order(of map[string]string) Record { return decode(of, 7) }

// step is what a node sees at some second, and the record that it would write.
type step struct {
	at       int
	see      []string // in the form "h /"; nil when nothing is left of it
	partial  bool
	want     string
	unseen   bool // the view has no such contest yet
	recorded string
}

// newWork is the state of a Keeper that does not run.
func newWork(t *testing.T, change func(*Options)) *work {
	t.Helper()
	o := Options{Client: &nomad.Client{}, Path: path}
	if change != nil {
		change(&o)
	}
	k, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &work{Keeper: k, sightings: make(map[claimantIn]sighting), lost: make(router.Agreement), ended: make(map[string]uint64)}
}

// tooLong is a name that no record has.
var tooLong = strings.Repeat("x", maxClaimant)

// TestPlan goes through the possible changes of a contest in the record.
func TestPlan(t *testing.T) {
	for name, steps := range map[string][]step{
		"a new contest":               {{see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"}},
		"a holder that lingers":       {{see: []string{"(a/s/j)", "b/s/j"}, want: "a/s/j b/s/j"}},
		"nobody is there":             {{see: []string{"(a/s/j)", "(b/s/j)"}, want: ""}},
		"only one claims it":          {{see: []string{"a/s/j"}, want: ""}},
		"another joins":               {{recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j", "c/s/j"}, want: "a/s/j b/s/j c/s/j"}},
		"one that lingers joins not":  {{recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j", "(c/s/j)"}, want: "a/s/j b/s/j"}},
		"a new name of the first job": {{recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j", "a/x/j"}, want: "a/s/j a/x/j b/s/j"}},
		"a new name, another job":     {{recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j", "a/x/k"}, want: "a/s/j b/s/j a/x/k"}},
		"a new name, seen too late": {{at: 0, recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"},
			{at: 1, recorded: "a/s/j b/s/j", see: []string{"a/x/j", "b/s/j"}, want: "a/s/j a/x/j b/s/j"},
			{at: 3, recorded: "a/s/j b/s/j", see: []string{"a/x/j", "b/s/j"}, want: "a/x/j b/s/j"}},
		"another order than here": {{recorded: "b/s/j a/s/j", see: []string{"a/s/j", "b/s/j"}, want: "b/s/j a/s/j"}},
		"its view is behind":      {{recorded: "a/s/j b/s/j", unseen: true, want: "a/s/j b/s/j"}},
		"one ends": {
			{at: 0, recorded: "a/s/j b/s/j c/s/j", see: []string{"a/s/j", "b/s/j", "c/s/j"}, want: "a/s/j b/s/j c/s/j"},
			{at: 1, recorded: "a/s/j b/s/j c/s/j", see: []string{"b/s/j", "c/s/j"}, want: "a/s/j b/s/j c/s/j"},
			{at: 3, recorded: "a/s/j b/s/j c/s/j", see: []string{"b/s/j", "c/s/j"}, want: "b/s/j c/s/j"},
		},
		"the contest ends": {
			{at: 0, recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"},
			{at: 1, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: "a/s/j b/s/j"},
			{at: 3, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: ""},
		},
		"both end": {
			{at: 0, recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"},
			{at: 1, recorded: "a/s/j b/s/j", want: "a/s/j b/s/j"},
			{at: 3, recorded: "a/s/j b/s/j", want: ""},
		},
		"one comes back in time": {
			{at: 0, recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"},
			{at: 1, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: "a/s/j b/s/j"},
			{at: 2, recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"},
			{at: 9, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: "a/s/j b/s/j"},
		},
		"one was never seen": { // a node that starts does not know how long it is gone
			{at: 0, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: "a/s/j b/s/j"},
			{at: 59, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: "a/s/j b/s/j"},
			{at: 60, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, want: ""},
		},
		"the view is incomplete": {
			{at: 0, recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j"}, want: "a/s/j b/s/j"},
			{at: 10, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, partial: true, want: "a/s/j b/s/j"},
			{at: 100, recorded: "a/s/j b/s/j", see: []string{"b/s/j"}, partial: true, want: "a/s/j b/s/j"},
		},
		"a namespace that is not watched": {
			{at: 0, recorded: "elsewhere/s/j b/s/j", see: []string{"b/s/j"}, want: "elsewhere/s/j b/s/j"},
			{at: 100, recorded: "elsewhere/s/j b/s/j", see: []string{"b/s/j"}, want: "elsewhere/s/j b/s/j"},
		},
		"nine claim it": {{see: []string{"a/1/j", "a/2/j", "a/3/j", "a/4/j", "a/5/j", "a/6/j", "a/7/j", "a/8/j"}, want: "a/1/j a/2/j a/3/j a/4/j a/5/j a/6/j a/7/j a/8/j"},
			{recorded: "a/1/j a/2/j a/3/j a/4/j a/5/j a/6/j a/7/j a/8/j", see: []string{"a/1/j", "a/2/j", "a/3/j", "a/4/j", "a/5/j", "a/6/j", "a/7/j", "a/8/j", "a/9/j"},
				want: "a/1/j a/2/j a/3/j a/4/j a/5/j a/6/j a/7/j a/8/j"}},
		"a name of Consul":         {{see: []string{"a/team%2Fweb%3Fx%20y", "b/s/j"}, want: "a/team%2Fweb%3Fx%20y b/s/j"}},
		"such a name joins":        {{recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j", "a/team%2Fweb%0A"}, want: "a/s/j b/s/j a/team%2Fweb%0A"}},
		"a job with a blank":       {{see: []string{"a/s/j\u00a0c/s", "b/s/j"}, want: "a/s b/s/j"}},
		"too long a name":          {{see: []string{"a/s/j", "b/s/j", "c/" + tooLong}, want: "a/s/j b/s/j"}},
		"too long a name joins":    {{recorded: "a/s/j b/s/j", see: []string{"a/s/j", "b/s/j", "c/" + tooLong, "d/s/j"}, want: "a/s/j b/s/j"}},
		"too long a name holds it": {{see: []string{"a/" + tooLong, "b/s/j", "c/s/j"}, want: ""}},
		"what a file names oddly":  {{see: []string{"a/s?x y/j", "b/s/j"}, want: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWork(t, func(o *Options) { o.Watched = func(ns string) bool { return ns != "elsewhere" } })
			begin := time.Now()
			for _, s := range steps {
				r := decode(nil, 0)
				if s.recorded != "" {
					r = order(map[string]string{"h /": s.recorded})
				}
				v := View{Complete: !s.partial, Contests: []router.Contest{contest("h /", s.see...)}}
				if name == "what a file names oddly" {
					v.Contests[0].Claimants[0].Name = "odd name"
				}
				if s.unseen {
					v.Contests = nil
				}
				next, changed, _ := w.plan(r, v, begin.Add(time.Duration(s.at)*time.Second))
				if got := next.items()["h /"]; got != s.want || changed != (got != s.recorded) {
					t.Fatalf("at %ds the record should be %q, changed %v; want %q", s.at, got, changed, s.want)
				}
			}
		})
	}
}

// TestGreedyTenant: a tenant that claims thousands of hosts that others hold leaves
// room for the contests of others.
func TestGreedyTenant(t *testing.T) {
	w := newWork(t, nil)
	var v View
	for i := range 5000 {
		v.Contests = append(v.Contests, contest(fmt.Sprintf("h%04d.example.org /", i), "victim/shop/shop", "greedy/shop/shop"))
	}
	v.Contests = append(v.Contests, contest("z.example.org /", "team-a/shop/shop", "team-b/shop/shop"))
	next, _, _ := w.plan(decode(nil, 0), v, time.Now())
	if next.order["z.example.org /"] == nil {
		t.Error("the contest of others is not recorded")
	}
	size := 0
	for name, text := range next.items() {
		size += len(name) + len(text)
	}
	t.Logf("%d contests of 5,001 are recorded, in %d bytes", len(next.order), size)
	if size > maxItems || next.leftOut+len(next.order) != 5001 {
		t.Errorf("%d bytes, %d contests recorded, %d left out", size, len(next.order), next.leftOut)
	}
	again, changed, _ := w.plan(next, v, time.Now())
	if changed || !again.equal(next) {
		t.Error("the plan is another one once it is written")
	}
}

// TestEndlessContest: of a contest in which somebody has written many thousand claimants, only
// the first are read.
func TestEndlessContest(t *testing.T) {
	var text strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&text, "a/%d ", i)
	}
	if got := order(map[string]string{"h /": text.String()}).order["h /"]; len(got) != maxRead || got[maxRead-1].Name != fmt.Sprint(maxRead-1) {
		t.Errorf("%d claimants are read, want %d", len(got), maxRead)
	}
}

// TestRecordIsForeign: whatever is in the variable can be decoded, and a record that
// was written is read back unchanged.
func TestRecordIsForeign(t *testing.T) {
	r := decode(map[string]string{
		"a.example /x": "team-a/web?0a1b/job/with/slashes team-b/web/j team-a/web?0a1b/other", "nonsense": "a/b", " /": "a/b",
		"b.example /": "", "c.example /": "/ // a b/ /c ???", "d.example /": "a/b",
	}, 3)
	if len(r.order) != 2 || len(r.order["a.example /x"]) != 2 || r.order["a.example /x"][0].Conditions != "0a1b" || r.order["a.example /x"][0].Job != "job/with/slashes" {
		t.Errorf("read %+v", r.order)
	}
	if again := decode(r.items(), 3); !again.equal(r) {
		t.Errorf("written and read again it is %v, not %v", again.items(), r.items())
	}
}

// node runs a Keeper until the test ends.
type node struct {
	*Keeper
	stop func()
	mu   sync.Mutex
	last Agreed
	log  strings.Builder
}

func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

func (n *node) agreed() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, _ := encodeClaimants(n.last.Order["h /"])
	return text
}

func newNode(t *testing.T, url string, change func(*Options)) *node {
	t.Helper()
	n := &node{}
	client, err := nomad.NewClient(nomad.Options{Address: url, Token: "s"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Client: client, Path: path, Spread: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(n, nil))}
	if change != nil {
		change(&o)
	}
	if n.Keeper, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() {
		for {
			select {
			case a := <-n.Agreed():
				n.mu.Lock()
				n.last = a
				n.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		client.CloseIdleConnections()
	})
	t.Cleanup(n.stop)
	select {
	case <-n.Known():
	case <-time.After(long):
		t.Fatal("the record is never known")
	}
	return n
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// many is the number of nodes that see the same contest at the same time.
// docs/reliability.md has what a thousand do.
const many = 100

// TestNodesAgree: although each sees the contest in its own order, the first that
// writes decides, and the others follow.
func TestNodesAgree(t *testing.T) {
	sim, url, _ := nomadtest.Simulator(t)
	var nodes []*node
	for range many {
		nodes = append(nodes, newNode(t, url, func(o *Options) { o.Spread = time.Second }))
	}
	if reads := sim.Counts().Requests[nomad.KindVariable]; reads > 2*len(nodes) {
		t.Errorf("%d nodes made %d requests to start: want a read and a wait each", len(nodes), reads)
	}
	for i, n := range nodes {
		c := contest("h /", "a/s/j", "b/s/j")
		if i%2 == 1 {
			c = contest("h /", "b/s/j", "a/s/j")
		}
		n.See(View{Contests: []router.Contest{c}, Complete: true})
	}
	until(t, "an agreement", func() bool {
		for _, n := range nodes {
			if n.agreed() == "" || n.agreed() != nodes[0].agreed() {
				return false
			}
		}
		return true
	})
	var tried, lost uint64
	for _, n := range nodes {
		s := n.Status()
		tried, lost = tried+s.Writes, lost+s.Conflicts
	}
	t.Logf("%d nodes, all saw it at once: %d writes were tried, %d came too late", len(nodes), tried, lost)
	if tried-lost != 1 {
		t.Errorf("%d writes were tried and %d taken, want 1", tried, tried-lost)
	}

	// The contest is over: one of them removes it.
	for _, n := range nodes {
		n.See(View{Contests: []router.Contest{contest("h /", "a/s/j", "b/s/j")}, Complete: true})
	}
	time.Sleep(10 * time.Millisecond)
	for _, n := range nodes {
		n.See(View{Contests: []router.Contest{contest("h /", "b/s/j")}, Complete: true})
	}
	until(t, "the end", func() bool { return sim.Variables()["default/"+path]["h /"] == "" && nodes[0].agreed() == "" })
}

// TestRestoredRecord: a record that goes back is accepted when Nomad's leader confirms
// it.
func TestRestoredRecord(t *testing.T) {
	sim, url, _ := nomadtest.Simulator(t)
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	put := func(order string) {
		v := nomad.Variable{VariableMeta: nomad.VariableMeta{Path: path}, Items: map[string]string{"h /": order}}
		if _, err := client.PutVariable(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	put("a/s/j b/s/j")
	saved := sim.Save()
	n := newNode(t, url, nil)
	until(t, "the first order", func() bool { return n.agreed() == "a/s/j b/s/j" })
	for range 2 {
		put("b/s/j a/s/j") // written by an operator, for instance
		until(t, "the new order", func() bool { return n.agreed() == "b/s/j a/s/j" })
		restore(t, sim, saved, "the first order again", func() bool { return n.agreed() == "a/s/j b/s/j" })
	}
}

// TestNoRight reports once, goes on with what is known, and works within seconds of the
// permission.
func TestNoRight(t *testing.T) {
	sim, url, _ := nomadtest.Simulator(t)
	sim.SetACL(true)
	token := nomadsim.Token{Secret: "s", Rules: []nomadsim.Rule{{Namespace: "default", Variables: map[string][]string{"serai/*": {"read"}}}}}
	sim.PutToken(token)
	var mu sync.Mutex
	refused := 0
	n := newNode(t, url, func(o *Options) {
		o.Refused = func(error) { mu.Lock(); refused++; mu.Unlock() }
	})
	n.See(View{Contests: []router.Contest{{Name: "h /", Claimants: claimants("a/s/j", "b/s/j")}}, Complete: true})
	until(t, "the trouble", func() bool { return n.Status().Trouble != "" })
	until(t, "another try", func() bool { return n.Status().Writes > 1 })
	if mu.Lock(); refused != 1 {
		t.Errorf("the refusal was told %d times", refused)
	}
	mu.Unlock()
	token.Rules[0].Variables = map[string][]string{"serai/*": {"read", "write", "destroy"}}
	sim.PutToken(token)
	until(t, "the record", func() bool { return n.agreed() == "a/s/j b/s/j" && n.Status().Trouble == "" })
	n.stop()
	if said := strings.Count(n.log.String(), "are not recorded"); said != 1 {
		t.Errorf("it was logged %d times:\n%s", said, n.log.String())
	}
}

// TestWritesAreBounded: a contest that starts and ends all the time costs a few writes,
// and then one in half a minute.
func TestWritesAreBounded(t *testing.T) {
	_, url, _ := nomadtest.Simulator(t)
	n := newNode(t, url, func(o *Options) { o.Spread = time.Millisecond })
	for i := range 200 {
		words := []string{"a/s/j", "b/s/j"}
		for x := range i % 3 {
			words = append(words, fmt.Sprintf("c/s%d-%d/j", i, x))
		}
		n.See(View{Contests: []router.Contest{contest("h /", words...), contest(fmt.Sprintf("h%d /", i), "a/s/j", "b/s/j")}, Complete: true})
		time.Sleep(10 * time.Millisecond)
	}
	if s := n.Status(); s.Writes > burst || s.Writes == 0 {
		t.Errorf("%d writes", s.Writes)
	}
}

// TestKeptRecord: the saved record is used while Nomad is away, and never overwrites
// Nomad's.
func TestKeptRecord(t *testing.T) {
	dir := t.TempDir()
	sim, url, away := nomadtest.Simulator(t)
	n := newNode(t, url, func(o *Options) { o.StateDir = dir })
	n.See(View{Contests: []router.Contest{contest("h /", "a/s/j", "b/s/j")}, Complete: true})
	until(t, "the record", func() bool { return n.agreed() == "a/s/j b/s/j" })
	n.stop()
	if len(sim.Variables()) != 1 {
		t.Fatalf("there are %d variables", len(sim.Variables()))
	}
	away()
	n = newNode(t, url, func(o *Options) { o.StateDir = dir })
	until(t, "what was kept", func() bool { return n.agreed() == "a/s/j b/s/j" && n.Status().Trouble == "nomad is away" })
	n.stop()
	for _, damage := range []string{"", "{", "[]", "null", strings.Repeat("x", maxFile+1)} {
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		n = newNode(t, url, func(o *Options) { o.StateDir = dir })
		until(t, "the trouble", func() bool { return n.Status().Trouble == "nomad is away" })
		if got := n.agreed(); got != "" {
			t.Errorf("a damaged file says %q", got)
		}
		n.stop()
	}
}

// TestOffers: the services that a job's instances would register.
func TestOffers(t *testing.T) {
	sim, url, away := nomadtest.Simulator(t)
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	jobs := Jobs{Client: client}
	a := router.Absence{Key: discovery.Key{Namespace: "default", Name: "web"}, Job: "shop"}
	ask := func() string {
		offers, known := jobs.Offers(t.Context(), a)
		return fmt.Sprint(offers, known)
	}
	services := func(all ...nomad.JobService) nomadsim.Job {
		return nomadsim.Job{ID: "shop", Groups: []nomadsim.Group{{Count: 1, Services: all[:1], Tasks: []nomadsim.JobTask{{Services: all[1:]}}}}}
	}
	both := services(nomad.JobService{Name: "api", Tags: []string{"x"}}, nomad.JobService{Name: "web", Tags: []string{"t"}, CanaryTags: []string{"c"}})
	for _, tc := range []struct {
		name string
		job  nomadsim.Job
		want string
	}{
		{"a service of a task", both, "[{api [x]} {api []} {web [t]} {web [c]}] true"},
		{"a batch job that is done", nomadsim.Job{ID: "shop", Type: "batch", Status: "dead", Groups: both.Groups}, "[] true"},
		{"a service job that is dead for a moment", nomadsim.Job{ID: "shop", Status: "dead", Groups: both.Groups}, "[{api [x]} {api []} {web [t]} {web [c]}] true"},
	} {
		sim.PutJob(tc.job)
		if got := ask(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	sim.PurgeJob("default", "shop")
	if got := ask(); got != "[] true" {
		t.Errorf("purged: %s", got)
	}
	sim.SetLeader(false)
	if got := ask(); got != "[] false" {
		t.Errorf("without a leader: %s", got)
	}
	sim.SetLeader(true)
	sim.SetACL(true)
	if got := ask(); got != "[] false" {
		t.Errorf("without the right: %s", got)
	}
	away()
	if got := ask(); got != "[] false" {
		t.Errorf("without Nomad: %s", got)
	}
}

// TestLostRecord: nodes that knew it write it again, although one that has just started
// sees another order.
func TestLostRecord(t *testing.T) {
	sim, url, _ := nomadtest.Simulator(t)
	slow := func(o *Options) { o.Spread = time.Second }
	empty := sim.Save()
	old := newNode(t, url, slow)
	old.See(View{Contests: []router.Contest{contest("h /", "a/s/j", "b/s/j")}, Complete: true})
	until(t, "the record", func() bool { return old.agreed() == "a/s/j b/s/j" })
	restore(t, sim, empty, "the loss", func() bool { return old.Status().Recorded == 0 })
	young := newNode(t, url, slow)
	young.See(View{Contests: []router.Contest{contest("h /", "b/s/j", "a/s/j")}, Complete: true})
	until(t, "the record again", func() bool { return young.agreed() != "" && old.agreed() == young.agreed() })
	if young.agreed() != "a/s/j b/s/j" {
		t.Errorf("it is %s now", young.agreed())
	}
}
