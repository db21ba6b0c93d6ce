package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// hostFor draws a host that a service serves.
func hostFor(d dice, s *Service) string {
	host := ""
	for _, t := range s.Tags {
		if t.Key == "host" && !t.Bad {
			host = one(d, strings.Split(t.Value, ",")...)
		}
	}
	if rest, ok := strings.CutPrefix(host, "*"); ok {
		host = one(d, "a", "b", "c") + rest
	}
	switch {
	case d.chance(4):
		return strings.ToUpper(host)
	case d.chance(4):
		return host + ":80"
	}
	return host
}

// drawClient draws a connection and its requests, all to one service.
func (p *Program) drawClient(d dice, s *Service, next func() uint64) {
	c := &Client{Name: fmt.Sprintf("c%d", len(p.Clients)+1), Start: d.milliseconds(0, lasts-300), Abort: -1, TLS: d.chance(20)}
	p.Clients = append(p.Clients, c)
	if p.Announces && d.chance(60) {
		c.Announced = one(d, "v1", "v2")
	}
	many := d.within(1, 6)
	rule := rulesOf(s)
	largest := 4 << 20
	switch style := d.IntN(100); {
	case style < 20:
		c.Pipelined = true
	case style < 26: // bodies, and then a pipeline longer than any buffer
		c.Pipelined, many, c.TLS = true, d.within(100, 1000), false
	case style < 36:
		c.Piece, c.Pause, largest = d.within(1, 2000), d.milliseconds(0, 10), 20_000
	case style < 46:
		c.ReadPiece, c.ReadPause, largest = d.within(1, 4000), d.milliseconds(0, 5), 300_000
	}
	if d.chance(6) && !c.Pipelined && c.Piece == 0 {
		c.trickle(d)
		many, largest = 1, 300
	}
	c.Keeps = !c.Pipelined && rule.sticky != "" && d.chance(60)
	if c.Keeps {
		many = max(many, 4)
	}
	for i := range many {
		r := p.drawRequest(d, s, &rule, next(), largest)
		r.Name = fmt.Sprintf("%s.r%d", c.Name, i+1)
		if many > 50 {
			shortenLong(d, r, i)
		}
		if c.Pipelined || i < many-1 {
			// What follows is not to be lost by drawing, and 100 Continue
			// is waited for only where somebody waits.
			r.Close = r.Close && d.chance(20)
			r.Expect = r.Expect && !c.Pipelined
		}
		if c.Keeps { // one Cookie field is enough
			r.Fields = slices.DeleteFunc(r.Fields, func(f string) bool { return strings.HasPrefix(f, "Cookie:") })
		}
		if c.Trickles {
			r.trickled(d, c)
		}
		c.Requests = append(c.Requests, r)
		if r.Upgrade || r.Malformed != "" {
			break
		}
	}
	c.drawEnd(d, s)
}

// drawEnd draws how a client leaves.
func (c *Client) drawEnd(d dice, s *Service) {
	total := 0
	for _, r := range c.Requests {
		total += 200 + framed(r.Framing, r.Size, r.Chunk)
	}
	switch {
	case d.chance(12):
		c.Abort, c.Reset = d.IntN(total+1), d.chance(50)
	case d.chance(8):
		c.HalfClose = true
		if s.Flavour == Tame {
			c.Requests[len(c.Requests)-1].halfClosed(d)
		}
	case d.chance(10):
		last := c.Requests[len(c.Requests)-1]
		if !last.Upgrade && last.Malformed == "" {
			last.Close = true
			c.Extra, c.ExtraAfter = one(d, "\r\n", "GET /next HTTP/1.1\r\nHost: next.chaos\r\n\r\n", "x"), d.milliseconds(0, 30)
		}
	}
	if c.Piece > 0 && !c.Trickles { // no more than a second in all
		c.Piece = max(c.Piece, total*max(1, int(c.Pause/time.Millisecond))/1000)
	}
}

// halfClosed gives a request after which the client closes its side answers that begin
// soon, or that have a length and a pause in the middle.
func (r *Request) halfClosed(d dice) {
	for i := range r.Answers {
		a := &r.Answers[i]
		if a.Status == 101 {
			continue
		}
		a.Interim = nil
		if d.chance(50) {
			a.Delay = d.milliseconds(20, 70)
			continue
		}
		a.Status, a.Framing, a.Size, a.Odd = 200, Length, d.within(200, 3000), false
		a.Delay, a.Piece, a.Pause = 0, (250+a.Size)/2, d.milliseconds(900, 1500)
	}
}

// shortenLong makes a request part of a long pipeline: two large bodies, and
// then small ones.
func shortenLong(d dice, r *Request, i int) {
	r.Upgrade, r.Malformed, r.Expect, r.Close, r.Trailer = false, "", false, false, false
	r.Answers = []Answer{{Status: 200, Framing: Length, Size: d.within(0, 50)}}
	if i < 2 {
		r.Method, r.Framing, r.Size, r.Minor = one(d, "POST", "PUT"), one(d, Length, Length, Chunked), one(d, 300_000, 1<<20, 3_000_000, 70_000), 1
		r.Chunk = d.chunk(r.Size)
		return
	}
	r.Method, r.Framing, r.Size, r.Minor = one(d, "GET", "DELETE"), None, 0, 1
}

