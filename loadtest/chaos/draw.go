package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// lasts is the time within which the clients of an episode begin, in milliseconds.
const lasts = 1800

// Key is a key of the tag grammar that serai knows, with a value that it may have.
type Key struct{ Name, Example string }

// Draw makes the program of a seed, with these keys in its tags.
func Draw(seed uint64, keys []Key) *Program {
	d := newDice(seed)
	p := &Program{Seed: seed}
	p.drawFlags(d)
	for i := range d.within(2, 5) {
		p.drawService(d, i+1, keys)
	}
	if d.chance(15) {
		p.drawSharedService(d)
	}
	if d.chance(8) {
		p.drawFloodService(d)
	}
	id := seed<<20&(1<<56-1) | 1<<56
	next := func() uint64 { id++; return id }
	for _, s := range p.Services {
		switch s.Flavour {
		case Queue:
			p.drawQueue(d, s, next)
			continue
		case Shared:
			p.drawShared(d, s, next)
			continue
		case Flood:
			p.drawFlood(d, s, next)
			continue
		}
		for range d.within(3, 14) {
			p.drawClient(d, s, next)
		}
	}
	p.drawFaults(d)
	for _, c := range p.Clients {
		c.Believed = p.Trusts
	}
	return p
}

// drawFlags draws limits. They are short, so that what is left over shows.
func (p *Program) drawFlags(d dice) {
	p.Flags = []string{"--head-timeout=1s", "--body-idle=1s", "--keep-alive=3s", "--write-idle=2s", "--tunnel-idle=2s",
		"--linger=3s", "--drain-delay=0s", "--drain-timeout=1s", "--upstream-idle=" + d.milliseconds(50, 600).String()}
	also := func(percent int, flag string) {
		if d.chance(percent) {
			p.Flags = append(p.Flags, flag)
		}
	}
	also(5, fmt.Sprintf("--max-connections=%d", d.within(4, 20)))
	also(10, fmt.Sprintf("--max-waiting=%d", d.within(1, 5)))
	also(10, "--upstream-max-idle=1")
	also(50, "--upstream-idle-repeatable="+d.milliseconds(600, 3000).String())
	also(20, "--eject-share=0.5")
	also(20, "--slow-start=0")
	also(15, "--splice")
	also(20, "--access-log=/dev/null")
	if d.chance(4) {
		p.Files = d.within(40, 80)
	}
	p.Config = d.chance(40)
	if p.Trusts = d.chance(30); p.Trusts {
		p.Flags = append(p.Flags, "--trusted-proxies="+loopback)
	}
	if p.Announces = d.chance(20); p.Announces {
		p.Flags = append(p.Flags, "--proxy-protocol-from="+loopback)
	}
}

// drawService draws a service, its tags and its instances.
func (p *Program) drawService(d dice, n int, keys []Key) {
	flavour := one(d, Tame, Tame, Tame, Queue, Queue, Queue, Wrong, Wrong, Wrong, Deployed, Deployed, Hurt, Hurt, Refused)
	if d.chance(2) {
		flavour = Self
	}
	s := &Service{Name: fmt.Sprintf("s%d", n), Flavour: flavour, Static: d.chance(25) && flavour != Deployed}
	p.Services = append(p.Services, s)
	instances := d.within(1, 4)
	if flavour == Queue {
		instances = one(d, 1, 1, 2, 2, 3)
	}
	s.Own = make([][]string, instances)
	s.Relayed = flavour == Hurt || flavour != Queue && flavour != Self && d.chance(15)
	if d.chance(35) && flavour != Queue {
		s.IdleClose = d.milliseconds(2, 400)
	}
	t := &tagDrawer{dice: d, service: s, keys: keys, config: p.Config}
	host := fmt.Sprintf("%s-%x.chaos", s.Name, p.Seed&0xffff)
	if d.chance(10) {
		host = "*." + host
	} else if d.chance(25) {
		host += ",also-" + host
	}
	t.add("host", host)
	if flavour == Queue && d.chance(35) {
		t.add("wait", one(d, "0s", "20ms", "100ms"))
	} else {
		t.add("wait", one(d, "1s", "1500ms", "2s"))
	}
	if flavour == Wrong || flavour == Hurt {
		t.add("timeout", one(d, "300ms", "500ms", "1s"))
		t.add("body-idle", one(d, "300ms", "500ms", "1s"))
	} else {
		t.add("timeout", "5s")
		t.add("body-idle", "5s")
	}
	if flavour == Queue {
		t.add("max-inflight", strconv.Itoa(one(d, 1, 1, 2)))
		t.some("lb", 40)
		t.some("retries", 30)
		return
	}
	t.all()
	if flavour == Refused {
		bad := one(d, Tag{Key: "hots", Value: "a.example"}, Tag{Key: "retries", Value: "99"}, Tag{Key: "timeout", Value: "5"}, Tag{Key: "lb", Value: "best"},
			Tag{Key: "host", Value: "a..b"}, Tag{Key: "path", Value: "api"}, Tag{Key: "max-inflight", Value: "0"}, Tag{Key: "weight", Value: "-1"}, Tag{Key: "scheme", Value: "ftp"})
		bad.Bad = true
		s.Tags = slices.DeleteFunc(s.Tags, func(t *Tag) bool { return t.Key == bad.Key && t.Key != "host" })
		t.put(&bad)
	}
}

