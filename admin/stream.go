package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// values is a query that has been parsed.
type values struct{ url.Values }

// follows reports whether a request wants server-sent events.
func follows(r *http.Request) bool {
	follow, err := strconv.ParseBool(r.URL.Query().Get("follow"))
	return err == nil && follow || strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

const (
	// followEvery is how often it is looked whether an answer has changed, heartbeat how
	// often a stream says at least something, so that either side notices when the other
	// one is gone.
	followEvery = time.Second
	heartbeat   = 15 * time.Second
	// maxFollowers is the default of Options.MaxFollowers.
	maxFollowers = 16
)

// What a stream says when nothing has changed: to programs a comment, to our pages an event, since a browser tells
// a script of no comment, and the page has to notice that nothing comes any more.
const (
	apiBeat  = ":\n\n"
	pageBeat = "event: beat\ndata: -\n\n"
)

// begin begins a stream of server-sent events, and reports whether there is one: there was room for it, and
// the client wants more than its head (HEAD, RFC 9110, section 9.3.2). Then end is to be called.
func (a *Admin) begin(w http.ResponseWriter, r *http.Request) (flush func() error, end func(), ok bool) {
	if !a.followers.Take(1, int64(a.options.MaxFollowers)) {
		a.followersRefused.Add(1)
		w.Header().Set("Retry-After", "10")
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": fmt.Sprintf("%d dashboard pages or commands follow already: close one, or raise --max-followers", a.options.MaxFollowers)})
		return nil, nil, false
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		a.followers.Give(1)
		return nil, nil, false
	}
	return http.NewResponseController(w).Flush, func() { a.followers.Give(1) }, true
}

// stream sends an answer whenever it has changed, until the client leaves. All who follow the one
// with this key are sent the same. Prepare returns what makes it when its turn has come, and beat is what is said
// while nothing changes.
func (a *Admin) stream(w http.ResponseWriter, r *http.Request, key, beat string, prepare func() func() []byte) {
	flush, end, ok := a.begin(w, r)
	if !ok {
		return
	}
	defer end()
	f := a.followed.join(key, a.gate)
	defer a.followed.leave(key)
	s, last := w.(*sending), uint64(0)
	sent := time.Now()
	for {
		text, sum, pause := f.now(r.Context(), prepare)
		switch {
		case text != nil && sum != last && s.take(int64(len(text))):
			fmt.Fprintf(w, "data: %s\n\n", text)
			last, sent = sum, time.Now()
		case time.Since(sent) > heartbeat:
			fmt.Fprint(w, beat)
			sent = time.Now()
		}
		err := flush()
		s.give()
		if err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(pause):
		}
	}
}

// followPause is the pause after an answer that has taken so long to make. Of a large cluster it
// costs milliseconds: a stream takes at most a fiftieth of one processor, unless an answer takes
// longer than a third of a second.
func followPause(took time.Duration) time.Duration {
	return min(heartbeat, max(followEvery, 50*took))
}
