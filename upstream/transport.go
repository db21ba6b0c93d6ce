package upstream

import (
	"net"
	"net/netip"
	"time"

	"serai/internal/memory"
	"serai/wire"
	"serai/wire/socket"
)

// Transport speaks the protocol of one Endpoint's instance. It knows nothing of routes,
// retries or clients. Its methods may be called concurrently.
type Transport interface {
	// RoundTrip sends one request and waits for the head of its final answer.
	//
	// Without a failure, a.Stream brings the rest of the answer, and the caller must
	// End it. After a failure, nothing of the request goes on: no goroutine uses r.Body
	// any more, and the transport has already reported a failed connect or a lost
	// network path to the Endpoint.
	RoundTrip(r *Request, a *Answer) *Failure
	// Keep takes ownership of a connection that a probe has made.
	Keep(c net.Conn)
	// Sweep closes connections that have been idle for too long. The Registry calls it
	// every second.
	Sweep(now time.Time)
	// CloseIdle closes at most that many of the connections that have been idle since
	// before, the oldest first, and returns how many it closed.
	CloseIdle(before time.Time, most int) (closed int)
	// Status describes the connections.
	Status() TransportStatus
}

// TransportStatus describes a Transport's connections at one moment.
type TransportStatus struct {
	// Idle is the number of idle connections.
	Idle int
	// ClosesIdle is the age at which the instance was seen to close idle connections; 0
	// when unknown.
	ClosesIdle time.Duration
}

// Keeping limits what a Transport keeps.
type Keeping struct {
	// Timeout is how long an idle connection may wait for any request. Repeatable is how
	// long it may wait for one that may be repeated, no less than Timeout: if the instance
	// closes the connection just then, the request is sent again. Only HTTP/1 needs it: with
	// HTTP/2 an instance says which requests it has not read (GOAWAY).
	Timeout, Repeatable time.Duration
	// Most is how many idle connections are kept; negative for none.
	Most int
}

// Request is what one attempt sends. The caller makes it; except for Scratch it does
// not change until the attempt is over.
type Request struct {
	Head *wire.OutgoingRequest
	// Body is the rest of the body after First, which has arrived with the head, both
	// without framing. Complete says that First is the whole body.
	Body     RequestBody
	First    []byte
	Complete bool
	// Host is the client's name for the service: with TLS the name of the instance if
	// its Target has none.
	Host []byte
	// Client is sent to the instance if its Target wants it (PROXY protocol). Memory is
	// the client whose share a large buffer for the answer is taken from; nil for no limit.
	Client netip.AddrPort
	Memory *memory.Client
	// Check says that the request is a probe, which tests the endpoint and not a
	// connection: it gets a new connection, and has no client.
	Check bool
	// Fresh asks for a new connection, because the last attempt has failed.
	Fresh bool
	// Repeatable says that the request may be sent again if its connection ends without
	// an answer, though the instance may have processed it.
	Repeatable bool
	// Now is the time. Connect bounds the connect; Answer bounds each wait for the
	// answer's head once the whole request has left.
	Now             time.Time
	Connect, Answer time.Duration
	Bounds          *Bounds
	Caller          Caller
	// Scratch is memory in which the transport can write the head. It is kept from
	// request to request.
	Scratch []byte
}

// Bounds are the limits of all requests.
type Bounds struct {
	// Head bounds an answer's head, Interim the number of 1xx answers before it.
	Head    wire.Limits
	Interim int
	// WriteIdle bounds each wait for the instance to accept more.
	WriteIdle time.Duration
	// Splice moves large bodies within the kernel if both sides can.
	Splice bool
}

// RequestBody is a request's body for a Transport to pull, also from another goroutine.
type RequestBody interface {
	// Next returns the next bytes, which are valid until the next call, and io.EOF after
	// the proper end. Any other error is the caller's, and ends the attempt with FailedBody.
	Next() ([]byte, error)
	// Done reports whether the body has ended properly.
	Done() bool
	// Trailers returns the trailer fields, once Done.
	Trailers() []wire.Field
	// Interrupt makes a Next that waits in another goroutine fail, and all later ones.
	Interrupt()
}

