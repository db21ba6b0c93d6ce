package hello

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// closeTime is how long a WebSocket's client may take to answer a close.
const closeTime = time.Second

// events streams server-sent events: ?every=100ms&count=10. Without count it goes on
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
	count int // zero means endless
	sent  int
	tick  *time.Ticker
	rest  []byte // the unsent rest of the current event
}

// Read waits for the next event. The first one comes at once.
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

// next waits for the next event, until the stream is over or the client is gone. Gone
// is nil if the caller cannot know that.
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

// Close is called by fasthttp after the answer.
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
			conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(closeTime))
			conn.SetReadDeadline(time.Now().Add(closeTime))
		})
		defer func() {
			if !stop() {
				<-told // it must not use a connection that was returned
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
	if err != nil { // Upgrade has answered
		s.Logger.Debug("no websocket", "client", under.RemoteAddr().String(), "error", err)
	}
}
