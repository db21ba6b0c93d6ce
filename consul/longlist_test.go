package consul

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestListsOfAnyLength: lists of services and of checks that are longer than any other answer
// may be are read to their end, and of a service with very many tags some are kept.
func TestListsOfAnyLength(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		b := bufio.NewWriter(w)
		defer b.Flush()
		if r.URL.Path == "/v1/catalog/services" {
			fmt.Fprint(b, `{"greedy":["first"`)
			for i := range 4 << 10 {
				fmt.Fprintf(b, `,"%01021d"`, i)
			}
			fmt.Fprint(b, `],"last":["a"]}`)
			return
		}
		fmt.Fprint(b, "[")
		for i := range 1000 {
			fmt.Fprintf(b, `{"Node":"n","CheckID":"c%d","Output":"%s","ServiceID":"s%d","ServiceName":"s","Definition":{}},`, i, strings.Repeat("x", 4096), i)
		}
		fmt.Fprint(b, `{"Node":"last","ServiceID":"1","ServiceName":"web"}]`)
	}))
	defer s.Close()
	c := newTestClient(t, Options{Address: s.URL, Limits: Limits{Answer: 64 << 10}})
	var names []string
	meta, err := c.EachService(t.Context(), Query{}, func(name string, tags []string, cut bool) {
		names = append(names, fmt.Sprint(name, len(tags) > 1000, cut))
	})
	if got := strings.Join(names, " "); err != nil || got != "greedytrue true lastfalse false" || meta.Size < 4<<20 {
		t.Errorf("%s, %+v, %v", got, meta, err)
	}
	n, last := 0, ""
	if _, err := c.EachCheck(t.Context(), Critical, Query{}, func(node, id, service string) { n, last = n+1, node+"/"+id+"/"+service }); err != nil || n != 1001 || last != "last/1/web" {
		t.Errorf("%d checks, the last %s, %v", n, last, err)
	}
}
