package admin

import (
	"bytes"
	"encoding/json"
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

// begin begins a stream of server-sent events, and reports whether there was room for it.
// Then end is to be called.
func (a *Admin) begin(w http.ResponseWriter) (flush func() error, end func(), ok bool) {
	if !a.followers.Take(1, int64(a.options.MaxFollowers)) {
		a.followersRefused.Add(1)
		w.Header().Set("Retry-After", "10")
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": fmt.Sprintf("%d others follow already: close a page or a command, or raise --max-followers", a.options.MaxFollowers)})
		return nil, nil, false
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	return http.NewResponseController(w).Flush, func() { a.followers.Give(1) }, true
}

// stream sends an answer whenever it has changed, until the client leaves.
func (a *Admin) stream(w http.ResponseWriter, r *http.Request, now func() any) {
	flush, end, ok := a.begin(w)
	if !ok {
		return
	}
	defer end()
	var last []byte
	sent := time.Now()
	for {
		began := time.Now()
		text, err := json.Marshal(now())
		took := time.Since(began) // the client's slowness costs nothing
		if err != nil {           // our types cannot fail
			return
		}
		switch {
		case !bytes.Equal(text, last):
			fmt.Fprintf(w, "data: %s\n\n", text)
			last, sent = text, time.Now()
		case time.Since(sent) > heartbeat:
			fmt.Fprint(w, ":\n\n")
			sent = time.Now()
		}
		if flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(followPause(took)):
		}
	}
}

// followPause is the pause after an answer that has taken so long to make. Of a large cluster it
// costs milliseconds: a stream takes at most a fiftieth of one processor, unless an answer takes
// longer than a third of a second.
func followPause(took time.Duration) time.Duration {
	return min(heartbeat, max(followEvery, 50*took))
}
