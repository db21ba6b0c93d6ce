package chaos

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"testing"

	"serai/router"
)

func grammar() (keys []Key) {
	for _, k := range router.Keys() {
		keys = append(keys, Key{k.Name, k.Example})
	}
	return keys
}

// TestDrawAgain makes the same program of the same seed, and another of
// another.
func TestDrawAgain(t *testing.T) {
	for seed := range uint64(20) {
		first, again := Draw(seed, grammar()).String(), Draw(seed, grammar()).String()
		if first != again {
			t.Fatalf("seed %d makes two programs:\n%s\n%s", seed, first, again)
		}
		if first == Draw(seed+1, grammar()).String() {
			t.Errorf("seeds %d and %d make the same program", seed, seed+1)
		}
	}
}

// TestAnswersEnd wants an end for each answer: one without a length or chunks, on a
// connection that stays open, has none unless it has no body at all.
func TestAnswersEnd(t *testing.T) {
	for seed := range uint64(500) {
		for _, c := range Draw(seed, grammar()).Clients {
			for _, r := range c.Requests {
				for _, a := range r.Answers {
					if a.Framing == None && !r.Upgrade && !bodyless(r.Method, a.Status) {
						t.Fatalf("seed %d: an answer that does not end\n%s", seed, r)
					}
				}
			}
		}
	}
}

// TestEverythingIsDrawn wants each key of the grammar, each flavour, fault,
// flaw and framing in a few hundred programs.
func TestEverythingIsDrawn(t *testing.T) {
	var all strings.Builder
	names := make(map[string]bool)
	for seed := range uint64(300) {
		p := Draw(seed, grammar())
		clear(names)
		for _, level := range p.names() {
			for _, name := range level {
				if names[name] {
					t.Fatalf("seed %d: two parts are called %s", seed, name)
				}
				names[name] = true
			}
		}
		for _, c := range p.Clients {
			if len(c.Requests) > 1000 {
				t.Errorf("seed %d: %d requests of one client", seed, len(c.Requests))
			}
			// Long pipelines are the same again and again, and long to tell.
			c.Requests = c.Requests[:min(10, len(c.Requests))]
		}
		all.WriteString(p.String())
	}
	text := all.String()
	for _, key := range grammar() {
		if key.Name == "policies" || key.Name == "auth" {
			continue // a trial has no file of the operator's that they could name
		}
		if !strings.Contains(text, "ingress."+key.Name+"=") {
			t.Errorf("the key %s is never drawn: give it an example, or values in drawtags.go", key.Name)
		}
	}
	for _, word := range []string{
		string(Tame), string(Queue), string(Wrong), string(Deployed), string(Hurt), string(Refused), string(Self), string(Shared), string(Flood),
		string(Replace), string(Add), string(Retag), string(Kill), string(Hang), string(ResetConns), string(CutThere), string(CutBack), string(CutBoth),
		string(NomadErrors), string(NomadSilent), string(NomadForbids), string(NomadEnds), string(FileBroken), string(FileTouched), string(Restart), string(KillAndStart),
		string(ResetUnread), string(ResetRead), string(FinRead), string(ResetAt), string(FinAt), string(StallAt), string(BadHead), string(BadChunk), string(TooMuch),
		"body none", "body length", "body chunked", "until the end", "HTTP/1.0", "pipelined", "TLS", "Expect", "upgrade with", "trailer", "Idempotency-Key",
		"resets after", "closes after", "closes its side", "writes", "reads", "before the body was read", "descriptors", "--max-connections", "--max-waiting", "Content-Length: 0", "behind the last request",
		"its bodies trickle", "keeps its cookie", "a Strict-Transport-Security of its own", "--max-waiting-bytes", "ingress.tls=only",
	} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is never drawn", word)
		}
	}
}

// TestWithout leaves parts out, and what hangs on them.
func TestWithout(t *testing.T) {
	p := Draw(7, grammar())
	first := p.Services[0]
	less := p.without([]string{first.Name})
	if len(less.Services) != len(p.Services)-1 {
		t.Errorf("%d services of %d are left", len(less.Services), len(p.Services))
	}
	for _, c := range less.Clients {
		for _, r := range c.Requests {
			if !slices.Contains(less.Services, r.Service) {
				t.Errorf("%s is for %s, which is not there", r.Name, r.Service.Name)
			}
		}
	}
	if p.without(nil).String() != p.String() {
		t.Error("leaving nothing out changes the program")
	}
}

// TestBodies reads what is written, in each framing.
func TestBodies(t *testing.T) {
	for _, f := range []Framing{Length, Chunked, Close} {
		for _, size := range []int{0, 1, 7, 8, 9, 1000, 70_000} {
			for _, chunk := range []int{1, 7, 65536} {
				for _, odd := range []bool{false, true} {
					b := appendBody(nil, 5, f, size, max(chunk, size/50), f == Chunked, odd)
					got := &checked{id: 5}
					_, err := readBody(bufio.NewReader(bytes.NewReader(b)), f, int64(size), got)
					if err != nil || got.n != int64(size) || got.wrong != "" {
						t.Errorf("%s of %d in chunks of %d: %d bytes, %q, %v", f, size, chunk, got.n, got.wrong, err)
					}
				}
			}
		}
	}
	got := &checked{id: 5}
	if got.take(appendPattern(nil, 6, 0, 10)); got.wrong == "" {
		t.Error("the body of another request is taken")
	}
	got = &checked{id: 5}
	if got.take(appendPattern(nil, 5, 1, 10)); got.wrong == "" {
		t.Error("a body that lacks its first byte is taken")
	}
}
