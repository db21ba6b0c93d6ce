package proxy

import (
	"testing"

	"serai/router"
	"serai/wire"
)

// TestMediaTypes: what is gRPC is the same to all who ask: of a request, of one of gRPC-Web
// and of an answer.
func TestMediaTypes(t *testing.T) {
	for _, c := range []struct {
		rest string // behind application/grpc
		of   bool
	}{
		{"", true}, {"+proto", true}, {"+json; charset=utf-8", true}, {";a=b", true}, {" ;a=b", true}, {"\t; a=b", true}, {" ", true},
		{"x", false}, {"/", false}, {",", false}, {" x", false}, {" +proto", false}, {"-x", false},
	} {
		for _, name := range []string{"application/grpc", "Application/gRPC"} {
			fields := func(media string) []wire.Field { return []wire.Field{field("Content-Type", media+c.rest)} }
			if got := IsGRPC(fields(name)); got != c.of {
				t.Errorf("a request of %q is gRPC: %v", name+c.rest, got)
			}
			if IsGRPC(fields(name + "-web")) {
				t.Errorf("a request of %q is gRPC", name+"-web"+c.rest)
			}
			x := &Exchange{Route: &router.Route{Common: &router.Common{Options: &router.RouteOptions{GRPCWeb: true}}}}
			x.Head.Method, x.Head.Fields = []byte("POST"), fields(name+"-web")
			if x.beginWeb(); x.web.on != c.of {
				t.Errorf("a request of %q is gRPC-Web: %v", name+"-web"+c.rest, x.web.on)
			}
			if x.web.on && !IsGRPC(x.Head.Fields) {
				t.Errorf("a request of %q becomes one of %q", name+"-web"+c.rest, x.Head.Fields[0].Value)
			}
			h := &wire.ResponseHead{Status: 200, Fields: fields(name)}
			x.web.on = true
			if x.webHead(h); x.web.answers != c.of {
				t.Errorf("an answer of %q is gRPC: %v", name+c.rest, x.web.answers)
			}
		}
	}
	for _, other := range []string{"text/plain", "application/grpc-web"} {
		x := &Exchange{Route: &router.Route{Common: &router.Common{Options: &router.RouteOptions{GRPCWeb: true}}}}
		x.Head.Method, x.Head.Fields = []byte("POST"), []wire.Field{field("content-type", "application/grpc-web"), field("content-type", other)}
		if x.beginWeb(); x.web.on || IsGRPC(x.Head.Fields) {
			t.Errorf("a request that says two things is gRPC-Web: %+v", x.web)
		}
	}
}
