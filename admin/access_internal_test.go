package admin

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// TestProfilesAtOnce: a few are taken at once; one more is refused, and taken when one of them has ended.
func TestProfilesAtOnce(t *testing.T) {
	a := &Admin{}
	free := make(chan struct{})
	var begun, taken sync.WaitGroup
	ask := func(profile http.HandlerFunc) int {
		r, w := httptest.NewRequest("GET", "/debug/pprof/heap", nil), httptest.NewRecorder()
		r.RemoteAddr = "127.0.0.1:1"
		a.profiled(profile)(w, r)
		return w.Code
	}
	for range maxProfiles {
		begun.Add(1)
		taken.Go(func() { ask(func(http.ResponseWriter, *http.Request) { begun.Done(); <-free }) })
	}
	begun.Wait()
	nothing := func(http.ResponseWriter, *http.Request) {}
	if code := ask(nothing); code != 503 || a.profilesRefused.Load() != 1 {
		t.Errorf("one more is answered %d", code)
	}
	close(free)
	taken.Wait()
	if code := ask(nothing); code != 200 || a.profiles.Taken() != 0 {
		t.Errorf("after them one is answered %d", code)
	}
}
