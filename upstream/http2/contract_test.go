package http2_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/upstream"
	"serai/wire"
)

// TestAnswers: what a handler says arrives as it says it, over each version.
func TestAnswers(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20_000)
	for name, c := range map[string]struct {
		method  string
		handler http.HandlerFunc
		status  int
		body    string
		framing wire.Framing
	}{
		"short": {"GET", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }, 200, "fine", wire.Length},
		"empty": {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, 201, "", wire.Length},
		"HEAD":  {"HEAD", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000") }, 200, "", wire.NoBody},
		"204":   {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, "", wire.NoBody},
		"304":   {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, "", wire.NoBody},
		"large": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
			io.WriteString(w, large)
		}, 200, large, wire.Length},
		"of unknown length": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, large)
			w.(http.Flusher).Flush()
			io.WriteString(w, large)
		}, 200, large + large, wire.Chunked},
		"500": {"POST", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "why", 500) }, 500, "why\n", wire.Length},
	} {
		t.Run(name, func(t *testing.T) {
			over(t, c.handler, func(t *testing.T, e *upstream.Endpoint) {
				for range 3 { // over the connection of the first
					got := roundTrip(t, e, request(&asking{}, c.method, "/a?b=c"))
					if got.head.Status != c.status || got.body != c.body || got.err != nil {
						t.Errorf("answered %d with %d bytes, %v; want %d with %d", got.head.Status, len(got.body), got.err, c.status, len(c.body))
					}
					if got.head.Framing != c.framing {
						t.Errorf("its framing is %d, want %d", got.head.Framing, c.framing)
					}
					if c.method == "HEAD" && (!got.head.Declared || got.head.Size != 1000) {
						t.Errorf("the length of what HEAD asks for is %v, %d", got.head.Declared, got.head.Size)
					}
				}
			})
		})
	}
}

// TestRequests: the instance sees the request as it was made.
func TestRequests(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q %d %q %v %v", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Own"), r.ContentLength, body, r.Trailer, err)
	}
	fields := []wire.Field{{Name: []byte("X-Own"), Value: []byte("Mine")}, {Name: []byte("X-Gone"), Value: []byte("1"), Kind: wire.Dropped}}
	for name, c := range map[string]struct {
		make func(r *upstream.Request)
		want string
	}{
		"GET": {func(r *upstream.Request) {}, `GET /a?b=c a.test "Mine" 0 "" map[] <nil>`},
		"POST": {func(r *upstream.Request) {
			r.Head.Method, r.Head.Framing, r.Head.Size, r.First = []byte("POST"), wire.Length, 4, []byte("body")
			r.Head.Fields = append(r.Head.Fields, wire.Field{Name: []byte("Content-Length"), Value: []byte("4"), Kind: wire.ContentLength})
		}, `POST /a?b=c a.test "Mine" 4 "body" map[] <nil>`},
		"PUT in pieces": {func(r *upstream.Request) {
			r.Head.Method, r.First = []byte("PUT"), []byte("first")
			b := newRest("second", "third")
			close(b.pieces)
			streamed(r, b)
		}, `PUT /a?b=c a.test "Mine" -1 "firstsecondthird" map[] <nil>`},
		"with trailers": {func(r *upstream.Request) {
			r.Head.Method = []byte("POST")
			r.Head.Fields = append(r.Head.Fields, wire.Field{Name: []byte("Trailer"), Value: []byte("X-Sum"), Kind: wire.Trailer})
			b := newRest("body")
			b.trailers = []wire.Field{{Name: []byte("X-Sum"), Value: []byte("7")}, {Name: []byte("X-Not"), Value: []byte("7"), Kind: wire.Dropped}}
			close(b.pieces)
			streamed(r, b)
		}, `POST /a?b=c a.test "Mine" -1 "body" map[X-Sum:[7]] <nil>`},
		"OPTIONS": {func(r *upstream.Request) { r.Head.Method, r.Head.Target = []byte("OPTIONS"), []byte("/") }, `OPTIONS / a.test "Mine" 0 "" map[] <nil>`},
	} {
		t.Run(name, func(t *testing.T) {
			over(t, echo, func(t *testing.T, e *upstream.Endpoint) {
				r := request(&asking{}, "GET", "/a?b=c")
				r.Head.Fields = append(r.Head.Fields, fields...)
				c.make(r)
				if got := roundTrip(t, e, r); got.body != c.want {
					t.Errorf("the instance saw\n%s\nwant\n%s", got.body, c.want)
				}
			})
		})
	}
}

