package http2_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/internal/testhttp2"
	engine "serai/proxy/http2"
)

// state is what a stream is at, as its client knows it.
type state int

const (
	idle state = iota
	open
	halfClosed // the client has ended its side
	spoilt     // reset, or to be: what becomes of it is not foretold
)

// client is one that sends frames as a string of bytes says, each of which is legal where
// its stream is, but for the last one perhaps.
type client struct {
	program []byte
	out     bytes.Buffer
	f       *http2.Framer
	block   bytes.Buffer
	enc     *hpack.Encoder
	states  map[uint32]state
	sent    map[uint32][]byte
	last    uint32
	total   int
	fault   map[http2.ErrCode]bool // what the connection is to end with, nil for nothing
}

func (c *client) next() int {
	if len(c.program) == 0 {
		return 0
	}
	b := c.program[0]
	c.program = c.program[1:]
	return int(b)
}

// pick picks a stream in a state, 0 where there is none.
func (c *client) pick(in ...state) uint32 {
	n := c.next()
	for i := range c.last {
		id := (uint32(n)+i)%c.last + 1
		for _, s := range in {
			if id%2 == 1 && c.states[id] == s && s != idle {
				return id
			}
		}
	}
	return 0
}

func (c *client) fields(pairs ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return c.block.Bytes()
}

// head sends a block in as many frames as the program says.
func (c *client) head(id uint32, end bool, block []byte) {
	n := c.next()
	first := min(len(block), n)
	if n > 100 {
		first = len(block)
	}
	p := http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:first], EndStream: end, EndHeaders: first == len(block)}
	if n%3 == 1 {
		p.PadLength = uint8(n)
	}
	if n%5 == 1 {
		p.Priority = http2.PriorityParam{StreamDep: id + 2, Weight: 1}
	}
	c.f.WriteHeaders(p)
	for block = block[first:]; !p.EndHeaders; {
		size := min(len(block), 1+n%20)
		p.EndHeaders = size == len(block)
		c.f.WriteContinuation(id, p.EndHeaders, block[:size])
		block = block[size:]
	}
}

// step sends what the next bytes say, and reports whether there may be more.
func (c *client) step() bool {
	const most = 60_000 // which no window is in the way of
	switch op := c.next() % 16; op {
	case 0, 1, 2: // a request
		c.last += 2 * uint32(1+c.next()%2)
		if c.last%2 == 0 {
			c.last--
		}
		id, end := c.last, op == 0
		c.states[id] = open
		more := []string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path", "/" + strconv.Itoa(c.next())}
		if end {
			c.states[id] = halfClosed
		} else if op == 2 {
			more = append(more, "priority", "u="+strconv.Itoa(c.next()%9))
		}
		c.head(id, end, c.fields(more...))
	case 3, 4, 5: // some of its body
		id := c.pick(open)
		size, pad := c.next()*10, c.next()
		if id == 0 || c.total+size+pad+1 > most {
			return true
		}
		c.total += size + pad + 1
		data := bytes.Repeat([]byte{byte(size)}, size)
		c.sent[id] = append(c.sent[id], data...)
		if op == 5 {
			c.states[id] = halfClosed
		}
		if pad > 200 {
			c.f.WriteDataPadded(id, op == 5, data, make([]byte, pad))
		} else {
			c.f.WriteData(id, op == 5, data)
		}
	case 6: // trailers
		if id := c.pick(open); id != 0 {
			c.states[id] = halfClosed
			c.head(id, true, c.fields("x-trailer", "1"))
		}
	case 7:
		if id := c.pick(open, halfClosed, spoilt); id != 0 {
			c.states[id] = spoilt
			c.f.WriteRSTStream(id, http2.ErrCodeCancel)
		}
	case 8:
		if id := c.pick(open, halfClosed, spoilt); id != 0 {
			c.f.WriteWindowUpdate(id, uint32(1+c.next()))
		}
		c.f.WriteWindowUpdate(0, uint32(1+c.next()))
	case 9:
		c.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(65535 + c.next())}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(c.next())})
	case 10:
		c.f.WritePing(false, [8]byte{1})
	case 11:
		c.f.WritePriority(uint32(1+c.next()), http2.PriorityParam{StreamDep: 1000})
		c.f.WritePriorityUpdate(uint32(1+c.next()), "u=1, i")
	case 12:
		c.f.WriteRawFrame(http2.FrameType(0x20+c.next()%100), http2.Flags(c.next()), uint32(c.next()), make([]byte, c.next()))
	case 13: // faults of a stream
		if id := c.pick(halfClosed); id != 0 {
			c.states[id] = spoilt
			c.f.WriteData(id, true, []byte("x"))
		} else if id := c.pick(open); id != 0 {
			c.states[id] = spoilt
			c.f.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4))
		}
	case 14:
		return c.fail()
	}
	return len(c.program) > 0
}

