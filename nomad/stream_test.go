package nomad_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// lines answers with pieces, each sent by itself, and ends as end says when
// the last is sent.
func lines(end func(http.ResponseWriter, *http.Request), pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, p := range pieces {
			io.WriteString(w, p)
			http.NewResponseController(w).Flush()
		}
		end(w, r)
	}
}

func finish(http.ResponseWriter, *http.Request) {}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func stay(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// event is a line with an event of this type for each ID.
func event(index uint64, kind string, ids ...string) string {
	var events []string
	for _, id := range ids {
		events = append(events, fmt.Sprintf(`{"Topic":"Service","Type":%q,"Index":%d,"Payload":{"Service":`+
			`{"ID":%q,"ServiceName":"shop","Namespace":"default","Port":80,"Tags":["t"],"ModifyIndex":3}}}`, kind, index, id))
	}
	return fmt.Sprintf(`{"Index":%d,"Events":[%s]}`+"\n", index, strings.Join(events, ","))
}

func subscribe(t *testing.T, c *nomad.Client, index uint64) *nomad.Stream {
	t.Helper()
	s, err := c.Stream(testContext(t), "default", index)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// short is the short form of a batch: "9 +a -b", or "." for a heartbeat.
func short(b nomad.Batch) string {
	if b.Heartbeat() {
		return "."
	}
	text := fmt.Sprint(b.Index)
	for _, e := range b.Events {
		sign := " +"
		if e.Deleted {
			sign = " -"
		}
		text += sign + e.Registration.ID
		if e.Index != b.Index {
			text += fmt.Sprint("@", e.Index)
		}
	}
	return text
}

// read returns what the stream says until it fails.
func read(s *nomad.Stream) ([]string, error) {
	var all []string
	for {
		b, err := s.Next()
		if err != nil {
			return all, err
		}
		all = append(all, short(b))
	}
}

func TestStreamLines(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	for name, tc := range map[string]struct {
		pieces []string
		want   []string
	}{
		"heartbeats": {[]string{"{}\n", "{}\n{}\n"}, []string{".", ".", "."}},
		"a batch":    {[]string{"{}\n", event(9, "ServiceRegistration", "a")}, []string{".", "9 +a"}},
		"a batch as the first line, as when events wait": {[]string{event(9, "ServiceRegistration", "a")}, []string{"9 +a"}},
		"a batch of several":                             {[]string{"{}\n" + event(9, "ServiceRegistration", "a", "b")}, []string{".", "9 +a +b"}},
		"two batches in one read": {[]string{"{}\n" + event(9, "ServiceRegistration", "a") + event(10, "ServiceDeregistration", "a")},
			[]string{".", "9 +a", "10 -a"}},
		"a batch in many reads": {strings.Split("{}\n"+event(9, "ServiceRegistration", "a"), ""), []string{".", "9 +a"}},
		"a batch that is longer than a buffer": {[]string{"{}\n", event(9, "ServiceRegistration", long), "{}\n"},
			[]string{".", "9 +" + long, "."}},
		"other ends of lines": {[]string{"{}\r\n\r\n\n{}\n  \n", "\n", "{}\n"}, []string{".", ".", "."}},
		// Whatever has changed, the registration is gone.
		"deaths": {[]string{"{}\n", event(9, "AllocationUpdated", "a", "b"), event(10, "PlanResult", "c"),
			event(11, "NodeRegistration", "d"), event(12, "SomethingNew", "e"), event(13, "ServiceDeregistration", "f")},
			[]string{".", "9 -a -b", "10 -c", "11 -d", "12 -e", "13 -f"}},
		"other topics": {[]string{"{}\n", strings.ReplaceAll(event(9, "NodeRegistration", "n"), `"Service","Type"`, `"Node","Type"`),
			`{"Index":10,"Events":[{"Topic":"Job","Type":"JobRegistered","Payload":{"Job":{}}}]}` + "\n", `{"Index":11,"Events":null}` + "\n"},
			[]string{".", "9", "10", "11"}},
		"what we do not know": {[]string{"{}\n", strings.Replace(event(9, "ServiceRegistration", "a"), `"Port"`, `"Health":{"x":[1]},"Port"`, 1)},
			[]string{".", "9 +a"}},
		"an event without its own index": {[]string{"{}\n", strings.Replace(event(9, "ServiceRegistration", "a"), `"Index":9,"Payload"`, `"Payload"`, 1)},
			[]string{".", "9 +a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, nomad.Options{Address: serve(t, lines(finish, tc.pieces...))})
			s := subscribe(t, c, 1)
			got, err := read(s)
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %.500q\nwant %.500q", got, tc.want)
			}
			check(t, err, nomad.ErrStreamEnded, "subscribe to service events", "subscribe again")
			if _, again := s.Next(); again != err {
				t.Errorf("a stream that failed says %v, and then %v", err, again)
			}
		})
	}
}

// TestStreamFails after it was up.
func TestStreamFails(t *testing.T) {
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		kind  error
		says  []string
	}{
		"cut in a line":      {lines(abort, "{}\n", `{"Index":9`), nomad.ErrStreamEnded, []string{"unexpected EOF"}},
		"ends in a line":     {lines(finish, "{}\n", `{"Index":9`), nomad.ErrStreamEnded, []string{"unexpected EOF"}},
		"cut":                {lines(abort, "{}\n"), nomad.ErrStreamEnded, nil},
		"endless line":       {lines(stay, "{}\n", `{"Index":9,"Events":[`+strings.Repeat(" ", 1<<20)), nomad.ErrBadAnswer, []string{"longer than 4096 bytes"}},
		"line cut in excess": {lines(finish, "{}\n", `{"Index":9,"Events":[`+strings.Repeat(" ", 1<<14)), nomad.ErrBadAnswer, []string{"longer than 4096 bytes"}},
		"null":               {lines(stay, "{}\nnull\n"), nomad.ErrBadAnswer, []string{`"null"`}},
		"not JSON":           {lines(stay, "{}\n{]\n"), nomad.ErrBadAnswer, []string{"does not decode"}},
		"plain text":         {lines(stay, "{}\nevent dropped from buffer\n"), nomad.ErrBadAnswer, []string{"event dropped from buffer"}},
		"wrong type":         {lines(stay, "{}\n"+`{"Index":"nine"}`+"\n"), nomad.ErrBadAnswer, []string{"does not decode"}},
		"no index":           {lines(stay, "{}\n"+strings.ReplaceAll(event(0, "ServiceRegistration", "a"), `"Index":0,`, "")), nomad.ErrBadAnswer, []string{"no index"}},
		"no ID":              {lines(stay, "{}\n"+event(9, "ServiceRegistration", "")), nomad.ErrBadAnswer, []string{`has ID ""`}},
		"one of several bad": {lines(stay, "{}\n"+event(9, "ServiceRegistration", "a", "", "c")), nomad.ErrBadAnswer, []string{`has ID ""`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, nomad.Options{Address: serve(t, tc.serve), Limits: nomad.Limits{Line: 4096, FirstLine: testTimeout, Heartbeat: testTimeout}})
			s := subscribe(t, c, 1)
			got, err := read(s)
			if !reflect.DeepEqual(got, []string{"."}) {
				t.Errorf("got %.200q; want a heartbeat and nothing of what is bad", got)
			}
			check(t, err, tc.kind, append(tc.says, `subscribe to service events of namespace "default": `)...)
			if _, again := s.Next(); again != err {
				t.Errorf("a stream that failed says %v, and then %v", err, again)
			}
		})
	}
}

