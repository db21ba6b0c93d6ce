package proxy_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"serai/proxy"
)

// traces keeps what a proxy records.
type traces struct {
	mu  sync.Mutex
	all []*proxy.Trace
}

func (r *traces) record(t *proxy.Trace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, t)
}

func (r *traces) recorded() []*proxy.Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

const (
	goodTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	goodSpan   = "00f067aa0ba902b7"
	goodParent = "00-" + goodTrace + "-" + goodSpan
)

var parentField = regexp.MustCompile(`(?im)^traceparent: (.*)\r$`)
var stateField = regexp.MustCompile(`(?im)^tracestate: (.*)\r$`)

// TestTraceFields: what a client sends as a trace is continued where it is valid, and never
// passed on as it came; who is not trusted does not decide what is recorded.
func TestTraceFields(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("a=1,", 33), ",")
	long := "a=" + strings.Repeat("x", 250)
	for name, test := range map[string]struct {
		fields   []string
		parents  proxy.TraceParents
		share    float64
		tags     []string
		goes     string // the beginning and the end of the traceparent; a new one if empty
		flags    string
		state    string
		recorded bool
	}{
		"none":                      {flags: "00"},
		"none, all are recorded":    {share: 1, flags: "01", recorded: true},
		"believed":                  {fields: []string{"Traceparent: " + goodParent + "-01", "Tracestate: a=1 , b=2"}, parents: proxy.AllParents, goes: goodTrace, flags: "01", state: "a=1,b=2", recorded: true},
		"believed, and not sampled": {fields: []string{"Traceparent: " + goodParent + "-00"}, parents: proxy.AllParents, share: 1, goes: goodTrace, flags: "00"},
		"a stranger's":              {fields: []string{"Traceparent: " + goodParent + "-01"}, goes: goodTrace, flags: "00"},
		"nobody is believed":        {fields: []string{"Traceparent: " + goodParent + "-00"}, parents: proxy.NoParents, share: 1, goes: goodTrace, flags: "01", recorded: true},
		"flags of later versions":   {fields: []string{"traceparent: cc-" + goodTrace + "-" + goodSpan + "-ff-more"}, parents: proxy.AllParents, goes: goodTrace, flags: "03", recorded: true},
		"two":                       {fields: []string{"Traceparent: " + goodParent + "-01", "traceparent: " + goodParent + "-01", "tracestate: a=1"}, parents: proxy.AllParents, flags: "00"},
		"zero trace":                {fields: []string{"Traceparent: 00-" + strings.Repeat("0", 32) + "-" + goodSpan + "-01"}, parents: proxy.AllParents, flags: "00"},
		"zero span":                 {fields: []string{"Traceparent: 00-" + goodTrace + "-" + strings.Repeat("0", 16) + "-01"}, parents: proxy.AllParents, flags: "00"},
		"version ff":                {fields: []string{"Traceparent: ff" + goodParent[2:] + "-01"}, parents: proxy.AllParents, flags: "00"},
		"upper case":                {fields: []string{"Traceparent: " + strings.ToUpper(goodParent) + "-01"}, parents: proxy.AllParents, flags: "00"},
		"too long":                  {fields: []string{"Traceparent: " + goodParent + "-01-" + strings.Repeat("x", 4000)}, parents: proxy.AllParents, flags: "00"},
		"too short":                 {fields: []string{"Traceparent: " + goodParent}, parents: proxy.AllParents, flags: "00"},
		"no digits":                 {fields: []string{"Traceparent: 00-" + strings.Repeat("g", 32) + "-" + goodSpan + "-01"}, parents: proxy.AllParents, flags: "00"},
		"empty":                     {fields: []string{"Traceparent: ", "Tracestate: a=1"}, parents: proxy.AllParents, flags: "00"},
		"state of several fields":   {fields: []string{"Traceparent: " + goodParent + "-01", "Tracestate: a=1,", "Tracestate: t@v=2"}, goes: goodTrace, flags: "00", state: "a=1,t@v=2"},
		"state that is malformed":   {fields: []string{"Traceparent: " + goodParent + "-01", "Tracestate: a=1,B=2"}, goes: goodTrace, flags: "00"},
		"too many members":          {fields: []string{"Traceparent: " + goodParent + "-01", "Tracestate: " + many}, goes: goodTrace, flags: "00"},
		"state that is too long":    {fields: []string{"Traceparent: " + goodParent + "-01", "Tracestate: " + long + "," + long + "," + long + ",b=1"}, goes: goodTrace, flags: "00", state: long + "," + long},
		"hop-by-hop":                {fields: []string{"Connection: traceparent", "Traceparent: " + goodParent + "-01"}, goes: goodTrace, flags: "00"},
		"not traced":                {fields: []string{"Traceparent: " + goodParent + "-01", "Tracestate: a=1"}, parents: proxy.AllParents, share: 1, tags: []string{"ingress.trace=off"}, goes: goodTrace + "-" + goodSpan, flags: "01", state: "a=1"},
	} {
		t.Run(name, func(t *testing.T) {
			for engine, start := range engines {
				if engine != "HTTP/1" && name == "hop-by-hop" {
					continue // HTTP/2 refuses Connection
				}
				r := &traces{}
				i := newInstance(t)
				n := newNode(t, proxy.Options{Tracing: &proxy.Tracing{Share: test.share, Parents: test.parents, Record: r.record}}, speaksHTTP1(), []string{i.address}, test.tags...)
				c := start(t, n).open(t, request{method: "GET", target: "/", fields: append([]string{id}, test.fields...)})
				in := i.next()
				seen := in.head()
				in.send(fine)
				answered(t, c, 200, "fine")
				until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
				parents, states := parentField.FindAllStringSubmatch(seen, -1), stateField.FindAllStringSubmatch(seen, -1)
				if len(parents) != 1 || !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-`+test.flags+`$`).MatchString(parents[0][1]) {
					t.Fatalf("%s: the instance got %q, want flags %s", engine, parents, test.flags)
				}
				got := parents[0][1]
				if test.goes != "" && !strings.HasPrefix(got, "00-"+test.goes) || test.goes == "" && strings.Contains(got, goodTrace) || len(test.tags) == 0 && strings.Contains(got, goodSpan) {
					t.Errorf("%s: the instance got %s, want %s", engine, got, test.goes)
				}
				if test.state == "" && len(states) > 0 || test.state != "" && (len(states) != 1 || states[0][1] != test.state) {
					t.Errorf("%s: the instance got the state %q, want %q", engine, states, test.state)
				}
				if recorded := len(r.recorded()) == 1; recorded != test.recorded {
					t.Errorf("%s: recorded %v, want %v", engine, recorded, test.recorded)
				}
				n.stop()
			}
		})
	}
}

// TestTraceOfErrors: a request that failed is recorded whatever the share, within its limit,
// and a refused head, too, where all are.
func TestTraceOfErrors(t *testing.T) {
	for name, start := range engines {
		t.Run(name, func(t *testing.T) {
			r := &traces{}
			i := newInstance(t)
			tracing := &proxy.Tracing{Errors: 1 << 20, Record: r.record}
			n := newNode(t, proxy.Options{Tracing: tracing}, speaksHTTP1(), []string{i.address})
			e := start(t, n)
			c := e.open(t, request{method: "GET", target: "/", fields: []string{id}})
			in := i.next()
			in.head()
			in.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
			answered(t, c, 503, "busy")
			until(t, "the trace", func() bool { return len(r.recorded()) == 1 })
			got := r.recorded()[0]
			if q := got.Request; got.Sampled || !q.Failed || q.Status != 503 || len(got.Attempts) != 1 || got.Attempts[0].Alloc != i.address {
				t.Errorf("recorded %+v", got)
			} else if a := got.Attempts[0]; a.Status != 503 || a.FirstByte <= 0 || a.Begun.Before(got.Begun) || a.Ended.Before(a.Begun) {
				t.Errorf("its attempt is %+v", a)
			}
		})
	}
}
