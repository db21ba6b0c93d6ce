package chaos

import (
	"fmt"
	"strconv"
	"time"
)

// addService adds a service of a flavour that is judged by numbers, and so has few
// tags beside the one that is judged.
func (p *Program) addService(d dice, f Flavour, keys ...Key) (*Service, *tagDrawer) {
	s := &Service{Name: fmt.Sprintf("s%d", len(p.Services)+1), Flavour: f}
	p.Services = append(p.Services, s)
	t := &tagDrawer{dice: d, service: s, keys: keys}
	t.add("host", fmt.Sprintf("%s-%x.chaos", s.Name, p.Seed&0xffff))
	t.add("timeout", "5s")
	t.add("body-idle", "5s")
	return s, t
}

// drawSharedService draws a service whose shares are judged: a method, weights, and
// instances that differ in nothing else.
func (p *Program) drawSharedService(d dice) {
	// An instance that warms up has less than its share.
	p.Flags = append(p.Flags, "--slow-start=0")
	s, t := p.addService(d, Shared)
	t.add("wait", "2s")
	t.add("lb", one(d, "least", "least", "least", "round-robin", "random", "hash:header:X-Key", "hash:ip"))
	s.Own = make([][]string, d.within(2, 4))
	if d.chance(55) {
		for i := range s.Own {
			s.Own[i] = []string{"ingress.weight=" + one(d, "10", "90", "100", "100", "300")}
		}
	}
}

// drawShared draws clients that ask the same of every instance, one after the
// other or many at once.
func (p *Program) drawShared(d dice, s *Service, next func() uint64) {
	clients := one(d, 1, 1, 8, 8, 24)
	each, takes := 480/clients, d.milliseconds(10, 25)
	switch {
	case clients == 1 && rulesOf(s).lb == "least":
		each, takes = 220, d.milliseconds(5, 7)
	case clients == 1:
		each, takes = 400, 0
	case clients == 8:
		each = 60
	}
	flawed := d.chance(40)
	for n := range clients {
		c := &Client{Name: fmt.Sprintf("c%d", len(p.Clients)+1), Start: d.milliseconds(100, 130), Abort: -1}
		for i := range each {
			q := &Request{Name: fmt.Sprintf("%s.r%d", c.Name, i+1), ID: next(), Service: s, Host: s.Tags[0].Value, Minor: 1,
				Method: "GET", Framing: None, Path: "/share", Answers: []Answer{{Status: 200, Framing: Length, Size: 10, Delay: takes}}}
			q.Fields = []string{"X-Key: " + strconv.Itoa((n*each+i)%160)}
			if flawed && d.chance(4) {
				first := q.Answers[0]
				first.Flaw = one(d, ResetRead, FinRead)
				q.Answers = []Answer{first, q.Answers[0]}
			}
			c.Requests = append(c.Requests, q)
		}
		p.Clients = append(p.Clients, c)
	}
}

// drawSharedFaults lets some instances of shared services be away for a part of
// the time.
func (p *Program) drawSharedFaults(d dice, add func(FaultKind, *Service, int)) {
	for _, s := range p.Services {
		if s.Flavour == Shared && d.chance(40) {
			add(one(d, Kill, Replace), s, d.within(100, 400))
		}
	}
}

// waitingSize is more than a request without a large body holds while it waits,
// floodSize less than one with a body of floodBody.
const (
	waitingSize = 24 << 10
	floodBody   = 60_000
	floodSize   = 70 << 10
	mostInLine  = 24 // clients of a Queue
)

// drawFloodService draws two services that need places: one whose requests would
// fill all that the waiting may hold, and one that keeps its order beside it.
func (p *Program) drawFloodService(d dice) {
	flood, t := p.addService(d, Flood)
	t.add("wait", "2s")
	t.add("max-inflight", "1")
	flood.Own = make([][]string, 1)
	quiet, t := p.addService(d, Queue)
	t.add("wait", "2s")
	t.add("max-inflight", "1")
	quiet.Own = make([][]string, 1)
	p.Flags = append(p.Flags, fmt.Sprintf("--max-waiting-bytes=%d", len(p.Services)*mostInLine*waitingSize))
}

// drawFlood draws enough clients to fill all memory for waiting requests at once.
func (p *Program) drawFlood(d dice, s *Service, next func() uint64) {
	takes := d.milliseconds(50, 150)
	for range len(p.Services)*mostInLine*waitingSize/floodSize + 15 {
		c := &Client{Name: fmt.Sprintf("c%d", len(p.Clients)+1), Start: d.milliseconds(0, 30), Abort: -1}
		c.Requests = []*Request{{Name: c.Name + ".r1", ID: next(), Service: s, Host: s.Tags[0].Value, Minor: 1, Method: "POST", Path: "/flood",
			Framing: Length, Size: floodBody, Answers: []Answer{{Status: 200, Framing: Length, Size: 10, Delay: takes}}}}
		p.Clients = append(p.Clients, c)
	}
}

// trickle makes the client send bodies much more slowly than the minimum rate of 100
// bytes a second, at about that rate, or faster.
func (c *Client) trickle(d dice) {
	c.Trickles = true
	switch d.IntN(3) {
	case 0:
		c.Piece, c.Pause = d.within(1, 3), d.milliseconds(200, 300)
	case 1:
		c.Piece, c.Pause = d.within(6, 14), d.milliseconds(90, 110)
	default:
		c.Piece, c.Pause = d.within(30, 60), d.milliseconds(100, 200)
	}
}

// trickled gives a request a body that takes a trickling client about 3.2 s.
func (r *Request) trickled(d dice, c *Client) {
	r.Method, r.Framing, r.Minor = one(d, "POST", "PUT"), one(d, Length, Length, Chunked), 1
	if r.Upgrade {
		r.Upgrade, r.Empty, r.Answers = false, false, []Answer{{Status: 200, Framing: Length, Size: 10}}
	}
	r.Malformed, r.Expect, r.Trailer = "", false, false
	r.Size = c.Piece * int(3200*time.Millisecond/c.Pause)
	r.Chunk = max(r.Size/4, 1)
	for i := range r.Answers {
		r.Answers[i].Early = false
	}
}
