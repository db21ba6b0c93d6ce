package hello

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// farewell is how long a WebSocket's client has to answer that we close.
const farewell = time.Second

// events streams server-sent events: ?every=100ms&count=10, without count
// until the client leaves or the service stops.
func (s *service) events(c *fasthttp.RequestCtx) {
	c.SetContentType("text/event-stream")
	c.Response.Header.Set("Cache-Control", "no-store")
	every := duration(c, "every", 100*time.Millisecond, time.Millisecond)
	c.SetBodyStream(&eventStream{service: s, count: c.QueryArgs().GetUintOrZero("count"), tick: time.NewTicker(every)}, -1)
}

// eventStream is the body of /sse: one chunk for each event.
// See https://html.spec.whatwg.org/multipage/server-sent-events.html
type eventStream struct {
	*service
	count int // zero is endless
	sent  int
	tick  *time.Ticker
	rest  []byte // of the event that is sent
}

// Read waits for the next event, but not for the first.
func (e *eventStream) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		if err := e.next(nil); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// next waits for the next event, until the stream is over or the client gone; who
// cannot know of that says nil.
func (e *eventStream) next(gone <-chan struct{}) error {
	endless := e.count == 0
	if !endless && e.sent == e.count {
		return io.EOF
	}
	var stopping <-chan struct{}
	if endless {
		stopping = e.stopping.Done()
	}
	if e.sent > 0 {
		select {
		case <-e.tick.C:
		case <-stopping:
			return io.EOF
		case <-e.over.Done():
			return io.ErrUnexpectedEOF
		case <-gone:
			return io.ErrUnexpectedEOF
		}
	}
	e.sent++
	e.rest = fmt.Appendf(nil, "id: %d\ndata: %s %s\n\n", e.sent, e.Name, e.Alloc)
	return nil
}

// Close is called by fasthttp when the answer has ended.
func (e *eventStream) Close() error {
	e.tick.Stop()
	return nil
}

// webSocket echoes messages until the client closes or the service stops.
func (s *service) webSocket(c *fasthttp.RequestCtx) {
	under := c.Conn()
	err := s.upgrader.Upgrade(c, func(conn *websocket.Conn) {
		defer s.conns.remove(under)
		told := make(chan struct{})
		stop := context.AfterFunc(s.stopping, func() {
			defer close(told)
			bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "stopping")
			conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(farewell))
			conn.SetReadDeadline(time.Now().Add(farewell))
		})
		defer func() {
			if !stop() {
				<-told // it must not use a connection that is given back
			}
		}()
		conn.SetReadLimit(maxBody)
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
	if err != nil { // it is answered
		s.Logger.Debug("no websocket", "client", under.RemoteAddr().String(), "error", err)
	}
}
