// Package testhttp2 answers: what do hostile clients do over HTTP/2?
package testhttp2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Peer is a client with the library's codec, which knows nothing of serai's. It may send
// what no client may.
type Peer struct {
	*http2.Framer
	Conn  net.Conn
	host  string
	block bytes.Buffer
	enc   *hpack.Encoder
}

// NewPeer begins a connection to serai, for requests to host.
func NewPeer(c net.Conn, host string, settings ...http2.Setting) *Peer {
	p := &Peer{Framer: http2.NewFramer(c, c), Conn: c, host: host}
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(c, http2.ClientPreface)
	p.WriteSettings(settings...)
	return p
}

// Fields makes a block: pairs of names and values behind a GET of path.
func (p *Peer) Fields(path string, more ...string) []byte {
	return p.Block(append([]string{":method", "GET", ":scheme", "http", ":authority", p.host, ":path", path}, more...)...)
}

// Block makes a block of pairs of names and values. It is valid until the next one.
func (p *Peer) Block(all ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(all); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return p.block.Bytes()
}

// Get opens a stream with a whole request.
func (p *Peer) Get(id uint32, path string) error {
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.Fields(path), EndHeaders: true, EndStream: true})
}

// Post opens one whose body is to come.
func (p *Peer) Post(id uint32, path string, more ...string) error {
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.Fields(path, more...), EndHeaders: true})
}

// Answer is what a stream is answered.
type Answer struct {
	Status string // behind it fields whose name begins with grpc-
	Body   string
	Code   http2.ErrCode // of RST_STREAM
	Whole  bool          // it has ended well
}

// Answer reads the answer to a stream.
func (p *Peer) Answer(id uint32) (a Answer, err error) {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return a, err
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			return a, fmt.Errorf("GOAWAY: %v %s", g.ErrCode, g.DebugData())
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			a.Code = f.ErrCode
			return a, nil
		case *http2.MetaHeadersFrame:
			a.add(f)
			a.Whole = f.StreamEnded()
		case *http2.DataFrame:
			a.Body += string(f.Data())
			a.Whole = f.StreamEnded()
		}
		if a.Whole {
			return a, nil
		}
	}
}

func (a *Answer) add(f *http2.MetaHeadersFrame) {
	if s := f.PseudoValue("status"); s != "" {
		a.Status = s
	}
	for _, field := range f.RegularFields() {
		if strings.HasPrefix(field.Name, "grpc-") {
			a.Status += " " + field.Name + "=" + field.Value
		}
	}
}

// End reads up to the end of the connection, and returns the code of a GOAWAY that is an
// error: it may be lost in a reset where the peer still sends. An error says that the
// connection goes on.
func (p *Peer) End() (code http2.ErrCode, detail string, err error) {
	for {
		f, err := p.ReadFrame()
		var late net.Error
		var ofStream http2.StreamError
		switch {
		case err == nil:
		case errors.As(err, &ofStream):
			continue
		case errors.As(err, &late) && late.Timeout():
			return code, detail, err
		default:
			return code, detail, nil
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != 0 {
			code, detail = g.ErrCode, string(g.DebugData())
		}
	}
}
