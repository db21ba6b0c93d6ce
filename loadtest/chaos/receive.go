package chaos

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// take reads a head, and reports whether it is the final one.
func (o *outcome) take(h *head) (final bool) {
	version, rest, _ := strings.Cut(h.first, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || version != "HTTP/1.1" && version != "HTTP/1.0" {
		o.end, o.detail = endMalformed, fmt.Sprintf("status line %q", h.first)
		return false
	}
	if status < 200 && (status != 101 || !o.request.Upgrade) {
		if id := h.get("X-Early"); id != "" && id != fmt.Sprintf("%x", o.request.ID) {
			o.end, o.detail = endMalformed, "an interim answer of another request: "+id
		}
		return false
	}
	o.status, o.reason, o.id, o.instance = status, h.get("X-Serai-Reason"), h.get(idField), h.get(instanceField)
	o.closing = h.has("Connection", "close") || (version == "HTTP/1.0" || o.request.Minor == 0) && !h.has("Connection", "keep-alive")
	if o.reason != "" {
		// An answer of serai's own has a body of its own.
		o.body.id = 0
	}
	o.headFields = h
	return true
}

// readRest reads the answer's body, and reports whether it is whole.
func (v *visit) readRest(o *outcome) bool {
	if bodyless(o.request.Method, o.status) {
		return true
	}
	framing, size, err := o.headFields.framing(Close)
	if err == nil && framing == Chunked && o.request.Minor == 0 {
		err = fmt.Errorf("%w: chunks to a client of HTTP/1.0", errMalformed)
	}
	if err == nil {
		_, err = readBody(v.r, framing, size, &o.body)
	}
	if framing == Close {
		o.closing = true
	}
	if err != nil {
		o.end, o.detail = endOf(err, false), err.Error()
		return false
	}
	return true
}

// echo sends the rest of what an upgraded connection is to carry, and reads
// what comes back.
func (v *visit) echo(o *outcome, written <-chan struct{}) {
	q := o.request
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		<-written
		rest := appendPattern(nil, q.ID, int64(q.EarlyUp), q.Size-q.EarlyUp)
		for len(rest) > 0 && !v.left.Load() {
			n := min(len(rest), 10_000)
			if _, err := v.conn.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		if v.HalfClose {
			v.closeWrite()
		}
	}()
	_, err := readBody(v.r, Length, int64(q.Size), &o.body)
	if err != nil {
		v.tcp.SetDeadline(time.Now()) // ends the writer
		o.end, o.detail = endOf(err, false), err.Error()
	} else {
		o.whole = true
	}
	<-sent
}
