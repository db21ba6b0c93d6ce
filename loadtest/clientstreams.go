package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echopb "serai/hello/echo"
)

// streams are calls that instances answer repeatedly until something ends them. A
// stream that ends is opened again at once.
type streams struct {
	every   time.Duration // between two messages
	text    string        // of each
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	seen streamsTally
}

// streamsTally is what happened to streams.
type streamsTally struct {
	Open     int `json:"open"` // at once
	Messages int `json:"messages"`
	// Ended counts streams that ended after a message, by how they ended; Failed those
	// that ended before their first message.
	Ended  map[string]int `json:"ended,omitempty"`
	Failed map[string]int `json:"failed,omitempty"`
	// Wrong is how many of these did not end as promised: with UNAVAILABLE.
	Wrong int `json:"wrong"`
	// Again is how many streams were opened after one that had ended, and brought a
	// message.
	Again int `json:"opened_again"`
	// SilentMS is the longest time between two messages, of one stream or of a stream
	// and its successor.
	SilentMS int64 `json:"longest_silence_ms"`
}

// kept reports whether streams ended as promised, and could be opened again at once.
func (t *streamsTally) kept() bool { return t.Wrong == 0 && len(t.Failed) == 0 }

// ended is how many have ended that had brought a message.
func (t *streamsTally) ended() int { return sum(t.Ended) }

func sum(counts map[string]int) (n int) {
	for m := range maps.Values(counts) {
		n += m
	}
	return n
}

func (t *streamsTally) String() string {
	ended, failed := t.ended(), sum(t.Failed)
	s := fmt.Sprintf("%d streams of gRPC: %d ended, %d not as promised, %d opened again, %d in vain, longest silence %d ms", t.Open, ended, t.Wrong, t.Again, failed, t.SilentMS)
	if ended > 0 {
		s += "; ended: " + inWords(t.Ended)
	}
	if failed > 0 {
		s += "; in vain: " + inWords(t.Failed)
	}
	return s
}

// startStreams opens so many streams and keeps them open until ctx ends.
func startStreams(ctx context.Context, channels []*grpc.ClientConn, n int, every time.Duration, text string) *streams {
	ctx, stop := context.WithCancel(ctx)
	s := &streams{every: every, text: text, stop: stop, seen: streamsTally{Open: n, Ended: make(map[string]int), Failed: make(map[string]int)}}
	for i := range n {
		s.running.Go(func() { s.keep(ctx, channels[i%len(channels)]) })
	}
	return s
}

// end ends the streams, and returns what happened to them.
func (s *streams) end() *streamsTally {
	s.stop()
	s.running.Wait()
	return &s.seen
}

// keep keeps one stream open: when it ends, it opens the next one.
func (s *streams) keep(ctx context.Context, channel *grpc.ClientConn) {
	last := time.Now()
	for again := false; ctx.Err() == nil; again = true {
		begun := false
		cause, err := s.read(ctx, channel, func() {
			now := time.Now()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen.Messages++
			s.seen.SilentMS = max(s.seen.SilentMS, now.Sub(last).Milliseconds())
			if again && !begun {
				s.seen.Again++
			}
			begun, last = true, now
		})
		if ctx.Err() != nil {
			return // we have ended it
		}
		s.ended(begun, cause, err)
		if !begun {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// ended counts one that has ended.
func (s *streams) ended(begun bool, cause string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status.Code(err) != codes.Unavailable {
		s.seen.Wrong++
	}
	if begun {
		s.seen.Ended[cause]++
	} else {
		s.seen.Failed[cause]++
	}
}

// read opens a stream, reads it to its end, and returns how it ended.
func (s *streams) read(ctx context.Context, channel *grpc.ClientConn, each func()) (cause string, err error) {
	stream, err := channel.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, echopb.EchoRepeatProcedure)
	if err != nil {
		return causeOf(err, nil), err
	}
	if err = stream.SendMsg(&echopb.RepeatRequest{Text: s.text, Every: uint32(s.every.Milliseconds())}); err == nil {
		err = stream.CloseSend()
	}
	// Where sending fails, receiving tells why.
	for err == nil || errors.Is(err, io.EOF) {
		var m echopb.SayResponse
		if err = stream.RecvMsg(&m); err == nil {
			each()
			continue
		}
		break
	}
	if errors.Is(err, io.EOF) {
		return "OK", nil
	}
	return causeOf(err, stream.Trailer()), err
}
