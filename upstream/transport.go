package upstream

import (
	"net"
	"net/netip"
	"time"

	"serai/internal/memory"
	"serai/wire"
	"serai/wire/socket"
)

// Transport is how one Endpoint's instance is spoken to. It knows nothing of
// routes, retries or clients. Its methods may be called at the same time.
type Transport interface {
	// RoundTrip sends one request and waits for the head of its final answer.
	//
	// Without a failure, a.Stream brings the rest of the answer, and the caller
	// must End it. With one, nothing of the request goes on: no goroutine uses
	// r.Body any more. What is known of a connection that could not be made, or
	// whose way is cut, the transport has told the Endpoint.
	RoundTrip(r *Request, a *Answer) *Failure
	// Keep takes a connection that a probe has made, and owns it.
	Keep(c net.Conn)
	// Sweep closes connections that have been unused for too long. The Registry
	// calls it every second.
	Sweep(now time.Time)
	// CloseIdle closes so many of the connections that have been unused since
	// before, the oldest first, and returns how many it closed.
	CloseIdle(before time.Time, most int) (closed int)
	// Status returns what is known of the connections.
	Status() TransportStatus
}

// TransportStatus is what is known of a Transport's connections at one moment.
type TransportStatus struct {
	// Idle is how many are kept unused.
	Idle int
	// ClosesIdle is after how long the instance was seen to close unused ones; 0
	// when it was not.
	ClosesIdle time.Duration
}

// Keeping bounds what a Transport keeps.
type Keeping struct {
	// Timeout is for how long an unused connection is kept. Most is how many are;
	// negative for none.
	Timeout time.Duration
	Most    int
}

// Request is what one attempt sends. The caller makes it; it stays as it is until
// the attempt is over, but for Scratch.
type Request struct {
	Head *wire.OutgoingRequest
	// Body is all of the body but First, which has come with the head, as it is
	// without framing. Complete says that First is all.
	Body     RequestBody
	First    []byte
	Complete bool
	// Host is what the client calls the service: over TLS the name of the instance
	// where its Target has none.
	Host []byte
	// Client is told to the instance where its Target asks for that. Memory is who a
	// large buffer for the answer is taken for; nil for no limit.
	Client netip.AddrPort
	Memory *memory.Client
	// Check says that it is a probe's, which learns about the endpoint and not about a
	// connection: it has one of its own, and is no client's.
	Check bool
	// Fresh asks for a connection that has not been idle: the last one failed.
	Fresh bool
	// Now is the time. Connect bounds the making of a connection; Answer each wait
	// for the answer's head once all of the request has left.
	Now             time.Time
	Connect, Answer time.Duration
	Bounds          *Bounds
	Caller          Caller
	// Scratch is memory for the transport to write the head in. It is kept from
	// request to request.
	Scratch []byte
}

// Bounds are the same for all requests.
type Bounds struct {
	// Head bounds an answer's head, Interim the 1xx answers before it.
	Head    wire.Limits
	Interim int
	// WriteIdle bounds each wait for the instance to take more.
	WriteIdle time.Duration
	// Splice has large bodies moved within the kernel where both sides can.
	Splice bool
}

// RequestBody is a request's body for a Transport to pull, in a goroutine of its
// own if it likes.
type RequestBody interface {
	// Next returns the next bytes, valid until the next call; io.EOF after the clean
	// end. Any other error is the caller's, and ends the attempt with FailedBody.
	Next() ([]byte, error)
	// Done reports whether the clean end has been seen.
	Done() bool
	// Trailers returns the trailer fields once it has.
	Trailers() []wire.Field
	// Interrupt makes a Next that waits in another goroutine fail, and all after it.
	Interrupt()
}

// Spliced is a body, of a request or of an answer, that may come over a plain
// socket.
type Spliced interface {
	// Plain reports whether it does.
	Plain() bool
	// Pull moves the next bytes into p, and returns how many. Where it returns none
	// and no error, Next has them.
	Pull(p *socket.Pipe) (int, error)
}

