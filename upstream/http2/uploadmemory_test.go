package http2_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"serai/internal/memory"
	"serai/upstream"
	"serai/upstream/http1"
	"serai/wire/socket"
)

func buffersOf(b *memory.Budget) int64 { n, _ := b.Taken(memory.Buffers); return n }

// TestUploadBuffersAreCounted: the large buffer in which a body is cut into chunks counts
// against its client's memory for as long as the instance does not take it.
func TestUploadBuffersAreCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := endpoint(t, upstream.Target{Address: l.Addr().String()}, upstream.RegistryOptions{Transport: http1.New})
	b, client := memory.NewBudget(1<<20), &memory.Client{}
	client.Join(b)
	body := newRest()
	over := make(chan struct{})
	go func() {
		defer close(over)
		r := streamed(request(&asking{}, "POST", "/"), body)
		r.Memory = client
		if e.Transport().RoundTrip(r, &upstream.Answer{}) == nil {
			t.Error("it was answered")
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	piece := strings.Repeat("x", 60<<10)
	go func() {
		for {
			select {
			case body.pieces <- piece:
			case <-over:
				return
			}
		}
	}()
	until(t, "a buffer that is counted", func() bool { return buffersOf(b) == socket.LargeBuffer })
	c.Close()
	<-over
	if n := buffersOf(b); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestUploadWithoutMemory: where there is none for large buffers, a body is sent in smaller
// chunks.
func TestUploadWithoutMemory(t *testing.T) {
	want := strings.Repeat("0123456789abcdef", 60<<10>>4)
	over(t, func(w http.ResponseWriter, r *http.Request) {
		all, _ := io.ReadAll(r.Body) // or the library takes the rest for itself
		w.Write(all)
	}, func(t *testing.T, e *upstream.Endpoint) {
		b, client := memory.NewBudget(1<<20), &memory.Client{}
		client.Join(b)
		for client.Take(memory.Buffers, 4096) {
		}
		before := buffersOf(b)
		body := newRest(want)
		close(body.pieces)
		r := streamed(request(&asking{}, "POST", "/"), body)
		r.Memory = client
		if got := roundTrip(t, e, r); got.body != want || got.err != nil {
			t.Errorf("%d bytes came back, %v", len(got.body), got.err)
		}
		if n := buffersOf(b); n != before {
			t.Errorf("%d bytes are taken, %d before", n, before)
		}
	})
}
