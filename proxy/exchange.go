package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/memory"
	"serai/router"
	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// Exchange is one request and its answer, the same for every engine. The
// engine fills the first part and calls Proxy.Serve; Serve fills the second,
// which the engine only reads. It is used again for the next request.
type Exchange struct {
	// Head is the request. Its slices stay valid until Serve returns.
	Head wire.RequestHead
	// Body is the request's body, never nil.
	Body Body
	// Responder takes the answer.
	Responder Responder
	// Peer is the other end of the connection: the client, or a trusted
	// proxy. Local is ours.
	Peer, Local netip.AddrPort
	// PeerText is Peer's address as text, which is the same for all requests of a
	// connection; it is made for each where it is nil.
	PeerText []byte
	// Secure says that the request came over TLS, of which TLSVersion is the version,
	// and ServerName for which name the connection was opened, empty when the client
	// did not say.
	Secure     bool
	TLSVersion uint16
	ServerName string
	// Start is when the head was complete. Now is when the exchange last came
	// back from a wait, so that not everybody asks the clock; the engine makes it
	// Start.
	Start, Now time.Time
	// Shard is the same for requests that tend to share a core.
	Shard int
	// Memory is who the request's memory is taken for; nil for no limit.
	Memory *memory.Client

	// Client is the client's address: the peer's, or what a trusted proxy
	// said.
	Client netip.Addr
	// Route and Member served the request, nil when none did.
	Route  *router.Route
	Member *upstream.Member
	// Status is the answer's, 0 when there was none. Reason is the short code
	// of an answer of serai itself, or of an answer cut off.
	Status int
	Reason string
	// Check says that it asked for the ready path of serai itself.
	Check bool
	// Retries counts attempts after the first.
	Retries int
	// BytesIn and BytesOut count the bodies, in bytes.
	BytesIn, BytesOut int64
	// Queued is the time spent waiting for an instance, Connected the time of
	// the last connect, FirstByte the time from sending the request to the
	// first byte of the answer.
	Queued, Connected, FirstByte time.Duration
	// Gathered is the time spent waiting for a small body.
	Gathered time.Duration
	Upgraded bool
	// grpc is what an answer of gRPC says of how it went, and one; 0 where it says
	// nothing.
	grpc uint8

	forwarding
	attempt
}

// Body is the content of a request. wire.Body is one, but for Interrupt. One whose
// bytes may come over a plain socket is an upstream.Spliced, too.
type Body interface {
	// Next returns the next bytes, valid until the next call; io.EOF after
	// the clean end.
	Next() ([]byte, error)
	// Gather waits until a small body is here as a whole. It returns at once for
	// any other, and fails as Next does. It is called before Next.
	Gather() error
	// Holds returns how many bytes of memory the request takes.
	Holds() int64
	// Ready reports whether Next would return bytes without waiting.
	Ready() bool
	// Done reports whether the clean end has been seen.
	Done() bool
	// Trailers returns the trailer fields once the end has been seen.
	Trailers() []wire.Field
	// Interrupt makes a Next that waits in another goroutine fail, and all
	// after it.
	Interrupt()
}

// Responder is how an engine sends an answer. Errors mean that the client can
// no longer be reached: the exchange is over. It may be a PlainResponder and a
// Tunneler, too.
type Responder interface {
	// Interim sends a 1xx answer at once.
	Interim(h *wire.ResponseHead) error
	// Head starts the answer. Fields that are Dropped are not sent; the
	// engine adds framing and connection fields of its own. It may hold the
	// head back until Flush, but h is not valid any more when Head has returned.
	Head(h *wire.ResponseHead) error
	// Write sends bytes of the body, or holds them back until Flush. They are not
	// valid any more when it has returned.
	Write(p []byte) error
	// Flush sends what is held back.
	Flush() error
	// Finish ends the answer.
	Finish(trailers []wire.Field) error
	// Abort ends the answer so that the client sees that it was cut.
	Abort()
}

// PlainResponder is a Responder whose answer may go over a plain socket.
type PlainResponder interface {
	// Plain returns the client's connection where the body's bytes, once Flush
	// has been called, may be written to it as they are; nil where not.
	Plain() *socket.Conn
}

// Tunneler is a Responder that can become a tunnel.
type Tunneler interface {
	// Tunnel sends h, a 101, in the words of its protocol, and returns the client's
	// side. The engine reads and writes nothing until Serve has returned; it may end
	// the tunnel with EndTunnel.
	Tunnel(h *wire.ResponseHead) (upstream.Duplex, error)
}

// attempt is what another goroutine may ask of the exchange, to end it when
// the client has left.
type attempt struct {
	waiting socket.Moment // since when it waits, zero when it does not

	mu     sync.Mutex
	stream upstream.Stream // that carries the request, nil for none
	tunnel *tunnel         // that the exchange has become, nil for none
	left   bool            // the client has left
	// sized says that an answer whose length is known has begun.
	sized atomic.Bool
	gone  chan struct{} // closed when it has; made when somebody waits for it
}

// Wanted reports whether requests wait for a place at the instance that this one
// is sent to. It may be called by who reads the body.
func (x *Exchange) Wanted() bool { return x.Member != nil && x.Member.Endpoint.Wanted() }

// WaitingSince returns since when the exchange has been waiting for an
// instance or for its answer; zero when it is not.
func (x *Exchange) WaitingSince() time.Time {
	return x.waiting.Time()
}

// Sized reports whether an answer of a known length has begun: it will end, and
// is worth finishing for a client that has closed its sending side.
func (x *Exchange) Sized() bool { return x.sized.Load() }

// Cancel ends the exchange's wait because the client has left. It may be
// called from another goroutine.
func (x *Exchange) Cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left = true
	if x.stream != nil {
		x.stream.Interrupt()
	}
	if x.gone != nil {
		close(x.gone)
		x.gone = nil
	}
}

// CheckPath ends the attempt under way when the way to its instance is cut. It
// may be called from another goroutine.
func (x *Exchange) CheckPath() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stream != nil {
		x.stream.CheckPath()
	}
}

// hold notes the stream that Cancel is to interrupt, and reports whether the client
// is still there.
func (x *Exchange) hold(s upstream.Stream) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stream = s
	return !x.left
}

// letGo ends the wait for a stream, and reports whether the client is still there.
func (x *Exchange) letGo() bool {
	x.waiting.Clear()
	return x.hold(nil)
}

// whenGone returns a channel that is closed when the client leaves.
func (x *Exchange) whenGone() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	gone := make(chan struct{})
	if x.left {
		close(gone)
		return gone
	}
	x.gone = gone
	return gone
}

// Reset makes the exchange ready for the next request. No other goroutine knows it.
func (x *Exchange) Reset() {
	x.Client, x.Route, x.Member = netip.Addr{}, nil, nil
	x.Status, x.Reason, x.Check, x.Retries = 0, "", false, 0
	x.BytesIn, x.BytesOut = 0, 0
	x.Queued, x.Connected, x.FirstByte, x.Gathered, x.Upgraded = 0, 0, 0, 0, false
	x.grpc = 0
	x.waiting.Clear()
	x.sized.Store(false)
	x.stream, x.tunnel, x.left, x.gone = nil, nil, false, nil
	x.forwarding.reset()
}