// TestLongLineIsSkipped: the stream goes on after a line that is longer than the limit, and
// says that it was lost.
func TestLongLineIsSkipped(t *testing.T) {
	for name, size := range map[string]int{"by little": 4096, "by much": 1 << 15} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := lines(finish, "{}\n", event(9, "ServiceRegistration", strings.Repeat("x", size)), event(10, "ServiceRegistration", "a"))
			c := connect(t, nomad.Options{Address: serve(t, answer), Limits: nomad.Limits{Line: 4096, FirstLine: testTimeout, Heartbeat: testTimeout}})
			s := subscribe(t, c, 1)
			for i, want := range []nomad.Batch{{}, {Lost: true}, {Index: 10}} {
				b, err := s.Next()
				if err != nil || b.Lost != want.Lost || b.Index != want.Index || b.Heartbeat() != (i == 0) {
					t.Errorf("line %d is %+v, %v", i, b, err)
				}
			}
		})
	}
}

// TestStreamRefused in each of the ways in which agents refuse.
func TestStreamRefused(t *testing.T) {
	for _, tc := range []struct {
		how  string
		as   nomadsim.Refusal
		kind error
		says string
	}{
		{"200 and end", nomadsim.RefusalEOF, nomad.ErrStreamRefused, `read-job in namespace "shop"`},
		{"200 and silence", nomadsim.RefusalSilence, nomad.ErrStreamSilent, `read-job in namespace "shop"`},
		{"403", nomadsim.RefusalForbidden, nomad.ErrForbidden, "Permission denied"},
	} {
		t.Run(tc.how, func(t *testing.T) {
			sim := nomadsim.New(nomadsim.Options{ACL: true, Refusal: tc.as})
			sim.PutToken(nomadsim.Token{Secret: secret, Rules: []nomadsim.Rule{{Namespace: "default", Capabilities: []string{"read-job"}}}})
			limits := nomad.Limits{Request: testTimeout, FirstLine: testTimeout}
			if tc.as == nomadsim.RefusalSilence {
				limits.FirstLine = 500 * time.Millisecond
			}
			c := connect(t, nomad.Options{Address: simulate(t, sim), Limits: limits})
			_, err := c.Stream(testContext(t), "shop", 1)
			check(t, err, tc.kind, `subscribe to service events of namespace "shop": `, tc.says)
			sim.CreateNamespace("shop")
			_, err = c.Stream(testContext(t), nomad.AllNamespaces, 1)
			says := tc.says
			if tc.as != nomadsim.RefusalForbidden {
				says = "read-job in every namespace"
			}
			check(t, err, tc.kind, `subscribe to service events of namespace "*": `, says)
		})
	}
}

