package discovery_test

import (
	"bufio"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// firstLine is a body that ends after its first line while it is cut.
type firstLine struct {
	*bufio.Reader
	io.Closer
	line []byte
}

func (f *firstLine) Read(p []byte) (n int, err error) {
	if f.line == nil {
		if f.line, err = f.ReadBytes('\n'); err != nil {
			return 0, err
		}
	}
	n = copy(p, f.line)
	if f.line = f.line[n:]; n == 0 {
		err = io.EOF
	}
	return n, err
}

// TestShortStreams: where a proxy before the agent cuts each event stream after its heartbeat,
// everything is read from lists, and followed there, until a stream lasts.
func TestShortStreams(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	to, _ := url.Parse(a.url)
	var cut atomic.Bool
	var streams atomic.Int64
	cut.Store(true)
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(res *http.Response) error {
			if res.Request.URL.Path == "/v1/event/stream" && cut.Load() {
				streams.Add(1)
				res.Body = &firstLine{Reader: bufio.NewReader(res.Body), Closer: res.Body}
			}
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: server.URL}), Retry: 50 * time.Millisecond})
	w.has("default/web/1")
	w.until("lists are followed", func(s discovery.Status) bool { return s.Phase == discovery.Polling })
	a.Register(reg("web", "2"))
	w.has("default/web/1", "default/web/2")
	a.Deregister("default", "1")
	w.has("default/web/2")
	tried := streams.Load()
	w.until("a stream is tried again", func(discovery.Status) bool { return streams.Load() > tried })
	w.until("lists are followed again", func(s discovery.Status) bool { return s.Phase == discovery.Polling })
	cut.Store(false)
	w.until("a stream lasts", func(s discovery.Status) bool { return s.Phase == discovery.Live })
	a.Register(reg("web", "3"))
	w.has("default/web/2", "default/web/3")
}
