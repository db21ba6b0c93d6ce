package main

import (
	"context"
	"io"
	"net"
	"strings"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// originCommand is the origin of the comparison: /small, /64k and /10m answer with that
// size, /json with 64 KiB of JSON, uploads with "ok", and WebSocket messages with
// themselves. gRPC calls have an address of their own.
type originCommand struct {
	Addr string `arg:"" help:"HOST:PORT to listen on."`
	GRPC string `name:"grpc" help:"HOST:PORT to answer calls of gRPC on, over HTTP/2 without TLS." placeholder:"HOST:PORT"`
}

// Run serves until ctx ends.
func (o *originCommand) Run(ctx context.Context) error {
	if o.GRPC != "" {
		stop, err := serveGRPC(o.GRPC)
		if err != nil {
			return err
		}
		defer stop()
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return err
	}
	bodies := map[string][]byte{"/64k": body(64 << 10), "/10m": body(10 << 20)}
	small, document := body(128), jsonDocument(64<<10)
	upgrader := websocket.FastHTTPUpgrader{CheckOrigin: func(*fasthttp.RequestCtx) bool { return true }}
	server := &fasthttp.Server{
		StreamRequestBody: true, NoDefaultServerHeader: true, MaxRequestBodySize: 1 << 30,
		Handler: func(c *fasthttp.RequestCtx) {
			if websocket.FastHTTPIsWebSocketUpgrade(c) {
				upgrader.Upgrade(c, echo)
				return
			}
			if c.IsPost() {
				io.Copy(io.Discard, c.RequestBodyStream())
				c.SetBodyString("ok")
				return
			}
			if string(c.Path()) == "/json" {
				c.SetContentType("application/json")
				c.Response.SetBodyRaw(document)
				return
			}
			b, ok := bodies[string(c.Path())]
			if !ok {
				b = small
			}
			c.SetContentType("application/octet-stream")
			c.Response.SetBodyRaw(b)
		},
	}
	context.AfterFunc(ctx, func() { server.Shutdown() })
	return server.Serve(l)
}

func body(size int) []byte { return []byte(strings.Repeat("serai's\n", size/8)) }

func echo(c *websocket.Conn) {
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, message); err != nil {
			return
		}
	}
}
