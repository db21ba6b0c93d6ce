package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serai/internal/history"
)

// Events is the answer of /api/v1/events: the oldest first.
type Events struct {
	Items []*history.Event `json:"items"`
	// Last is the ID of the newest event of all: ?since=LAST asks for what follows.
	Last int64 `json:"last"`
}

// eventQuery selects events.
type eventQuery struct {
	selection
	since int64
	limit int // the newest ones; 0 for all
	kind  history.Kind
	text  string
}

func eventQueryOf(r *http.Request, q values) (e eventQuery, err error) {
	e.selection, e.kind, e.text = selected(q.Values), history.Kind(q.Get("event")), strings.ToLower(q.Get("q"))
	if e.kind != "" && !slices.Contains(history.Kinds(), e.kind) {
		return e, fmt.Errorf("event=%q is not a kind of event; kinds: %s", e.kind, join(history.Kinds()))
	}
	if e.limit, err = q.number("limit", 0, 1, history.MaxSize); err != nil {
		return e, err
	}
	// A browser that connects again says what it has seen.
	since := q.Get("since")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		since = id
	}
	if since == "" {
		return e, nil
	}
	if e.since, err = strconv.ParseInt(since, 10, 64); err == nil {
		return e, nil
	}
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return e, fmt.Errorf("since=%q is neither the ID of an event nor a time such as 2026-01-31T03:12:00Z", since)
	}
	e.since = at.UnixMicro() - 1
	return e, nil
}

func join(kinds []history.Kind) string {
	all := make([]string, len(kinds))
	for i, k := range kinds {
		all[i] = string(k)
	}
	return strings.Join(all, ", ")
}

// of selects from events.
func (q *eventQuery) of(all []*history.Event) []*history.Event {
	all = slices.DeleteFunc(all, func(e *history.Event) bool {
		return !q.takes(e.Namespace, e.Service) || q.kind != "" && q.kind != e.Kind ||
			!matching(q.text, string(e.Kind), e.Namespace, e.Service, e.Host, e.Address, e.Alloc, e.Source, e.Message, e.Why)
	})
	if q.limit > 0 && len(all) > q.limit {
		all = all[len(all)-q.limit:]
	}
	return all
}

func (a *Admin) serveEvents(w http.ResponseWriter, r *http.Request) {
	parsed, ok := parameters(w, r, "since", "event", "namespace", "service", "q", "limit", "follow")
	if !ok {
		return
	}
	q, err := eventQueryOf(r, values{parsed})
	if err != nil {
		refuse(w, err.Error())
		return
	}
	if a.options.History == nil {
		answer(w, http.StatusOK, Events{Items: []*history.Event{}})
		return
	}
	if follows(r) {
		a.followEvents(w, r, q)
		return
	}
	a.serve(w, r, func() (any, error) { return a.events(q), nil })
}

// events returns the events that a query selects.
func (a *Admin) events(q eventQuery) Events {
	all, _ := a.options.History.Since(q.since)
	e := Events{Last: q.since, Items: []*history.Event{}}
	if len(all) > 0 {
		e.Last = all[len(all)-1].ID
	}
	e.Items = append(e.Items, q.of(all)...)
	return e
}

// newest returns events, the newest first; none when they are not kept.
func (a *Admin) newest(q eventQuery) []*history.Event {
	if a.options.History == nil {
		return nil
	}
	all := a.events(q).Items
	slices.Reverse(all)
	return all
}

// followEvents sends the events that a query selects, and then each new one.
func (a *Admin) followEvents(w http.ResponseWriter, r *http.Request, q eventQuery) {
	flush, end, ok := a.begin(w, r)
	if !ok {
		return
	}
	defer end()
	for {
		all, next := a.options.History.Since(q.since)
		if len(all) > 0 {
			q.since = all[len(all)-1].ID
		}
		for _, e := range q.of(all) {
			writeEvent(w, e)
		}
		q.limit = 0
		if flush() != nil || !waitFor(r.Context(), w, next) {
			return
		}
	}
}

// writeEvent writes an event as server-sent events have it.
func writeEvent(w io.Writer, e *history.Event) {
	text, err := json.Marshal(e) // has no line feed
	if err != nil {              // our type cannot fail
		return
	}
	fmt.Fprintf(w, "id: %d\ndata: %s\n\n", e.ID, text)
}

// waitFor waits for something to happen, and says now and then that it waits. It is false
// when the client has left.
func waitFor(ctx context.Context, w http.ResponseWriter, what <-chan struct{}) bool {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-what:
			return true
		case <-beat.C:
			fmt.Fprint(w, ":\n\n")
			if http.NewResponseController(w).Flush() != nil {
				return false
			}
		}
	}
}

var (
	decisions       = desc("serai_decisions_total", "Events (what serai has decided), by kind; /api/v1/events lists the latest.", "event")
	decisionsLost   = desc("serai_decisions_forgotten_total", "Events dropped from the list at /api/v1/events because it was full (--max-events).")
	decisionsLimit  = desc("serai_decisions_limit", "Events that are kept for /api/v1/events: --max-events.")
	followersNow    = desc("serai_admin_followers", "Open requests that follow changes: dashboard pages, serai events -f, ?follow=1.")
	requestsRefused = desc("serai_admin_refused_total", "Requests to the admin listener refused because the token or the client certificate was missing or wrong, by reason.", "reason")
	madeRoom        = desc("serai_admin_connections_recalled_total", "Connections to --admin and --metrics closed to make room for others: without a request, or with a response that the client did not read.")
	answersHold     = desc("serai_admin_answers_bytes", "Memory in bytes used by responses of --admin and --metrics that are not sent yet.")
	answersMay      = desc("serai_admin_answers_bytes_limit", "Limit of serai_admin_answers_bytes: --admin-memory, at most a sixteenth of the memory.")
	answersRefused  = desc("serai_admin_answers_refused_total", "Requests to --admin and --metrics answered 503 because the memory for responses (--admin-memory) was used up.")
	answersEnded    = desc("serai_admin_answers_ended_total", "Responses of --admin and --metrics cut off because the client did not read them while others needed the memory.")
	profilesRefused = desc("serai_admin_profiles_refused_total", "Requests for profiles (/debug/pprof/) refused because too many others were running.")
	followersTurned = desc("serai_admin_followers_refused_total", "Requests to follow changes that were refused because of --max-followers.")
)

// ownMetrics collects what the admin itself has.
type ownMetrics struct{ *Admin }

// Collect implements prometheus.Collector.
func (a ownMetrics) Collect(out chan<- prometheus.Metric) {
	gauge(out, followersNow, float64(a.followers.Taken()))
	counter(out, followersTurned, a.followersRefused.Load())
	gauge(out, answersHold, float64(a.gate.taken()))
	gauge(out, answersMay, float64(a.gate.limit))
	counter(out, answersRefused, a.gate.refused.Load())
	counter(out, answersEnded, a.gate.ended.Load())
	counter(out, profilesRefused, a.profilesRefused.Load())
	for why, d := range denials {
		counter(out, requestsRefused, a.denied[why].Load(), d.reason)
	}
	if a.options.MadeRoom != nil {
		counter(out, madeRoom, a.options.MadeRoom())
	}
	if a.options.History == nil {
		return
	}
	s := a.options.History.Status()
	for kind, n := range s.Counts {
		counter(out, decisions, n, string(kind))
	}
	counter(out, decisionsLost, s.Forgotten)
	gauge(out, decisionsLimit, float64(s.Size))
}

// Describe describes nothing: see Collect.
func (ownMetrics) Describe(chan<- *prometheus.Desc) {}