// drawQueue draws clients whose requests come in an order that can be judged: each has
// a connection of its own and is small, and an instance takes the same time for all of
// them.
func (p *Program) drawQueue(d dice, s *Service, next func() uint64) {
	if r := rulesOf(s); r.wait < time.Second || d.chance(30) {
		p.drawBurst(d, s, next)
		return
	}
	takes := d.milliseconds(20, 150)
	every := d.within(5, 60)
	r := rulesOf(s)
	places := r.maxInflight * len(s.Own)
	// As many as are served within what they wait, and sometimes more.
	many := min(24, int(float64(places)*(r.wait.Seconds()*float64(one(d, 1, 2))/2)/takes.Seconds()))
	for i := range max(4, many) {
		c := &Client{Name: fmt.Sprintf("c%d", len(p.Clients)+1), Start: time.Duration(i*every) * time.Millisecond, Abort: -1}
		q := &Request{Name: c.Name + ".r1", ID: next(), Service: s, Host: hostFor(d, s), Minor: 1, Method: one(d, "GET", "GET", "POST", "PUT"), Framing: None,
			Path: fmt.Sprintf("/q/%d", i)}
		if q.Method != "GET" {
			q.Framing, q.Size = Length, d.within(0, 300)
		}
		q.Answers = []Answer{{Status: 200, Framing: Length, Size: d.within(0, 300), Delay: takes}}
		c.Requests = []*Request{q}
		p.Clients = append(p.Clients, c)
	}
}

// drawBurst draws more clients than there are places, all at once and for as
// long as a few dozen requests take.
func (p *Program) drawBurst(d dice, s *Service, next func() uint64) {
	takes, start := d.milliseconds(0, 8), d.within(0, 200)
	many := d.within(5, 30)
	if rulesOf(s).wait < time.Second { // who is refused comes again at once
		many = d.within(100, 300)
	}
	for range d.within(6, 24) {
		c := &Client{Name: fmt.Sprintf("c%d", len(p.Clients)+1), Start: d.milliseconds(start, start+30), Abort: -1}
		for i := range many {
			c.Requests = append(c.Requests, &Request{Name: fmt.Sprintf("%s.r%d", c.Name, i+1), ID: next(), Service: s, Host: hostFor(d, s), Minor: 1,
				Method: one(d, "GET", "DELETE"), Framing: None, Path: fmt.Sprintf("/burst/%d", i), Answers: []Answer{{Status: 200, Framing: Length, Size: 10, Delay: takes}}})
		}
		p.Clients = append(p.Clients, c)
	}
}

// drawFaults draws what fails, and when.
func (p *Program) drawFaults(d dice) {
	add := func(kind FaultKind, s *Service, lastsMS int) {
		f := &Fault{Name: fmt.Sprintf("f%d", len(p.Faults)+1), Kind: kind, At: d.milliseconds(50, lasts-300), Service: s, Lasts: time.Duration(lastsMS) * time.Millisecond}
		if s != nil {
			f.Which = d.IntN(len(s.Own))
		}
		p.Faults = append(p.Faults, f)
	}
	for _, s := range p.Services {
		switch s.Flavour {
		case Deployed:
			for range d.within(1, 4) {
				add(one(d, Replace, Replace, Replace, Add, Retag), s, 0)
			}
		case Hurt:
			for range d.within(1, 3) {
				add(one(d, Kill, Hang, ResetConns, CutThere, CutBack, CutBoth), s, d.within(100, 1500))
			}
		}
	}
	p.drawSharedFaults(d, add)
	if d.chance(30) {
		for range d.within(1, 3) {
			add(one(d, NomadErrors, NomadSilent, NomadForbids, NomadEnds), nil, d.within(100, 1500))
		}
	}
	if d.chance(20) {
		add(one(d, FileBroken, FileTouched), nil, d.within(100, 1500))
	}
	if p.Config && d.chance(40) {
		for range d.within(1, 3) {
			add(one(d, ConfigBroken, ConfigAgain), nil, d.within(50, 500))
		}
	}
	if d.chance(8) {
		add(one(d, Restart, KillAndStart), nil, 0)
	}
}
