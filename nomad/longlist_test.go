package nomad_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"serai/nomad"
)

// longList answers a list of services that is far longer than is read of any other answer:
// 5,000 services, one with 4 MiB of tags, one with a tag of 256 KiB, and one behind them.
func longList(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Nomad-Index", "7")
	w.Header().Set("X-Nomad-KnownLeader", "true")
	w.Header().Set("X-Nomad-LastContact", "0")
	b := bufio.NewWriterSize(w, 1<<16)
	defer b.Flush()
	fmt.Fprint(b, `[{"Namespace":"default","Services":[`)
	for i := range 5_000 {
		fmt.Fprintf(b, `{"ServiceName":"s%d","Tags":["ingress.host=s%d.example.org","%0400d"]},`, i, i, i)
	}
	fmt.Fprint(b, `{"ServiceName":"greedy","Tags":["first"`)
	for i := range 4 << 10 {
		fmt.Fprintf(b, `,"%01021d"`, i)
	}
	fmt.Fprint(b, `]},{"ServiceName":"wide","Tags":["`)
	for range 256 {
		fmt.Fprint(b, strings.Repeat(`\u00e4`, 1<<10/6), "\\", `"`)
	}
	fmt.Fprint(b, `","short"]},{"ServiceName":"last","Tags":["a","b"]}]}]`)
}

// TestListOfAnyLength: a list of services takes as much memory as one of its rows, which is
// bounded, and every row of it is read.
func TestListOfAnyLength(t *testing.T) {
	c := connect(t, nomad.Options{Address: serve(t, http.HandlerFunc(longList)), Limits: nomad.Limits{Answer: 256 << 10, Request: 5 * time.Minute}})
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := heap(), int64(0)
	rows := make(map[string]nomad.ServiceStub)
	n := 0
	_, err := c.EachService(t.Context(), nomad.Query{}, func(stub nomad.ServiceStub) error {
		if n++; n%1_000 == 0 || len(stub.Tags) > 2 {
			most = max(most, heap()-before)
		}
		switch stub.ServiceName {
		case "s0", "s4999", "greedy", "wide", "last":
			rows[stub.ServiceName] = stub
		}
		return nil
	})
	if err != nil || n != 5_003 {
		t.Fatalf("%d services, %v", n, err)
	}
	if s := rows["s4999"]; s.Cut || len(s.Tags) != 2 || s.Tags[0] != "ingress.host=s4999.example.org" {
		t.Errorf("the last of many is %+v", s)
	}
	if s := rows["greedy"]; !s.Cut || len(s.Tags) < 1000 || len(s.Tags) > 1100 || s.Tags[0] != "first" {
		t.Errorf("of the greedy one, %d tags are kept, cut %v", len(s.Tags), s.Cut)
	}
	if s := rows["wide"]; !s.Cut || len(s.Tags) != 2 || len(s.Tags[0]) < 32<<10 || len(s.Tags[0]) > 64<<10 || s.Tags[1] != "short" {
		t.Errorf("of the wide one, %d tags are kept, cut %v", len(s.Tags), s.Cut)
	}
	if s := rows["last"]; s.Cut || strings.Join(s.Tags, " ") != "a b" {
		t.Errorf("the last is %+v", s)
	}
	t.Logf("%d KiB at most", most>>10)
	if most > 4<<20 { // a row, the tests' own rows, connections
		t.Errorf("it takes %d KiB", most>>10)
	}
	if all, _, err := c.Services(t.Context(), nomad.Query{}); !errors.Is(err, nomad.ErrTooLong) || all != nil {
		t.Errorf("a whole list has %d services, %v; want an error", len(all), err)
	}
}
