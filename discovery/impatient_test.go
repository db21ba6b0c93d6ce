package discovery_test

import (
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

// TestQueriesThatAreAnsweredAtOnce: a proxy before the agent that knows nothing of queries which
// wait, such as a cache, does not have it asked as fast as it answers: neither for the namespaces
// beside the event stream, nor for the services where the stream is refused.
func TestQueriesThatAreAnsweredAtOnce(t *testing.T) {
	for name, rights := range map[string][]nomadsim.Rule{"/v1/namespaces": readJobs, "/v1/services": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{ACL: true})
			a.PutToken(identity(true, rights...))
			a.Register(reg("web", "1"))
			to, _ := url.Parse(a.url)
			var asked atomic.Int64
			proxy := &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				if r.In.URL.Path == name {
					asked.Add(1)
					q := r.Out.URL.Query()
					q.Del("index")
					r.Out.URL.RawQuery = q.Encode()
				}
			}}
			server := httptest.NewServer(http.HandlerFunc(proxy.ServeHTTP))
			t.Cleanup(server.Close)
			began := time.Now()
			w := nomadWatch(t, a, discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: server.URL, Token: "s"})})
			w.has("default/web/1")
			time.Sleep(3 * time.Second)
			// Two such queries at most, and what else is listed: at the start, and to get the stream.
			if n, most := asked.Load(), 150+20*int64(time.Since(began)/time.Second+1); n > most {
				t.Errorf("%d requests in %v, want at most %d", n, time.Since(began), most)
			}
		})
	}
}
