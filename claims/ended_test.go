package claims

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
	"serai/router"
	"serai/upstream"
)

// gate holds back Nomad's answers to some nodes that read the record.
type gate struct {
	mu   sync.Mutex
	held map[string]chan struct{} // by the node's token
}

func newGate(sim *nomadsim.Sim) *gate {
	g := &gate{held: make(map[string]chan struct{})}
	sim.Inject(nomad.KindVariable, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		g.mu.Lock()
		held := g.held[r.Header.Get("X-Nomad-Token")]
		g.mu.Unlock()
		if held != nil {
			select {
			case <-held:
			case <-r.Context().Done():
				return
			}
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
	return g
}

func (g *gate) hold(names ...string) (release func()) {
	closed := make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		g.held[name] = closed
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		clear(g.held)
		close(closed)
	}
}

// peer is a node with a routing table, like serai.
type peer struct {
	t      *testing.T
	name   string
	router *router.Router
	tells  chan *discovery.Snapshot
	known  map[discovery.Key]*discovery.Service
	keeper *Keeper
}

func newPeer(t *testing.T, url, name string) *peer {
	t.Helper()
	client, err := nomad.NewClient(nomad.Options{Address: url, Token: name})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, name: name, router: router.NewRouter(), tells: make(chan *discovery.Snapshot), known: make(map[discovery.Key]*discovery.Service)}
	b, err := router.NewBuilder(p.router, router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	if p.keeper, err = New(Options{Client: client, Path: path, Spread: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.keeper.Run(ctx) })
	running.Go(func() {
		defer b.Close()
		var number uint64
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-p.tells:
				b.Update(s)
			case a := <-p.keeper.Agreed():
				b.Agree(a.Order, a.Trouble)
				number = a.Number
			}
			p.keeper.See(View{Contests: b.Contests(), Complete: true, Agreed: number})
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		client.CloseIdleConnections()
	})
	return p
}

// host is the contested host, and name its contest.
const (
	host      = "h.example"
	contested = host + " host"
)

// set sets the one instance of a team's service, registered at an index: it claims the
// host, or no longer claims anything. At index 0 there is none.
func (p *peer) set(team string, index uint64, claims bool) {
	key := discovery.Key{Namespace: team, Name: "s"}
	delete(p.known, key)
	if index > 0 {
		i := &discovery.Instance{ID: team, Service: "s", Namespace: team, Job: "j", Address: "10.0.0.1", Port: 1, Created: index, Modified: index}
		if claims {
			i.Tags = []string{"ingress.host=" + host}
		}
		p.known[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{i}}
	}
	p.tells <- &discovery.Snapshot{Services: maps.Clone(p.known), Index: index}
}

// holder is the holder of the host on this node.
func (p *peer) holder() string {
	r, _ := p.router.Current().Lookup(&router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte("/")})
	if r == nil {
		return "nobody"
	}
	return r.Namespace
}

func (p *peer) gives(team string) {
	p.t.Helper()
	until(p.t, p.name+" to give the host to "+team, func() bool { return p.holder() == team })
}

// written is what the record says about the host.
func written(sim *nomadsim.Sim) string { return sim.Variables()["default/"+path][contested] }

// TestEndedContestIsNotALostOne: a claimant that comes back after its end was recorded
// comes last on every node, even on those that read of the end after its return.
func TestEndedContestIsNotALostOne(t *testing.T) {
	for name, ends := range map[string]func(one, two, three *peer){
		"all have seen the end": func(one, two, three *peer) {
			for _, p := range []*peer{one, two, three} {
				p.set("a", 1, false)
				p.gives("b")
			}
		},
		"one has seen it": func(one, two, three *peer) {
			one.set("a", 1, false)
			one.gives("b")
			two.set("a", 0, false) // it lingers, and has its old age when it comes back
			three.set("a", 0, false)
		},
		"the second has ended, too": func(one, two, three *peer) {
			one.set("a", 1, false)
			one.set("b", 2, false)
			one.gives("nobody")
			for _, p := range []*peer{two, three} {
				p.set("a", 0, false)
				p.set("b", 0, false)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim, url, _ := nomadtest.Simulator(t)
			g := newGate(sim)
			var peers []*peer
			for _, name := range []string{"one", "two", "three"} {
				peers = append(peers, newPeer(t, url, name))
			}
			all := func(do func(p *peer)) {
				for _, p := range peers {
					do(p)
				}
			}
			all(func(p *peer) { p.set("a", 1, true); p.set("b", 2, true) })
			all(func(p *peer) {
				until(t, "the record on "+p.name, func() bool { return p.keeper.Status().Recorded == 1 })
				p.gives("a")
			})
			release := g.hold("two", "three")
			ends(peers[0], peers[1], peers[2])
			until(t, "the end", func() bool { return written(sim) == "" })
			if len(sim.Variables()) == 0 {
				t.Error("the end is not written: the variable is gone")
			}
			all(func(p *peer) { p.set("b", 3, true); p.set("a", 4, true) })
			peers[0].gives("b")
			for _, p := range peers[1:] { // they obey what they have read
				p.gives("a")
			}
			release()
			until(t, "the new order", func() bool { return written(sim) == "b/* a/*" })
			all(func(p *peer) {
				until(t, "the record on "+p.name, func() bool { return p.keeper.Status().Recorded == 1 && p.holder() == "b" })
			})
		})
	}
}

