package acme

import "time"

// limit is how many of something a CA permits in a sliding window: that many at once,
// and then one more whenever window/most has passed. Let's Encrypt counts in the same
// way (https://letsencrypt.org/docs/rate-limits/). Zero means no limit.
type limit struct {
	most   int
	window time.Duration
}

// each is the time after which one of them is given back.
func (l limit) each() time.Duration { return l.window / time.Duration(l.most) }

// part is the limit for a share of it, at least least.
func (l limit) part(share float64, least int) limit {
	if l.most > 0 {
		l.most = min(l.most, max(int(float64(l.most)*share), least, 1))
	}
	return l
}

// spent is how much of a limit is used: the moment at which all of it is given back
// (the virtual scheduling of ITU-T I.371). Zero is nothing.
type spent time.Time

// left returns how many may be taken now.
func (l limit) left(s spent, now time.Time) int {
	owed := time.Time(s).Sub(now)
	if l.most == 0 || owed <= 0 {
		return l.most
	}
	return max(l.most-int((owed+l.each()-1)/l.each()), 0)
}

// at returns when n may be taken so that kept remain; it is not after now when they may
// be taken now.
func (l limit) at(s spent, n, kept int, now time.Time) time.Time {
	if l.most == 0 {
		return now
	}
	// More than the limit may be taken when all of it is available.
	n, kept = min(n, l.most), min(kept, max(l.most-n, 0))
	room := time.Duration(l.most-n-kept) * l.each()
	if owed := time.Time(s).Sub(now); owed > room {
		return now.Add(owed - room)
	}
	return now
}

// take takes n, whether or not they are available, and gives them back when n is
// negative.
func (l limit) take(s spent, n int, now time.Time) spent {
	if l.most == 0 {
		return s
	}
	from := latest(time.Time(s), now)
	return spent(from.Add(time.Duration(n) * l.each()))
}

// believed bounds a value that another clock, or another limit, has produced.
func (l limit) believed(s spent, now time.Time) spent {
	if last := now.Add(l.window); time.Time(s).After(last) {
		return spent(last)
	}
	return s
}