// Caller is whose request a Transport sends.
type Caller interface {
	// Hold tells that s is about to carry the request, before any byte of it leaves:
	// from now on other goroutines may interrupt s. It reports whether the request is
	// still wanted.
	Hold(s Stream) bool
	// Interim takes a 1xx answer, which is valid until it returns. An error means
	// that the request is not wanted any more.
	Interim(h *wire.ResponseHead) error
	// Panicked is told of a panic in a goroutine of the transport's, where it was
	// recovered, and returns the error that the body has failed with.
	Panicked(cause any) error
}

// Answer is what came back. It is used again for the next request.
type Answer struct {
	// Head has the fields that are from end to end; those of the connection are
	// Dropped. It is valid until the Stream is read. Status is 101 when the instance
	// speaks the protocol asked for: then the Stream is a Tunneler.
	Head   wire.ResponseHead
	Stream Stream
	// Now is when the transport last came back from a wait. Connected is the time
	// that making a connection took, 0 where none was made; FirstByte the time from
	// sending the request to the first byte of an answer, 0 where none came.
	Now                  time.Time
	Connected, FirstByte time.Duration
}

// Stream carries one request and its answer. Interrupt and CheckPath may be called
// by other goroutines, from Hold on and until End, and harm nobody later.
type Stream interface {
	// Next returns the next bytes of the answer's body, at least one, valid until the
	// next call; io.EOF after the clean end.
	Next() ([]byte, error)
	// Ready reports whether Next would return bytes without waiting.
	Ready() bool
	// Done reports whether the clean end has been seen.
	Done() bool
	// Trailers returns the trailer fields once it has.
	Trailers() []wire.Field
	// ReadWithin bounds the next wait for more, from now on.
	ReadWithin(now time.Time, d time.Duration)
	// End ends all that is under way, and returns when that was. Whole says that the
	// answer was read to its end: what carried it may then be used again, if
	// the request has left whole, too, and the instance has not said otherwise.
	End(whole bool) time.Time
	// Interrupt makes what waits fail, and all that follows.
	Interrupt()
	// CheckPath interrupts where the way to the instance is cut: it does not
	// acknowledge what it is sent.
	CheckPath()
}

// Tunneler is a Stream that can become a tunnel after a 101.
type Tunneler interface {
	// Tunnel returns the instance's side. Nobody holds the Stream any more. It fails
	// where the stream was interrupted while somebody did.
	Tunnel() (Duplex, *Failure)
}

// Duplex is one side of a tunnel: bytes both ways. One goroutine reads and one
// writes; Interrupt may be called by others.
type Duplex interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// ReadWithin and WriteWithin bound the next waits: they fail with
	// os.ErrDeadlineExceeded so long after now, or a bit later.
	ReadWithin(now time.Time, d time.Duration)
	WriteWithin(now time.Time, d time.Duration)
	// CloseWrite tells the other end that no more comes; it may go on sending. It
	// fails with io.EOF where only both ways can be closed.
	CloseWrite() error
	// Interrupt makes reads and writes that wait fail, and all that follow.
	Interrupt()
	// Abort has the other end see that the tunnel was cut. Nobody reads or writes
	// any more.
	Abort()
}

// noTransport is the transport of a registry that was given none: for tables that
// nobody sends requests by.
type noTransport struct{}

var _ Transport = noTransport{}

func (noTransport) RoundTrip(*Request, *Answer) *Failure {
	return &Failure{Kind: FailedConnect, Processing: NotSent, Err: ErrConnect}
}
func (noTransport) Keep(c net.Conn)              { c.Close() }
func (noTransport) Sweep(time.Time)              {}
func (noTransport) CloseIdle(time.Time, int) int { return 0 }
func (noTransport) Status() TransportStatus      { return TransportStatus{} }
