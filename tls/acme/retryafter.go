package acme

import (
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// toldToWait is what the CA last said with a status of 429, because of its limits (RFC 8555
// section 6.6), and of 503, because it is busy. acmez does not put the field into its error,
// and the HTTP client is certmagic's own, so the field is read from the log line of the
// exchange.
type toldToWait struct {
	mu            sync.Mutex
	limited, busy time.Time
}

// exchangeLogged is the message that acmez logs for each request.
const exchangeLogged = "http request"

// note examines the log line of an exchange.
func (t *toldToWait) note(fields map[string]any) {
	status, _ := fields["status_code"].(int64)
	header, _ := fields["response_headers"].(http.Header)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch status {
	case http.StatusTooManyRequests:
		t.limited = retryAfter(header, time.Now())
	case http.StatusServiceUnavailable:
		t.busy = retryAfter(header, time.Now())
	}
}

// retryAfter returns until when a server wants no requests, zero when it does not say (RFC
// 9110 section 10.2.3).
func retryAfter(header http.Header, now time.Time) time.Time {
	value := header.Get("Retry-After")
	if at, err := http.ParseTime(value); err == nil {
		return at
	}
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return time.Time{}
	}
	return now.Add(time.Duration(min(seconds, math.MaxInt32)) * time.Second)
}

// toldToWait returns how long the CA wants no requests, if it said so with that status.
func (e *engine) toldToWait(status int) time.Duration {
	e.told.mu.Lock()
	defer e.told.mu.Unlock()
	until := e.told.limited
	if status == http.StatusServiceUnavailable {
		until = e.told.busy
	}
	return max(time.Until(until), 0)
}

// refusal is how the CA has refused an order for now.
type refusal struct {
	status int // 429, 503, or 0 for every other failure
	// limited says that a limit was exceeded; Let's Encrypt says so with either status.
	limited bool
}

// plainRefusal matches the text of acmez for an answer without a problem document, as of
// what stands before a CA.
var plainRefusal = regexp.MustCompile(`: HTTP (429|503): `)

// refusalOf reads a refusal from an error.
func refusalOf(err error) (r refusal) {
	var problem acme.Problem
	if errors.As(err, &problem) {
		r = refusal{problem.Status, problem.Type == acme.ProblemTypeRateLimited}
	} else if m := plainRefusal.FindStringSubmatch(err.Error()); m != nil {
		r.status, _ = strconv.Atoi(m[1])
	}
	switch r.status {
	case http.StatusTooManyRequests:
		r.limited = true
	case http.StatusServiceUnavailable:
	default:
		r.status = 0
	}
	return r
}
