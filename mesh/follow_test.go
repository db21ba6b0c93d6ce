package mesh_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rising is an agent that answers each query at once, at a higher index.
type rising struct {
	leaf, roots any
	asked       atomic.Int64
}

func (a *rising) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Consul-Index", fmt.Sprint(a.asked.Add(1)))
	answer := a.roots
	if strings.Contains(r.URL.Path, "/leaf/") {
		answer = a.leaf
	}
	json.NewEncoder(w).Encode(answer)
}

// TestIndexRises: such an agent is not asked all the time.
func TestIndexRises(t *testing.T) {
	ours := newAuthority(t)
	a := &rising{leaf: leafOf(t, ours.of(nil, id("serai"))), roots: rootsOf(domain, ours)}
	m := newMesh(t, a)
	config(t, m)
	time.Sleep(3 * time.Second)
	if n := a.asked.Load(); n < 10 || n > 100 {
		t.Errorf("%d requests in about three seconds", n)
	}
}