// TestTrailersBehindALength: HTTP/2 sends trailers also behind a body whose length is declared,
// which HTTP/1 cannot.
func TestTrailersBehindALength(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %q %v %v", r.ContentLength, body, r.Trailer, err)
	}
	for name, streams := range map[string]bool{"all at once": false, "in pieces": true} {
		t.Run(name, func(t *testing.T) {
			over(t, echo, func(t *testing.T, e *upstream.Endpoint) {
				r := request(&asking{}, "POST", "/")
				b := newRest()
				b.trailers = []wire.Field{{Name: []byte("X-Sum"), Value: []byte("7")}}
				if r.Body, r.First = b, []byte("body"); streams {
					r.Complete, r.First = false, []byte("bo")
					b.pieces <- "dy"
				}
				close(b.pieces)
				r.Head.Framing, r.Head.Size = wire.Length, 4
				r.Head.Fields = []wire.Field{
					{Name: []byte("Content-Length"), Value: []byte("4"), Kind: wire.ContentLength}, {Name: []byte("Trailer"), Value: []byte("X-Sum"), Kind: wire.Trailer},
				}
				want := `4 "body" map[] <nil>`
				if e.Target().Scheme == upstream.H2C {
					want = `4 "body" map[X-Sum:[7]] <nil>`
				}
				if got := roundTrip(t, e, r); got.body != want {
					t.Errorf("the instance saw %s, want %s", got.body, want)
				}
			})
		})
	}
}

// TestLargeBodies: megabytes both ways at once, on many streams.
func TestLargeBodies(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}
	piece := strings.Repeat("x", 40_000)
	over(t, echo, func(t *testing.T, e *upstream.Endpoint) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				b := newRest()
				go func() {
					for range 25 {
						b.pieces <- piece
					}
					close(b.pieces)
				}()
				var a upstream.Answer
				if f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), b), &a); f != nil {
					t.Errorf("failed: %v", f)
					return
				}
				if got := readAll(&a); len(got.body) != 25*len(piece) || got.err != nil {
					t.Errorf("%d bytes came back, %v", len(got.body), got.err)
				}
			})
		}
		all.Wait()
	})
}

// TestInterimsAndTrailers: what comes before and behind an answer.
func TestInterimsAndTrailers(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.WriteHeader(102)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "abc")
		w.Header().Set("X-Sum", "1")
	}
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		caller := &asking{}
		r := request(caller, "GET", "/")
		r.Head.Trailers = true
		got := roundTrip(t, e, r)
		if fmt.Sprint(caller.interims) != "[103 102]" || got.body != "abc" || len(got.trailers) != 1 || string(got.trailers[0].Value) != "1" {
			t.Errorf("interims %v, body %q, trailers %v", caller.interims, got.body, got.trailers)
		}
	})
}

// TestTooManyInterims: they are bounded.
func TestTooManyInterims(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		for range 5 {
			w.WriteHeader(103)
		}
	}
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedInterim || f.Processing != upstream.Answered {
			t.Errorf("failed with %+v", f)
		}
	})
}

// TestCut: an answer that is cut off never ends cleanly.
func TestCut(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "the beginning")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		if got := roundTrip(t, e, request(&asking{}, "GET", "/")); got.err == nil || got.body != "the beginning" {
			t.Errorf("read %q, %v", got.body, got.err)
		}
	})
}

// TestAborted: no answer at all means that nobody knows what was done.
func TestAborted(t *testing.T) {
	over(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(t *testing.T, e *upstream.Endpoint) {
		f := e.Transport().RoundTrip(request(&asking{}, "GET", "/"), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedClosed || f.Processing != upstream.Unknown {
			t.Errorf("failed with %+v", f)
		}
	})
}

// TestUnwanted: of a request whose client has left nothing is sent.
func TestUnwanted(t *testing.T) {
	asked := func(http.ResponseWriter, *http.Request) { t.Error("the instance was asked") }
	over(t, asked, func(t *testing.T, e *upstream.Endpoint) {
		f := e.Transport().RoundTrip(request(&asking{unwanted: true}, "GET", "/"), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedCaller || f.Processing != upstream.NotSent {
			t.Errorf("failed with %+v", f)
		}
	})
}

// TestInterrupt: a wait for the head or for more of the body ends at once, and the
// instance sees that nobody waits.
func TestInterrupt(t *testing.T) {
	left := make(chan struct{}, 8)
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			io.WriteString(w, "some")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		left <- struct{}{}
	}
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		caller := &asking{held: make(chan upstream.Stream, 1)}
		go func() { (<-caller.held).Interrupt() }()
		f := e.Transport().RoundTrip(request(caller, "GET", "/"), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedTimeout {
			t.Errorf("failed with %+v", f)
		}
		var a upstream.Answer
		if f := e.Transport().RoundTrip(request(caller, "GET", "/body"), &a); f != nil {
			t.Fatal(f)
		}
		s := <-caller.held
		if data, err := a.Stream.Next(); string(data) != "some" || err != nil {
			t.Fatalf("read %q, %v", data, err)
		}
		go s.Interrupt()
		if _, err := a.Stream.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the wait ended with %v", err)
		}
		a.Stream.End(false)
		<-left // of the second; the first may not have reached it
	})
}

