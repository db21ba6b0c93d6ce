package proxy

import (
	"cmp"
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

// Exchange is one request and its answer, the same for every engine. The engine fills
// in the first part and calls Proxy.Serve. Serve fills in the second part, which the
// engine only reads. An Exchange is reused for the next request.
type Exchange struct {
	// Head is the request. Its slices stay valid until Serve returns.
	Head wire.RequestHead
	// Body is the request's body, never nil.
	Body Body
	// Responder takes the answer.
	Responder Responder
	// Peer is the other end of the connection: the client, or a trusted proxy. Local is
	// serai's end.
	Peer, Local netip.AddrPort
	// PeerText is Peer's address as text, which is the same for all requests of a
	// connection, as is PortText, Local's port. What is nil is made for each request.
	PeerText, PortText []byte
	// Secure says that the request came over TLS. TLSVersion is the version, and
	// ServerName the server name of the handshake, empty when the client sent none.
	Secure     bool
	TLSVersion uint16
	ServerName string
	// Start is when the head was complete. Now is when the exchange last returned from a
	// wait, so that the clock need not be read often. The engine sets it to Start.
	Start, Now time.Time
	// Shard is the same for requests that tend to run on the same core.
	Shard int
	// Memory is the client that the request's memory counts for; nil means no limit.
	Memory *memory.Client

	// Client is the client's address: the peer's, or the one that a trusted proxy names.
	Client netip.Addr
	// Route and Member served the request, nil when none did.
	Route  *router.Route
	Member *upstream.Member
	// Status is the answer's status, 0 when there was none. Reason is the short code
	// when serai answered itself or cut the answer off.
	Status int
	Reason string
	// Check says that the request was for serai's own ready path.
	Check bool
	// Retries counts attempts after the first.
	Retries int
	// BytesIn and BytesOut count the bytes of the two bodies.
	BytesIn, BytesOut int64
	// Queued is the time spent waiting for an instance, Connected the time that the last
	// connect took, FirstByte the time from sending the request to the first byte of the
	// answer.
	Queued, Connected, FirstByte time.Duration
	// Gathered is the time spent waiting for a small request body.
	Gathered time.Duration
	// serviceTime is the part of FirstByte that the instance took.
	serviceTime time.Duration
	Upgraded    bool
	// grpc is the gRPC status of the answer plus one; 0 when there is none.
	grpc uint8

	forwarding
	cancellation
}

// Body is the body of a request. A Body whose bytes may come over a plain socket is
// also an upstream.Spliced. It may be a Rewinder.
type Body interface {
	// Next returns the next bytes, which are valid until the next call, and io.EOF after
	// the proper end.
	Next() ([]byte, error)
	// Gather waits until a small body has arrived completely, and reports whether it had
	// to wait. For any other body it returns at once. It fails like Next, and is called
	// before Next.
	Gather() (waited bool, err error)
	// Holds returns how many bytes of memory the request uses.
	Holds() int64
	// Ready reports whether Next would return bytes without waiting.
	Ready() bool
	// Done reports whether the body has ended properly.
	Done() bool
	// Trailers returns the trailer fields, once the body has ended.
	Trailers() []wire.Field
	// Interrupt makes a Next that waits in another goroutine fail, and all later ones.
	Interrupt()
}

// Rewinder is a Body whose bytes may be read again, so that they can be sent again.
type Rewinder interface {
	// Rewind makes Next begin with the first byte again, and undoes Interrupt. It reports
	// whether that is possible. Nobody calls Next meanwhile.
	Rewind() bool
}

// Responder is how an engine sends an answer. An error means that the client cannot be
// reached any more, and the exchange is over. A Responder may also be a PlainResponder
// and a Tunneler.
type Responder interface {
	// Interim sends a 1xx answer at once.
	Interim(h *wire.ResponseHead) error
	// Head starts the answer. Dropped fields are not sent. The engine adds the framing
	// and connection fields. It may delay the head until Flush, but must not use h after
	// Head has returned.
	Head(h *wire.ResponseHead) error
	// Write sends bytes of the body, or buffers them until Flush. It must not keep p.
	Write(p []byte) error
	// Flush sends what is buffered.
	Flush() error
	// Finish ends the answer.
	Finish(trailers []wire.Field) error
	// Abort ends the answer in a way that shows the client that it is incomplete.
	Abort()
}

// PlainResponder is a Responder whose answer may be written directly to a plain socket.
type PlainResponder interface {
	// Plain returns the client's connection if, after Flush, the bytes of the body may
	// be written to it unchanged; otherwise nil.
	Plain() *socket.Conn
}

// Tunneler is a Responder that can become a tunnel.
type Tunneler interface {
	// Tunnel sends h, a 101, in the form of its protocol, and returns the client's side.
	// The engine reads and writes nothing until Serve has returned. It may end the
	// tunnel with EndTunnel.
	Tunnel(h *wire.ResponseHead) (upstream.Duplex, error)
}

// cancellation is what other goroutines use to end the exchange when the client has
// left.
type cancellation struct {
	// waiting is the start of the current wait; zero for none, and for the wait for the head
	// of the stream's answer, which began with the request: most requests have no other.
	waiting socket.Moment

	mu     sync.Mutex
	stream upstream.Stream // carries the request, nil for none
	tunnel *tunnel         // that the exchange has become, nil for none
	left   bool            // the client has left, or serai has cut it off
	cutFor string          // the code of the reason for which serai has, empty if it has not
	// sized says that an answer of known length has begun whose rest is still to come.
	sized atomic.Bool
	gone  chan struct{} // closed when the client leaves; made for whoever waits
}

// Wanted reports whether other requests wait for a place on the instance that serves
// this one. The goroutine that reads the body may call it.
func (x *Exchange) Wanted() bool { return x.Member != nil && x.Member.Endpoint.Wanted() }

// WaitingSince returns when the exchange began to wait for an instance or its answer;
// zero when it does not wait.
func (x *Exchange) WaitingSince() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if since := x.waiting.Time(); !since.IsZero() || x.stream == nil {
		return since
	}
	return x.Start
}

