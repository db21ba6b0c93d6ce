package proxy

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"serai/wire"
)

// TestCombined compares lines of the combined format with what Apache would write.
func TestCombined(t *testing.T) {
	make := func(method, target string, fields ...string) *Exchange {
		x := &Exchange{Start: time.Date(2026, 11, 27, 23, 1, 2, 345, time.FixedZone("", 3600)), Client: netip.MustParseAddr("192.0.2.7"), Status: 200, BytesOut: 2326}
		x.Head = wire.RequestHead{Method: []byte(method), Target: []byte(target), Minor: 1}
		for i := 0; i < len(fields); i += 2 {
			x.Head.Fields = append(x.Head.Fields, wire.Field{Name: []byte(fields[i]), Value: []byte(fields[i+1])})
		}
		return x
	}
	plain := make("GET", "/a?token=secret&b", "Referer", "https://example.org/from?token=secret", "User-Agent", "Mozilla/5.0 (X11)")
	none := &Exchange{Start: plain.Start}
	six := make("POST", "/")
	six.Client, six.Head.Major, six.BytesOut, six.Status = netip.MustParseAddr("2001:db8::1"), 2, 0, 0
	for _, c := range []struct {
		x    *Exchange
		q    Query
		want string
	}{
		{plain, QueryOn, `192.0.2.7 - - [27/Nov/2026:22:01:02 +0000] "GET /a?token=secret&b HTTP/1.1" 200 2326 "https://example.org/from?token=secret" "Mozilla/5.0 (X11)"`},
		{plain, QueryOff, `192.0.2.7 - - [27/Nov/2026:22:01:02 +0000] "GET /a HTTP/1.1" 200 2326 "https://example.org/from" "Mozilla/5.0 (X11)"`},
		{plain, QueryRedact, `192.0.2.7 - - [27/Nov/2026:22:01:02 +0000] "GET /a?token=-&- HTTP/1.1" 200 2326 "https://example.org/from?token=-" "Mozilla/5.0 (X11)"`},
		{make("GET", "/\"\\\x01\xff", "User-Agent", "a\" \"b\x7f"), QueryOn, `192.0.2.7 - - [27/Nov/2026:22:01:02 +0000] "GET /\"\\\x01\xff HTTP/1.1" 200 2326 "-" "a\" \"b\x7f"`},
		{six, QueryOn, `2001:db8::1 - - [27/Nov/2026:22:01:02 +0000] "POST / HTTP/2.0" 0 - "-" "-"`},
		{none, QueryOn, `- - - [27/Nov/2026:22:01:02 +0000] "-" 0 - "-" "-"`},
	} {
		if got := string(c.x.appendCombined(nil, c.q)); got != c.want+"\n" {
			t.Errorf("got  %swant %s", got, c.want)
		}
	}
	long := make("GET", "/"+strings.Repeat("\x00", 100_000)+"?"+strings.Repeat("a=b&", 100_000), "User-Agent", strings.Repeat("\"", 100_000), "Referer", "/?"+strings.Repeat("\"=b&", 100_000))
	for _, q := range []Query{QueryOn, QueryOff, QueryRedact} {
		if line := long.appendCombined(nil, q); len(line) > 60<<10 || bytes.Count(line, []byte{'\n'}) != 1 {
			t.Errorf("%s: a line of %d bytes, which the writer's buffer does not hold", q, len(line))
		}
	}
}

// FuzzCombined: whatever a client sends is one line with its fields.
func FuzzCombined(f *testing.F) {
	line := regexp.MustCompile(`^\S+ - - \[[^\]]+\] "((?:[^"\\]|\\.)*)" \d+ (?:\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"\n$`)
	f.Add("GET", "/?a=b", "x", "y")
	f.Add("", "\"", "\\", "\n")
	f.Fuzz(func(t *testing.T, method, target, referer, agent string) {
		x := &Exchange{}
		x.Head = wire.RequestHead{Method: []byte(method), Target: []byte(target), Fields: []wire.Field{
			{Name: []byte("referer"), Value: []byte(referer)}, {Name: []byte("user-agent"), Value: []byte(agent)}}}
		for _, q := range []Query{QueryOn, QueryOff, QueryRedact} {
			if got := x.appendCombined(nil, q); !line.Match(got) {
				t.Errorf("%q", got)
			}
		}
	})
}