// TestTimeout: the wait for an answer is bounded, but not while a body is on its way.
func TestTimeout(t *testing.T) {
	over(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, e *upstream.Endpoint) {
		r := request(&asking{}, "GET", "/")
		r.Answer = 50 * time.Millisecond
		f := e.Transport().RoundTrip(r, &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedTimeout || f.Processing != upstream.Unknown {
			t.Errorf("failed with %+v", f)
		}
	})
}

// TestBodyFails: what is wrong with a request's body ends the request, and is told.
func TestBodyFails(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Error("the instance saw a clean end")
		}
	}
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		b := newRest("some")
		b.err = wire.ErrBodyCut
		close(b.pieces)
		f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), b), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedBody || f.Err != wire.ErrBodyCut {
			t.Errorf("failed with %+v", f)
		}
	})
}

// TestEarlyAnswer: one that comes before the body has gone is passed on, and the rest
// of the body is let go.
func TestEarlyAnswer(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex() // else net/http reads the body first
		w.WriteHeader(413)
	}
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		b := newRest()
		var a upstream.Answer
		if f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), b), &a); f != nil {
			t.Fatal(f)
		}
		if a.Head.Status != 413 {
			t.Errorf("answered %d", a.Head.Status)
		}
		a.Stream.End(true)
		select {
		case <-b.asked:
		default:
			t.Error("the body was not let go")
		}
	})
}

// TestServiceTime: the time in which a body comes is the client's, all other time is the
// instance's.
func TestServiceTime(t *testing.T) {
	const pause = 50 * time.Millisecond
	for name, early := range map[string]bool{"after the body": false, "within it": true} {
		t.Run(name, func(t *testing.T) {
			begun := make(chan struct{}, 1)
			h := func(w http.ResponseWriter, r *http.Request) {
				io.ReadFull(r.Body, make([]byte, len("some")))
				begun <- struct{}{}
				if early {
					http.NewResponseController(w).EnableFullDuplex()
				} else {
					io.ReadAll(r.Body)
				}
				time.Sleep(pause)
				w.WriteHeader(204)
			}
			over(t, h, func(t *testing.T, e *upstream.Endpoint) {
				b := newRest("some")
				if !early {
					go func() {
						<-begun
						time.Sleep(pause)
						close(b.pieces)
					}()
				}
				var a upstream.Answer
				if f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), b), &a); f != nil {
					t.Fatal(f)
				}
				a.Stream.End(true)
				if early {
					<-begun
				} else if client := a.FirstByte - a.ServiceTime; client < pause {
					t.Errorf("of %v to the first byte %v are the client's, which paused for %v", a.FirstByte, client, pause)
				}
				if a.ServiceTime < pause {
					t.Errorf("of %v to the first byte %v are the instance's, which paused for %v", a.FirstByte, a.ServiceTime, pause)
				}
			})
		})
	}
}

// TestPanic: the panic of a body is the caller's to tell.
func TestPanic(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body) }
	over(t, h, func(t *testing.T, e *upstream.Endpoint) {
		f := e.Transport().RoundTrip(streamed(request(&asking{}, "POST", "/"), panicking{newRest()}), &upstream.Answer{})
		if f == nil || f.Kind != upstream.FailedBody || f.Err != io.ErrUnexpectedEOF {
			t.Errorf("failed with %+v", f)
		}
	})
}

type panicking struct{ *rest }

func (panicking) Next() ([]byte, error) { panic("on purpose") }

// TestIdle: connections that nobody uses are counted, closed when they are old, and
// closed when they are asked for.
func TestIdle(t *testing.T) {
	over(t, func(http.ResponseWriter, *http.Request) {}, func(t *testing.T, e *upstream.Endpoint) {
		transport := e.Transport()
		for _, close := range []func() int{
			func() int { return transport.CloseIdle(time.Now().Add(time.Hour), 8) },
			func() int { transport.Sweep(time.Now().Add(time.Hour)); return 1 },
		} {
			roundTrip(t, e, request(&asking{}, "GET", "/"))
			if n := transport.Status().Idle; n != 1 {
				t.Fatalf("%d connections are idle", n)
			}
			if n := close(); n != 1 || transport.Status().Idle != 0 {
				t.Errorf("closed %d, %d are idle", n, transport.Status().Idle)
			}
		}
	})
}
