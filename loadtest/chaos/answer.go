package chaos

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// answer answers one request, and reports whether the connection goes on.
func (i *instance) answer(ctx context.Context, c *originConn, h *head) bool {
	id, err := strconv.ParseUint(h.get(idField), 16, 64)
	request := i.ledger.requests[id]
	switch {
	case h.get(idField) == "" && strings.Contains(h.first, " /healthy"):
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	case err != nil || request == nil:
		i.ledger.find("a request that nobody sent", i.service.Name, "%s %s: %q", i.name, h.first, h.fields)
		return false
	}
	a := &arrival{request: request, instance: i, conn: c, at: time.Now(), body: checked{id: request.ID}}
	i.ledger.arrive(a)
	i.judgeHead(a, h)
	i.begin(a)
	defer i.end(a)
	plan := request.Answers[min(a.nth, len(request.Answers)-1)]
	if plan.Flaw == ResetUnread {
		c.tcp.SetLinger(0)
		return false
	}
	if request.Upgrade {
		return i.upgrade(ctx, c, a, &plan)
	}
	early := plan.Early && plan.Flaw == Fine
	if early && !i.write(ctx, c, a, &plan) {
		return false
	}
	framing, size, err := h.framing(None)
	if err != nil {
		i.ledger.find("malformed to an instance", request.Name, "%v", err)
		return false
	}
	if h.has("Expect", "100-continue") && !early {
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	trailer, err := readBody(c.r, framing, size, &a.body)
	a.whole = err == nil
	i.judgeBody(a, trailer, err)
	if err != nil {
		return false
	}
	if early {
		return !plan.Close
	}
	return i.write(ctx, c, a, &plan)
}

// write writes an answer as planned, and reports whether the connection goes
// on.
func (i *instance) write(ctx context.Context, c *originConn, a *arrival, plan *Answer) bool {
	if !wait(ctx, plan.Delay) {
		return false
	}
	i.mu.Lock()
	resume := i.resume
	i.mu.Unlock()
	<-resume
	out := plan.bytes(a.request, i.name)
	switch plan.Flaw {
	case ResetRead:
		c.tcp.SetLinger(0)
		return false
	case FinRead:
		return false
	case ResetAt, FinAt, StallAt:
		out = out[:min(plan.At, len(out))]
	}
	piece := plan.Piece
	if piece == 0 {
		piece = len(out)
	}
	i.note(func() { a.began = time.Now() })
	for len(out) > 0 {
		n := min(piece, len(out))
		if n == len(out) && n > 1 {
			n-- // the last byte alone
		} else if n == len(out) {
			// Whoever reads the last byte may send another request at once.
			i.end(a)
		}
		if _, err := c.Write(out[:n]); err != nil {
			return false
		}
		if out = out[n:]; len(out) > 1 && !wait(ctx, plan.Pause) {
			return false
		}
	}
	switch plan.Flaw {
	case ResetAt:
		c.tcp.SetLinger(0)
		return false
	case StallAt:
		wait(ctx, 4*time.Second)
		return false
	case FinAt, BadHead, BadChunk:
		return false
	}
	a.answered = true
	return !plan.Close && plan.Framing != Close
}

// upgrade echoes as many bytes as come, with another pattern.
func (i *instance) upgrade(ctx context.Context, c *originConn, a *arrival, plan *Answer) bool {
	q := a.request
	if !wait(ctx, plan.Delay) {
		return false
	}
	if plan.Status != 101 {
		out := *plan
		out.Framing, out.Size = Length, 10
		a.whole = true
		i.write(ctx, c, a, &out)
		return false // what was sent early may lie behind it
	}
	a.whole = true
	i.end(a)
	own := ""
	if plan.HSTS {
		own = ownHSTS + "\r\n"
	}
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n%s%s: %x\r\n%s: %s\r\n\r\n", own, idField, q.ID, instanceField, i.name)
	for p := make([]byte, 8192); a.body.n < int64(q.Size); {
		n, err := c.r.Read(p)
		before := a.body.n
		a.body.take(p[:n])
		if _, err := c.Write(appendPattern(nil, answerOf(q.ID), before, n)); err != nil {
			return false
		}
		if err != nil {
			return false
		}
	}
	if a.body.wrong != "" {
		i.ledger.find("a byte that the client did not send", q.Name, "in an upgraded connection: %s", a.body.wrong)
	}
	a.answered = true
	return false
}

// begin counts the request in flight, and checks whether there are more than
// max-inflight allows.
func (i *instance) begin(a *arrival) {
	i.mu.Lock()
	i.busy[a] = true
	together := make([]*arrival, 0, len(i.busy))
	for b := range i.busy {
		together = append(together, b)
	}
	i.mu.Unlock()
	limit := i.rules.maxInflight
	if limit == 0 || len(together) <= limit || i.relay != nil {
		return
	}
	// One whose client left is over for serai once it has closed the
	// connection, which is seen here a little later.
	alive := func() (n int) {
		for _, b := range together {
			if b.conn.established() {
				n++
			}
		}
		return n
	}
	if alive() <= limit {
		return
	}
	time.Sleep(20 * time.Millisecond)
	if n := alive(); n > limit {
		i.ledger.find("max-inflight", i.service.Name, "%s has %d requests at once, allowed are %d", i.name, n, limit)
	}
}

// end counts it no longer.
func (i *instance) end(a *arrival) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.busy, a)
	if a.ended.IsZero() {
		a.ended = time.Now()
	}
}

// note changes values that other goroutines may read.
func (i *instance) note(change func()) {
	i.ledger.mu.Lock()
	defer i.ledger.mu.Unlock()
	change()
}

// wait waits for d, and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