// fail sends what ends the connection, if there is a stream for it.
func (c *client) fail() bool {
	codes := func(all ...http2.ErrCode) {
		c.fault = make(map[http2.ErrCode]bool)
		for _, code := range all {
			c.fault[code] = true
		}
	}
	idle := (c.last + 2) | 1
	switch c.next() % 9 {
	case 0:
		c.f.WriteData(idle, true, nil)
		codes(http2.ErrCodeProtocol)
	case 1:
		c.f.WriteRSTStream(idle, 0)
		codes(http2.ErrCodeProtocol)
	case 2:
		c.f.WriteWindowUpdate(idle, 1)
		codes(http2.ErrCodeProtocol)
	case 3:
		c.head(idle+1, true, c.fields(":method", "GET"))
		codes(http2.ErrCodeProtocol)
	case 4: // closed, in whichever way
		id := c.pick(halfClosed)
		if id == 0 {
			return true
		}
		c.head(id, true, c.fields("x", "y"))
		codes(http2.ErrCodeStreamClosed)
	case 5:
		c.f.WriteHeaders(http2.HeadersFrameParam{StreamID: idle, BlockFragment: c.fields(":method", "GET")})
		c.f.WritePing(false, [8]byte{})
		codes(http2.ErrCodeProtocol)
	case 6:
		c.f.WriteContinuation(1, true, nil)
		codes(http2.ErrCodeProtocol)
	case 7:
		c.f.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, c.next()%8))
		codes(http2.ErrCodeFrameSize)
	case 8:
		c.f.WriteWindowUpdate(0, 1<<31-1)
		codes(http2.ErrCodeFlowControl)
	}
	return false
}

// FuzzStreams has a client send any program of frames in pieces. Where all are legal each
// whole request is answered with what was sent, whatever becomes of others; where the
// connection is to end it does, with the right code.
func FuzzStreams(f *testing.F) {
	k := newStack(f, engine.Options{Resets: 1000, Controls: 1000}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			w.Write(body)
		}
	})
	f.Add([]byte{0, 0, 7, 200, 1, 1, 9, 30, 3, 0, 100, 0, 5, 1, 9, 250, 10, 6, 1}, uint8(3))
	f.Add([]byte{1, 0, 1, 5, 2, 1, 2, 3, 1, 4, 0, 50, 201, 6, 0, 3, 5, 1, 1, 1, 14, 4, 1}, uint8(0))
	f.Add([]byte{2, 1, 1, 1, 1, 7, 1, 8, 0, 9, 9, 9, 9, 10, 11, 1, 1, 12, 1, 1, 1, 1, 14, 5}, uint8(20))
	f.Add([]byte{0, 0, 7, 200, 13, 0, 0, 0, 7, 200, 14, 0}, uint8(100))
	f.Fuzz(func(t *testing.T, program []byte, piece uint8) {
		if len(program) > 600 {
			return
		}
		c := &client{program: program, states: make(map[uint32]state), sent: make(map[uint32][]byte)}
		c.f = http2.NewFramer(&c.out, nil)
		c.f.AllowIllegalWrites = true
		c.enc = hpack.NewEncoder(&c.block)
		for len(c.program) > 0 && c.step() && len(c.states) < 100 {
		}
		nc, err := net.Dial("tcp", k.address)
		if err != nil {
			t.Skip(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(long))
		p := testhttp2.NewPeer(nc, "a.test")
		go func() {
			b := c.out.Bytes()
			for len(b) > 0 {
				n := min(len(b), 1+int(piece)*20)
				if _, err := nc.Write(b[:n]); err != nil {
					return
				}
				b = b[n:]
			}
			if c.fault == nil {
				p.WritePing(false, [8]byte{'e', 'n', 'd'})
			}
		}()
		c.hold(t, p)
		nc.Close()
		until(t, "the end of all streams", func() bool { return k.engine.Status().Streams == 0 })
	})
}

// hold holds what comes back to what the client has sent.
func (c *client) hold(t *testing.T, p *testhttp2.Peer) {
	wanted, got, ended := 0, make(map[uint32][]byte), false
	for _, s := range c.states {
		if s == halfClosed {
			wanted++
		}
	}
	over := func(id uint32, whole bool) {
		if c.states[id] != halfClosed {
			return
		}
		if c.states[id] = spoilt; c.fault == nil && (!whole || !bytes.Equal(got[id], c.sent[id])) {
			t.Fatalf("stream %d ends with %d bytes, whole %v; %d were sent", id, len(got[id]), whole, len(c.sent[id]))
		}
		wanted--
	}
	for c.fault != nil || wanted > 0 || !ended {
		f, err := p.ReadFrame()
		if e, late := err.(net.Error); late && e.Timeout() {
			t.Fatalf("%d requests are not answered, ended %v, the connection is to end %v", wanted, ended, c.fault)
		}
		if err != nil && c.fault == nil {
			t.Fatalf("the connection ends: %v", err)
		}
		if err != nil {
			t.Fatalf("the connection ends without a reason: %v", err)
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if !c.fault[f.ErrCode] {
				t.Fatalf("it ends with %v %s, want %v", f.ErrCode, f.DebugData(), c.fault)
			}
			return
		case *http2.PingFrame:
			ended = ended || f.IsAck() && f.Data[0] == 'e'
		case *http2.DataFrame:
			got[f.StreamID] = append(got[f.StreamID], f.Data()...)
			if f.StreamEnded() {
				over(f.StreamID, true)
			}
		case *http2.MetaHeadersFrame:
			if f.StreamEnded() {
				over(f.StreamID, true)
			}
		case *http2.RSTStreamFrame:
			over(f.StreamID, false)
		}
	}
}
