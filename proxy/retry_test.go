package proxy

import (
	"testing"
	"time"

	"serai/internal/quota"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// TestRetryTable: who may be sent again after what.
func TestRetryTable(t *testing.T) {
	type request struct {
		method    string
		key       string // of idempotency
		retryPost bool
		retries   int
		attempts  int // after the first
		repeats   int
		streaming bool
		late      bool // the route's timeout is over
		upgrade   bool
	}
	const closed, connect, refused, begun = upstream.Unknown, upstream.NotSent, upstream.Refused, upstream.Answered
	for name, c := range map[string]struct {
		request
		known upstream.Processing
		again bool
	}{
		"GET after a failed connect":                 {request{method: "GET"}, connect, true},
		"POST after a failed connect":                {request{method: "POST"}, connect, true},
		"POST after the last failed connect":         {request{method: "POST", attempts: maxNotSent}, connect, false},
		"POST after a connect, body half gone":       {request{method: "POST", streaming: true}, connect, false},
		"POST after a connect, too late":             {request{method: "POST", late: true}, connect, false},
		"GET after a close":                          {request{method: "GET", retries: 1}, closed, true},
		"PUT after a close":                          {request{method: "PUT", retries: 1}, closed, true},
		"DELETE after a close":                       {request{method: "DELETE", retries: 1}, closed, true},
		"GET after a close, no retries":              {request{method: "GET"}, closed, false},
		"GET after a close, retries used":            {request{method: "GET", retries: 2, repeats: 2}, closed, false},
		"GET after a close and failed connects":      {request{method: "GET", retries: 1, attempts: 5}, closed, true},
		"GET after a close, too late":                {request{method: "GET", retries: 1, late: true}, closed, false},
		"POST after a close":                         {request{method: "POST", retries: 10}, closed, false},
		"PATCH after a close":                        {request{method: "PATCH", retries: 10}, closed, false},
		"unknown method after a close":               {request{method: "PURGE", retries: 10}, closed, false},
		"get in lower case after a close":            {request{method: "get", retries: 10}, closed, false},
		"GET of an upgrade after a close":            {request{method: "GET", retries: 10, upgrade: true}, closed, false},
		"GET of an upgrade after a failed connect":   {request{method: "GET", upgrade: true}, connect, true},
		"GET of an upgrade with a key":               {request{method: "GET", retries: 1, upgrade: true, key: "k"}, closed, true},
		"POST with a key after a close":              {request{method: "POST", retries: 1, key: `"8e03978e"`}, closed, true},
		"POST with an empty key after a close":       {request{method: "POST", retries: 1, key: "-"}, closed, false},
		"POST of a route with retry-post":            {request{method: "POST", retries: 1, retryPost: true}, closed, true},
		"POST of a route with retry-post, none left": {request{method: "POST", retryPost: true}, closed, false},
		"GET after an answer began":                  {request{method: "GET", retries: 10}, begun, false},
		"POST with a key after an answer began":      {request{method: "POST", retries: 10, key: "k"}, begun, false},
		"GET refused unprocessed":                    {request{method: "GET", retries: 1}, refused, true},
		"POST refused unprocessed":                   {request{method: "POST", retries: 1}, refused, true},
		"POST refused unprocessed, none left":        {request{method: "POST", retries: 1, repeats: 1}, refused, false},
		"GET refused unprocessed, no retries":        {request{method: "GET"}, refused, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Proxy{}
			p.options.setDefaults()
			x := &Exchange{Retries: c.attempts, Route: &router.Route{Common: &router.Common{
				Options: &router.RouteOptions{Retries: c.retries, RetryPost: c.retryPost, Timeout: time.Minute}, Stats: router.NewStats(new(quota.Quota)),
			}}}
			x.Head.Method, x.repeats = []byte(c.method), c.repeats
			if c.key != "" {
				f := field("Idempotency-Key", c.key)
				if c.key == "-" {
					f.Value = nil
				}
				x.Head.Fields, x.request.Fields = []wire.Field{f}, []wire.Field{f}
			}
			x.Start = time.Now()
			x.Now = x.Start.Add(time.Second)
			if c.late {
				x.Now = x.Start.Add(time.Minute)
			}
			if c.upgrade {
				x.Head.Upgrade = []byte("websocket")
				x.Responder = struct { // that has tunnels
					Responder
					Tunneler
				}{}
			}
			if c.streaming {
				x.upload.consumed.Store(true)
			}
			if again := p.mayRetry(x, c.known, false); again != c.again {
				t.Errorf("sent again: %v, want %v", again, c.again)
			}
		})
	}
}

// TestRetryBudget: a route's repeats are bounded by its own requests in flight,
// whatever another route does, and given back.
func TestRetryBudget(t *testing.T) {
	p := &Proxy{}
	p.options.setDefaults()
	route := func() *router.Route {
		return &router.Route{Common: &router.Common{Options: &router.RouteOptions{Retries: 1, Timeout: time.Minute}, Stats: router.NewStats(new(quota.Quota))}}
	}
	a, b := route(), route()
	repeat := func(r *router.Route) (*Exchange, bool) {
		x := &Exchange{Route: r}
		x.Head.Method = []byte("GET")
		return x, p.mayRetry(x, upstream.Unknown, false)
	}
	for range 50 {
		a.Stats.Begin()
	}
	var begun []*Exchange
	for range 30 {
		if x, ok := repeat(a); ok {
			begun = append(begun, x)
		}
	}
	if len(begun) != 10 {
		t.Errorf("%d of 50 requests are repeated at once, want 10", len(begun))
	}
	if n := p.Reasons()["retry-budget"]; n != 20 {
		t.Errorf("%d counted as beyond the budget, want 20", n)
	}
	for range 3 {
		if _, ok := repeat(b); !ok {
			t.Error("another route's repeats are refused")
		}
	}
	for _, x := range begun {
		x.endRetries()
		x.endRetries() // once is enough
	}
	if n := a.Stats.Retrying.Taken(); n != 0 {
		t.Errorf("%d places are not given back", n)
	}
}

func TestParseHops(t *testing.T) {
	for value, want := range map[string]int{"": 0, "0": 0, "7": 7, "007": 7, "-1": 0, "1, 2": 0, "99999999999999999999999": maxHopsRead, "x": 0} {
		if n := parseHops([]byte(value)); n != want {
			t.Errorf("%q is %d hops, want %d", value, n, want)
		}
	}
}