// TestStreamDeadline: three missing heartbeats end the stream, and one that comes in
// time does not.
func TestStreamDeadline(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{Heartbeat: time.Hour})
	limits := nomad.Limits{FirstLine: testTimeout, Heartbeat: 50 * time.Millisecond}
	s := subscribe(t, connect(t, nomad.Options{Address: simulate(t, sim), Limits: limits}), 1)
	got, err := read(s)
	if !reflect.DeepEqual(got, []string{"."}) {
		t.Errorf("got %q", got)
	}
	check(t, err, nomad.ErrStreamSilent, "(150ms)", "the connection is dead")

	sim = nomadsim.New(nomadsim.Options{Heartbeat: time.Millisecond})
	limits.Heartbeat = testTimeout
	s = subscribe(t, connect(t, nomad.Options{Address: simulate(t, sim), Limits: limits}), 1)
	for range 20 {
		if b, err := s.Next(); err != nil || !b.Heartbeat() || b.Received.IsZero() {
			t.Fatalf("got %+v, %v; want a heartbeat", b, err)
		}
	}
	sim.Partition(true)
	s.Close()
	sim.Partition(false)
}

// TestStreamEnds: by the agent, by Close, by the caller.
func TestStreamEnds(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{ACL: true})
	token := nomadsim.Token{Secret: secret, Management: true}
	sim.PutToken(token)
	c := connect(t, nomad.Options{Address: simulate(t, sim)})
	mine := errors.New("we are going home")
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, tc := range []struct {
		how  string
		end  func(*nomad.Stream)
		kind error
		says string
	}{
		{"snapshot restored", func(*nomad.Stream) { sim.EndStreams() }, nomad.ErrStreamEnded, "subscribe again"},
		{"token deleted", func(*nomad.Stream) { sim.DeleteToken(secret) }, nomad.ErrStreamEnded, "subscribe again"},
		{"policy taken away", func(*nomad.Stream) { sim.PutToken(nomadsim.Token{Secret: secret}) }, nomad.ErrStreamEnded, "subscribe again"},
		{"agent crashed", func(*nomad.Stream) { sim.Disconnect() }, nomad.ErrStreamEnded, ""},
		{"closed", func(s *nomad.Stream) { s.Close(); s.Close() }, nomad.ErrStreamEnded, "the stream was closed"},
		{"caller left", func(*nomad.Stream) { cancel(mine) }, nil, mine.Error()},
	} {
		t.Run(tc.how, func(t *testing.T) {
			sim.PutToken(token)
			s, err := c.Stream(ctx, "default", math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if b, err := s.Next(); err != nil || !b.Heartbeat() {
				t.Fatalf("%+v, %v", b, err)
			}
			done := make(chan error)
			go func() {
				_, err := s.Next()
				done <- err
			}()
			tc.end(s)
			check(t, <-done, tc.kind, tc.says)
		})
	}
}

// TestStreamDeaths reads the events of a simulated agent when instances end without
// deregistering.
func TestStreamDeaths(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{})
	reg := func(alloc, node string, port int) nomad.Registration {
		return nomad.Registration{ID: fmt.Sprint(alloc, "-", port), ServiceName: "shop", AllocID: alloc, NodeID: node, Address: "127.0.0.1", Port: port}
	}
	sim.Register(reg("a", "n1", 1), reg("a", "n1", 2))
	sim.Register(reg("b", "n2", 1))
	sim.Register(reg("c", "n2", 1), reg("c", "n2", 2))
	s := subscribe(t, connect(t, nomad.Options{Address: simulate(t, sim)}), 1)
	sim.StopAlloc("a")
	sim.StopNode("n2")
	sim.Noise(1)
	sim.Promote("default", "none", nil)
	sim.Register(reg("d", "n1", 1))
	sim.Deregister("default", "d-1")
	for _, want := range []string{".", "2 +a-1 +a-2", "3 +b-1", "4 +c-1 +c-2", "5 -a-1 -a-2", "6 -b-1 -c-1 -c-2", "8 +d-1", "9 -d-1"} {
		b, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got := short(b); got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}
