package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const idleName = "memory of an idle connection"

// idleKind is the protocol of idle connections. Target is in bytes.
type idleKind struct {
	name       string
	secure, h2 bool
	target     float64
}

func idleKinds() []idleKind {
	return []idleKind{{target: 6 << 10}, {name: " with TLS", secure: true, target: 20 << 10}, {name: " with HTTP/2 over TLS", secure: true, h2: true, target: 20 << 10}}
}

// idle measures the memory of a connection that has had one request and is silent now,
// in a new process.
func (c *compareCommand) idle(ctx context.Context, kinds []found, s setting, k idleKind, r *report) error {
	name := idleName + k.name
	row := r.row(name)
	row.Unit, row.Limit = "bytes", k.target
	for i := range kinds {
		if k.secure && !kinds[i].kind.secure || k.h2 && !kinds[i].kind.h2 {
			continue
		}
		bytes, start, err := c.idleOf(ctx, &kinds[i], s, k)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", name, kinds[i].kind.name, err)
		}
		row.of(kinds[i].kind.name).Value = bytes
		if !k.secure {
			begun := r.row("memory after the start")
			begun.Unit, begun.Limit = "bytes", 30<<20
			begun.of(kinds[i].kind.name).Value = start
		}
		fmt.Fprintf(os.Stderr, "%-50s %-8s %8.0f bytes\n", name, kinds[i].kind.name, bytes)
	}
	return nil
}

func (c *compareCommand) idleOf(ctx context.Context, f *found, s setting, k idleKind) (each, start float64, err error) {
	p, err := startPeer(ctx, &f.kind, f.binary, s)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	time.Sleep(time.Second)
	before := p.usage().rss
	address := p.setting.Plain
	if k.secure {
		address = p.setting.Secure
	}
	conns, err := arrive(ctx, c.Idle, func(i int) (net.Conn, error) { return once(address, i, k) })
	if err != nil {
		conns.Close()
		return 0, 0, err
	}
	defer conns.Close()
	// Buffers that are given back need a collection of garbage to be free.
	time.Sleep(5 * time.Second)
	return float64(p.usage().rss-before) / float64(c.Idle), float64(before), nil
}

// once opens a connection and makes one request.
func once(address string, i int, k idleKind) (net.Conn, error) {
	d := dialer(i)
	c, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	asked := c
	if k.secure {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "web.loadtest"}
		if k.h2 {
			config.NextProtos = []string{http2.NextProtoTLS}
		}
		asked = tls.Client(c, config)
	}
	asked.SetDeadline(time.Now().Add(20 * time.Second))
	if k.h2 {
		return c, onceH2(asked)
	}
	if _, err := fmt.Fprint(asked, "GET /small HTTP/1.1\r\nHost: web.loadtest\r\n\r\n"); err != nil {
		return c, err
	}
	res, err := http.ReadResponse(bufio.NewReader(asked), nil)
	if err != nil {
		return c, err
	}
	if res.StatusCode != http.StatusOK {
		return c, fmt.Errorf("status %d", res.StatusCode)
	}
	return c, nil
}

// onceH2 makes one request over HTTP/2. It keeps no state, because the client is not
// measured.
func onceH2(c net.Conn) error {
	var block bytes.Buffer
	fields := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "web.loadtest"}, {":path", "/small"}} {
		fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	framer := http2.NewFramer(c, c)
	_, err := io.WriteString(c, http2.ClientPreface)
	if err := errors.Join(err, framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	})); err != nil {
		return err
	}
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				if err := framer.WriteSettingsAck(); err != nil {
					return err
				}
			}
		case *http2.HeadersFrame:
			// The first field is :status, 200 an entry of the static table (RFC 7541 appendix A).
			if b := f.HeaderBlockFragment(); len(b) == 0 || b[0] != 0x88 && !bytes.Contains(b[:min(len(b), 3)], []byte{0x88}) {
				return errors.New("the status is not 200")
			}
			if f.StreamEnded() {
				return nil
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return fmt.Errorf("answered with %v", f)
		}
	}
}