// Sized reports whether an answer of known length has begun whose rest is still to come. It
// is finished even for a client that has closed its sending side.
func (x *Exchange) Sized() bool { return x.sized.Load() }

// Cancel ends the exchange's wait because the client has left. Other goroutines may
// call it.
func (x *Exchange) Cancel() { x.end("") }

// CutOff ends the exchange's wait because serai ends its connection, for that reason. Other
// goroutines may call it.
func (x *Exchange) CutOff(r Reason) { x.end(r.Code()) }

func (x *Exchange) end(cutFor string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.left {
		x.left, x.cutFor = true, cutFor
	}
	if x.stream != nil {
		x.stream.Interrupt()
	}
	if x.gone != nil {
		close(x.gone)
		x.gone = nil
	}
}

// blameSelf corrects the reason of an exchange that serai has cut off. For what was waiting or
// writing then, it looked as if the client had left.
func (x *Exchange) blameSelf() {
	if x.Reason != ReasonClientGone.Code() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Reason = cmp.Or(x.cutFor, x.Reason)
}

// CheckPath ends the current attempt if the network path to its instance is lost. Other
// goroutines may call it.
func (x *Exchange) CheckPath() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stream != nil {
		x.stream.CheckPath()
	}
}

// holdStream records the stream that Cancel interrupts, and reports whether the client
// is still there.
func (x *Exchange) holdStream(s upstream.Stream) bool {
	x.mu.Lock()
	x.stream = s
	left := x.left
	x.mu.Unlock()
	return !left
}

// releaseStream ends the wait for a stream, and reports whether the client is still
// there.
func (x *Exchange) releaseStream() bool {
	x.waiting.Clear()
	return x.holdStream(nil)
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

// Reset prepares the exchange for the next request. No other goroutine may use it.
func (x *Exchange) Reset() {
	x.Client, x.Route, x.Member = netip.Addr{}, nil, nil
	x.Status, x.Reason, x.Check, x.Retries = 0, "", false, 0
	x.BytesIn, x.BytesOut = 0, 0
	x.Queued, x.Connected, x.FirstByte, x.Gathered, x.serviceTime, x.Upgraded = 0, 0, 0, 0, 0, false
	x.grpc = 0
	x.waiting.Clear()
	if x.sized.Load() {
		x.sized.Store(false)
	}
	x.stream, x.tunnel, x.left, x.cutFor, x.gone = nil, nil, false, "", nil
	x.forwarding.reset()
}
