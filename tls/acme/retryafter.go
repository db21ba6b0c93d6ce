package acme

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// toldToWait is what the CA last said with a status of 429 (RFC 8555 section 6.6).
// acmez does not put the field into its error, and the HTTP client is certmagic's own,
// so the field is read from the log line of the exchange.
type toldToWait struct {
	mu    sync.Mutex
	until time.Time
}

// exchangeLogged is the message that acmez logs for each request.
const exchangeLogged = "http request"

// note examines the log line of an exchange.
func (t *toldToWait) note(fields map[string]any) {
	status, _ := fields["status_code"].(int64)
	header, _ := fields["response_headers"].(http.Header)
	if status != http.StatusTooManyRequests {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
	value := header.Get("Retry-After")
	if at, err := http.ParseTime(value); err == nil {
		t.until = at
	} else if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		t.until = time.Now().Add(time.Duration(seconds) * time.Second)
	}
}

// toldToWait returns how long the CA wants no requests, if it said so.
func (e *engine) toldToWait() time.Duration {
	e.told.mu.Lock()
	defer e.told.mu.Unlock()
	return max(time.Until(e.told.until), 0)
}