// drawRequest draws a request that the service's rules take, or now and then
// one that they do not.
func (p *Program) drawRequest(d dice, s *Service, rule *rules, id uint64, largest int) *Request {
	r := &Request{ID: id, Service: s, Host: hostFor(d, s), Minor: 1, Framing: None,
		Method: one(d, "GET", "GET", "GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "QUERY")}
	switch {
	case len(rule.exact) > 0 && d.chance(50) || len(rule.prefixes) == 0:
		r.Path = one(d, rule.exact...)
	case d.chance(6):
		r.Path = "/none" // which some take
	default:
		r.Path = strings.TrimSuffix(one(d, rule.prefixes...), "/") + one(d, "/", "/x", "/x/y.z", "/a%2Fb", "/p;q=1", "/%E2%82%AC", "//twice", "/*")
	}
	if len(rule.queries) > 0 && !d.chance(10) {
		r.Query = rule.queries[0]
	} else if d.chance(20) {
		r.Query = one(d, "a=b", "a&b=%20", "q=?/", "a=1&a=2")
	}
	if !d.chance(8) {
		r.Fields = append(r.Fields, rule.headers...)
	}
	if len(rule.methods) > 0 && !d.chance(20) {
		r.Method = one(d, rule.methods...)
	}
	if d.chance(20) {
		r.Fields = append(r.Fields, one(d, "X-Key: 7", "Cookie: key=5; stuck=abc", "Cookie: canary=1", "X-Canary: 1", "Accept: application/json", "X-Forwarded-For: 1.2.3.4", "TE: trailers", "X-Long: "+strings.Repeat("long ", 400)))
	}
	switch {
	case r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS" || r.Method == "DELETE":
		if d.chance(8) {
			r.Framing = Length
		}
	case d.chance(35):
		r.Framing = Chunked
	default:
		r.Framing = Length
	}
	if d.chance(10) {
		r.Minor = 0
		if r.Framing == Chunked {
			r.Framing = Length
		}
	}
	if r.Framing != None {
		r.Size = d.size(largest)
		r.Chunk = d.chunk(r.Size)
		r.Trailer = r.Framing == Chunked && d.chance(25)
		r.Expect = r.Minor == 1 && r.Size > 0 && d.chance(8)
	}
	r.Close = d.chance(10)
	r.Keyed = d.chance(8)
	switch {
	case d.chance(4):
		r.Upgrade, r.Method, r.Framing, r.Minor, r.Close, r.Keyed, r.Expect, r.Trailer = true, "GET", None, 1, false, false, false, false
		r.Size = d.size(300_000)
		r.EarlyUp = min(r.Size, one(d, 0, 0, 1, 100, 5000))
		if r.Empty = d.chance(25); r.Empty {
			r.EarlyUp = 0
		}
	case d.chance(2):
		r.Minor, r.Framing, r.Expect, r.Trailer = 1, None, false, false
		r.Malformed = one(d, "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 1\r\nContent-Length: 2", "X Y: 1", "Content-Length: +1", "X: a\rb", "Host: twice.example", " folded: 1", "Transfer-Encoding: gzip, chunked")
	}
	p.drawWho(d, rule, r)
	for i := range d.within(1, 2) {
		r.Answers = append(r.Answers, p.drawAnswer(d, r, largest, i))
	}
	return r
}

// drawAnswer draws what an instance does with the nth arrival.
func (p *Program) drawAnswer(d dice, r *Request, largest, n int) Answer {
	a := Answer{Status: one(d, 200, 200, 200, 200, 200, 201, 204, 206, 304, 404, 500, 503), Framing: one(d, Length, Length, Length, Chunked, Chunked, Close)}
	a.Size = d.size(largest)
	a.Chunk = d.chunk(a.Size)
	a.Trailer = a.Framing == Chunked && d.chance(20)
	if d.chance(30) {
		a.Delay = d.milliseconds(1, one(d, 5, 50, 300))
	}
	if d.chance(12) {
		a.Piece, a.Pause = d.within(1, 5000), d.milliseconds(0, 5)
		a.Piece = max(a.Piece, a.Size/100)
	}
	if d.chance(10) {
		a.Interim = one(d, []int{103}, []int{102, 103}, []int{100}, slices.Repeat([]int{102}, d.within(10, 40)))
	}
	a.Odd = d.chance(5)
	a.HSTS = d.chance(5)
	a.Close = d.chance(10)
	a.Early = r.Framing != None && d.chance(6) && r.Service.Flavour == Wrong
	if r.Upgrade {
		return Answer{Status: one(d, 101, 101, 101, 426), Framing: None, Size: r.Size, Delay: a.Delay, HSTS: a.HSTS}
	}
	if r.Service.Flavour != Wrong || !d.chance(45-n*25) {
		return a
	}
	a.Flaw = one(d, ResetUnread, ResetRead, ResetRead, FinRead, ResetAt, ResetAt, ResetAt, FinAt, FinAt, StallAt, BadHead, BadChunk, TooMuch)
	if a.Flaw == BadChunk || (a.Flaw == FinAt || a.Flaw == TooMuch) && a.Framing == Close {
		a.Framing = Chunked
	}
	if a.Flaw == BadChunk || a.Flaw == BadHead {
		a.Status = 200
	}
	a.At = d.IntN(1 + min(250+framed(a.Framing, a.Size, a.Chunk), d.size(1<<22)+200))
	return a
}

// framed is about how many bytes a body has in its framing.
func framed(f Framing, size, chunk int) int {
	if f == Chunked {
		return size + 15*(size/max(1, chunk)+1)
	}
	return size
}
