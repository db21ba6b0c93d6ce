package acme

import (
	"testing"
	"time"
)

// TestWhenTheCAIsAskedAgain: a CA that wants to be asked years later, by mistake or because its
// clock is wrong, is asked a day later (RFC 9773 section 4.3.2).
func TestWhenTheCAIsAskedAgain(t *testing.T) {
	now := time.Now()
	for said, want := range map[time.Duration]time.Duration{
		-time.Hour: askAgain, 0: askAgain, time.Second: askAgain, 2 * time.Hour: 2 * time.Hour, 23 * time.Hour: 23 * time.Hour,
		25 * time.Hour: askAgainLatest, 10 * 365 * 24 * time.Hour: askAgainLatest,
	} {
		told := now.Add(said)
		if got := nextAsk(&told, now).Sub(now); got != want {
			t.Errorf("a CA that says %v is asked again after %v, want %v", said, got, want)
		}
	}
	if got := nextAsk(nil, now).Sub(now); got != askAgain {
		t.Errorf("a CA that says nothing is asked again after %v, want %v", got, askAgain)
	}
}