// Spliced is a body, of a request or of an answer, that may come from a plain socket.
type Spliced interface {
	// Plain reports whether it does.
	Plain() bool
	// Pull moves the next bytes into p, and returns how many. If it returns none and no
	// error, Next has them.
	Pull(p *socket.Pipe) (int, error)
}

// Caller is the sender of a request, which a Transport calls back.
type Caller interface {
	// Hold is called before any byte of the request leaves: s is about to carry it, and
	// from now on other goroutines may interrupt s. It reports whether the request is
	// still wanted.
	Hold(s Stream) bool
	// Interim gets a 1xx answer, which is valid until it returns. An error means that
	// the request is no longer wanted.
	Interim(h *wire.ResponseHead) error
	// Panicked gets a panic that was recovered in a goroutine of the transport, and
	// returns the error with which the body fails.
	Panicked(cause any) error
}

// Answer is the instance's answer. It is reused for the next request.
type Answer struct {
	// Head has the end-to-end fields; hop-by-hop fields are Dropped. It is valid until
	// the Stream is read. Status is 101 when the instance has switched to the requested
	// protocol: then the Stream is a Tunneler.
	Head   wire.ResponseHead
	Stream Stream
	// Now is when the transport last returned from a wait. Connected is the time of the
	// connect, 0 for none; FirstByte the time from sending the request to the first
	// byte of an answer, 0 for none. ServiceTime is the part of it that the instance took,
	// without the time in which more of the request's body came.
	Now                               time.Time
	Connected, FirstByte, ServiceTime time.Duration
}

// Stream carries one request and its answer. Other goroutines may call Interrupt and
// CheckPath from Hold on and until End; later calls have no effect.
type Stream interface {
	// Next returns the next bytes of the answer's body, at least one, which are valid until
	// the next call, and io.EOF after the proper end.
	Next() ([]byte, error)
	// Ready reports whether Next would return bytes without waiting.
	Ready() bool
	// Done reports whether the body has ended properly.
	Done() bool
	// Trailers returns the trailer fields, once Done.
	Trailers() []wire.Field
	// ReadWithin bounds the next wait for more, from now on.
	ReadWithin(now time.Time, d time.Duration)
	// End stops everything that is still running, and returns the time. Whole says that
	// the answer was read to its end: then the connection may be used again, if the
	// whole request was sent, too, and the instance has not said otherwise.
	End(whole bool) time.Time
	// Interrupt makes waiting calls fail, and all later ones.
	Interrupt()
	// CheckPath interrupts the Stream if the network path to the instance is cut, that
	// is, if the instance does not acknowledge what it is sent.
	CheckPath()
}

// Tunneler is a Stream that can become a tunnel after a 101.
type Tunneler interface {
	// Tunnel returns the instance's side. The caller no longer Holds the Stream. It
	// fails if the stream was interrupted before.
	Tunnel() (Duplex, *Failure)
}

// Duplex is one side of a tunnel: bytes in both directions. One goroutine reads and one
// writes; others may call Interrupt.
type Duplex interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// ReadWithin and WriteWithin bound the next waits: they fail with
	// os.ErrDeadlineExceeded after now plus d, or a bit later.
	ReadWithin(now time.Time, d time.Duration)
	WriteWithin(now time.Time, d time.Duration)
	// CloseWrite tells the other end that no more comes; it may still send. It fails
	// with io.EOF if only both directions can be closed.
	CloseWrite() error
	// Interrupt makes waiting reads and writes fail, and all later ones.
	Interrupt()
	// Abort shows the other end that the tunnel was cut. Nobody reads or writes any
	// more.
	Abort()
}

// noTransport is the transport of a registry without a Transport function, for tables
// that serve no requests.
type noTransport struct{}

var _ Transport = noTransport{}

func (noTransport) RoundTrip(*Request, *Answer) *Failure {
	return &Failure{Kind: FailedConnect, Processing: NotSent, Err: ErrConnect}
}
func (noTransport) Keep(c net.Conn)              { c.Close() }
func (noTransport) Sweep(time.Time)              {}
func (noTransport) CloseIdle(time.Time, int) int { return 0 }
func (noTransport) Status() TransportStatus      { return TransportStatus{} }
