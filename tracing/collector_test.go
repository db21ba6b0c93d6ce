package tracing_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"serai/tracing"
)

// TestPartialSuccess: of a batch of which the collector rejects some spans, the others count as
// taken; which are lost nobody knows, so none becomes an exemplar. A warning alone loses nothing.
func TestPartialSuccess(t *testing.T) {
	const sent = 2 * spansOfTrace
	for name, test := range map[string]struct {
		kind      string
		rejected  int64
		message   string
		failed    uint64
		exemplars int
	}{
		"some":             {"application/x-protobuf", 3, "too old", 3, 0},
		"some, in JSON":    {"application/json", 3, "too old", 3, 0},
		"with a parameter": {"application/x-protobuf; charset=utf-8", 3, "too old", 3, 0},
		"all":              {"application/x-protobuf", sent, "no", sent, 0},
		"a warning":        {"application/x-protobuf", 0, "soon too old", 0, 1},
		"nothing":          {"application/x-protobuf", 0, "", 0, 1},
		"more than all":    {"application/x-protobuf", 1 << 40, "no", sent, 0},
		"fewer than none":  {"application/x-protobuf", -5, "odd", 0, 1},
		"no reason":        {"application/x-protobuf", 1, "", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := &collectorpb.ExportTraceServiceResponse{PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: test.rejected, ErrorMessage: test.message}}
			c := &receiver{answer: func(w http.ResponseWriter, _ int) bool {
				body, err := proto.Marshal(answer)
				if strings.HasSuffix(test.kind, "json") {
					body, err = protojson.Marshal(answer)
				}
				if err != nil {
					panic(err)
				}
				w.Header().Set("Content-Type", test.kind)
				w.Write(body)
				return true
			}}
			e := run(t, tracing.Options{URL: c.listen(t).URL})
			e.Record(newTrace(1))
			e.Record(newTrace(2))
			s := e.settled(t, sent)
			e.stop() // all is noted
			if s.Failed != test.failed || s.Exported != sent-test.failed || s.QueueFull != 0 {
				t.Errorf("counted %+v", s)
			}
			if _, n := c.got(); n != 1 {
				t.Errorf("sent %d times", n)
			}
			if n := len(e.Exemplars()); n != test.exemplars {
				t.Errorf("there are %d exemplars", n)
			}
			says := test.rejected > 0 || test.message != ""
			if text := e.log.text(); strings.Contains(text, "level=WARN") != says || !strings.Contains(text, test.message) {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// TestRedirect: neither traces nor the fields that go with them are sent where the collector
// says, and the log tells where that would have been.
func TestRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var reached atomic.Int64
			elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
			t.Cleanup(elsewhere.Close)
			c := &receiver{answer: func(w http.ResponseWriter, _ int) bool {
				w.Header().Set("Location", strings.Replace(elsewhere.URL, "http://", "http://u:hunter2@", 1)+"/other?key=hunter2")
				w.WriteHeader(status)
				return false
			}}
			e := run(t, tracing.Options{URL: c.listen(t).URL, Headers: map[string]string{"X-Key": "hunter3"}})
			e.Record(newTrace(1))
			s := e.settled(t, spansOfTrace)
			e.stop()
			if s.Failed != spansOfTrace || s.Exported != 0 || reached.Load() != 0 {
				t.Errorf("counted %+v, and %d requests got elsewhere", s, reached.Load())
			}
			if text := e.log.text(); !strings.Contains(text, elsewhere.URL+"/other") || strings.Contains(text, "hunter") {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// TestTriedAgain: a collector that is busy is asked again, as long as it wants, if that is
// soon; one that refuses is not.
func TestTriedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		after  string
		text   string
		taken  bool
		asked  int
	}{
		"429":              {429, "", "", true, 2},
		"429, soon":        {429, "1", "", true, 2},
		"503, soon":        {503, "1", "", true, 2},
		"503, and a page":  {503, "", strings.Repeat("busy ", 1<<16), true, 2},
		"502":              {502, "", "", true, 2},
		"504":              {504, "", "", true, 2},
		"503, tomorrow":    {503, "86400", "", false, 1},
		"503, on a day":    {503, "Fri, 31 Dec 2100 23:59:59 GMT", "", false, 1},
		"503, never":       {503, "99999999999999999999", "", true, 2}, // no number of seconds
		"503, before":      {503, "-1", "", true, 2},
		"400":              {400, "", "", false, 1},
		"413":              {413, "", "", false, 1},
		"401":              {401, "", "", false, 1},
		"500 and too much": {500, "", strings.Repeat("no ", 1<<20), false, 1},
		"304":              {304, "", "", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &receiver{answer: func(w http.ResponseWriter, request int) bool {
				if request > 1 {
					return true
				}
				if test.after != "" {
					w.Header().Set("Retry-After", test.after)
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.text)
				return false
			}}
			e := run(t, tracing.Options{URL: c.listen(t).URL})
			e.Record(newTrace(1))
			s := e.settled(t, spansOfTrace)
			spans, asked := c.got()
			if taken := s.Exported == spansOfTrace && s.Failed == 0; taken != test.taken || asked != test.asked || taken != (len(spans) == spansOfTrace) {
				t.Errorf("counted %+v, asked %d times, %d spans came", s, asked, len(spans))
			}
			e.stop()
			text := e.log.text()
			if test.taken != (text == "") || !test.taken && len(text) > 1000 {
				t.Errorf("logged %.2000s", text)
			}
			if test.status == 500 && !strings.Contains(text, "500 Internal Server Error") {
				t.Errorf("the log does not say how it was refused: %s", text)
			}
		})
	}
}

// TestRestarted: while nobody listens at the collector's port, a batch is tried again; what is
// there by then gets it, and nothing is lost or told.
func TestRestarted(t *testing.T) {
	// A port that is bound is nobody else's, and refuses connects as long as nobody listens.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "collector")
	defer file.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	e := run(t, tracing.Options{URL: fmt.Sprintf("http://127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port),
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	e.Record(newTrace(1))
	until(t, "a connect that is refused", func() bool { return strings.Contains(log.text(), "connection refused") })
	if err := syscall.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &receiver{}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: c}}
	s.Start()
	defer s.Close()
	if got := e.settled(t, spansOfTrace); got.Exported != spansOfTrace || got.Failed != 0 {
		t.Errorf("counted %+v", got)
	}
	e.stop()
	if text := log.text(); strings.Contains(text, "level=WARN") {
		t.Errorf("logged %s", text)
	}
}

// TestAnswers: an answer that cannot be read, or is too long to be, is an error that says so; the
// next batch is taken.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		kind, text, want string
	}{
		"huge":               {"application/x-protobuf", strings.Repeat("x", 1<<20), "more than 65536 bytes"},
		"huge, of no kind":   {"", strings.Repeat("x", 1<<20), "more than 65536 bytes"},
		"no message":         {"application/x-protobuf", "\xff\xff\xff", "proto"},
		"no JSON":            {"application/json", "{", "unexpected EOF"},
		"a page of somebody": {"text/html", "<html>", ""},
		"empty":              {"application/x-protobuf", "", ""},
		"an empty object":    {"application/json", "{}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &receiver{answer: func(w http.ResponseWriter, request int) bool {
				if request == 1 {
					w.Header().Set("Content-Type", test.kind)
					io.WriteString(w, test.text)
				}
				return true
			}}
			e := run(t, tracing.Options{URL: c.listen(t).URL})
			e.Record(newTrace(1))
			s := e.settled(t, spansOfTrace)
			if (s.Failed > 0) != (test.want != "") {
				t.Errorf("counted %+v", s)
			}
			e.Record(newTrace(2))
			if after := e.settled(t, 2*spansOfTrace); after.Exported != s.Exported+spansOfTrace {
				t.Errorf("then counted %+v", after)
			}
			e.stop()
			if text := e.log.text(); !strings.Contains(strings.ToLower(text), strings.ToLower(test.want)) || (test.want != "") != strings.Contains(text, "takes traces again") || len(text) > 1500 {
				t.Errorf("logged %s", text)
			}
		})
	}
}