// TestContestThatNobodyEnded keeps its order, although the variable is removed, or
// written without it.
func TestContestThatNobodyEnded(t *testing.T) {
	for name, lose := range map[string]func(client *nomad.Client) error{
		"removed": func(client *nomad.Client) error {
			return client.DeleteVariable(t.Context(), "", path)
		},
		"written without it": func(client *nomad.Client) error {
			v := nomad.Variable{VariableMeta: nomad.VariableMeta{Path: path}, Items: map[string]string{"other.example /": "a/s/j b/s/j"}}
			_, err := client.PutVariable(t.Context(), v)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim, url, _ := nomadtest.Simulator(t)
			operator, err := nomad.NewClient(nomad.Options{Address: url})
			if err != nil {
				t.Fatal(err)
			}
			defer operator.CloseIdleConnections()
			put := nomad.Variable{VariableMeta: nomad.VariableMeta{Path: path}, Items: map[string]string{contested: "b/* a/*"}}
			if _, err := operator.PutVariable(t.Context(), put); err != nil {
				t.Fatal(err)
			}
			p := newPeer(t, url, "one")
			p.set("a", 1, true)
			p.set("b", 2, true) // younger, and first in the record
			p.gives("b")
			until(t, "the record", func() bool { return p.keeper.Status().Recorded == 1 })
			if err := lose(operator); err != nil {
				t.Fatal(err)
			}
			until(t, "the order again", func() bool { return written(sim) == "b/* a/*" })
			if got := p.holder(); got != "b" {
				t.Errorf("the host goes to %s", got)
			}
		})
	}
}

// TestViewOfAnEndedOrder: when the end is read, the order that a table still has is not
// mistaken for a new one.
func TestViewOfAnEndedOrder(t *testing.T) {
	w := newWork(t, nil)
	w.take(order(map[string]string{"h /": "a/s/j b/s/j"}))
	w.tell()
	w.take(decode(map[string]string{endedItem: "h /"}, 8))
	w.tell()
	w.view = View{Complete: true, Agreed: w.number - 1, Contests: []router.Contest{contest("h /", "a/s/j", "b/s/j")}}
	w.settle()
	if next, changed, _ := w.plan(w.record, w.view, time.Now()); changed {
		t.Errorf("an order that has ended is written again: %v", next.items())
	}
	w.view = View{Complete: true, Agreed: w.number, Contests: []router.Contest{contest("h /", "b/s/j", "a/s/j")}}
	w.settle()
	if next, _, _ := w.plan(w.record, w.view, time.Now()); next.items()["h /"] != "b/s/j a/s/j" {
		t.Errorf("the new order is not written: %v", next.items())
	}
	// A restored record that names it among the ended ones is older.
	w.take(order(map[string]string{"h /": "b/s/j a/s/j"}))
	w.tell()
	w.take(decode(map[string]string{endedItem: "h /"}, 3))
	if next, _, _ := w.plan(w.record, w.view, time.Now()); next.items()["h /"] != "b/s/j a/s/j" || len(w.lost) != 1 {
		t.Errorf("a contest that was lost is not written again: %v", next.items())
	}
}

// TestEndedNames are kept as long as there is room, and until they are contested again.
func TestEndedNames(t *testing.T) {
	w := newWork(t, nil)
	r := order(map[string]string{"h /": "a/s/j b/s/j", "i /": "a/s/j b/s/j", "ended": "x /\ny /\nnonsense"})
	see := View{Complete: true, Contests: []router.Contest{contest("h /", "a/s/j", "b/s/j"), contest("i /", "a/s/j", "b/s/j"), contest("y /", "a/s/j", "b/s/j")}}
	w.plan(r, see, time.Now())
	see.Contests[0] = contest("h /", "b/s/j")
	w.plan(r, see, time.Now())
	next, _, _ := w.plan(r, see, time.Now().Add(time.Minute))
	if got := next.items()[endedItem]; got != "x /\nh /" {
		t.Errorf("ended are %q", got)
	}
	if again := decode(next.items(), 8); !again.equal(next) {
		t.Errorf("written and read again it is %v, not %v", again.items(), next.items())
	}
	if got := lately([]string{"a /", "b /", "c /"}, []string{"d /"}, nil, len(endedItem)+8); len(got) != 2 || got[0] != "c /" || got[1] != "d /" {
		t.Errorf("where there is room for two it keeps %q", got)
	}
	if items := decode(nil, 1).items(); len(items) != 1 {
		t.Errorf("Nomad does not take a variable of %v", items)
	}
}
