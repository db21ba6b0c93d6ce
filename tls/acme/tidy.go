package acme

import (
	"context"
	"strings"
	"time"

	"serai/internal/sleep"
)

// keptFor is how long an expired certificate of a host that no route wants stays in the
// store.
const keptFor = 30 * 24 * time.Hour

// tidy removes certificates that no route wants any more and that expired long ago, and
// failures that are obsolete.
func (l *leader) tidy(ctx context.Context) {
	tokens := make(map[string]uint64)
	for ctx.Err() == nil {
		sleep.For(ctx, 10*time.Minute)
		tokens = l.tidyTokens(ctx, tokens)
		for host, paths := range l.mirror.hosts() {
			for _, path := range paths {
				e := l.mirror.at(path)
				old := e != nil && e.cert != nil && time.Since(e.cert.Leaf.NotAfter) > keptFor
				if old && ctx.Err() == nil && (!l.Wants(host) || path != certPath(l.engine.ca, host)) {
					l.options.Store.Delete(ctx, path)
				}
			}
		}
		for _, f := range l.mirror.failures() {
			e := l.certOf(f.Host)
			void := !l.Wants(f.Host) || e != nil && e.cert != nil && e.problem == "" && time.Now().Before(usualRenewal(e.cert))
			if void && (time.Since(f.Last) > 24*time.Hour || f.ahead(time.Now())) && ctx.Err() == nil {
				l.options.Store.Delete(ctx, failurePath(f.Host))
			}
		}
	}
}

// tidyTokens removes tokens that were there the last time, and that no order of this
// process uses: they are from leaders that were killed. It returns the existing ones,
// with their versions.
func (l *leader) tidyTokens(ctx context.Context, before map[string]uint64) map[string]uint64 {
	entries, err := l.options.Store.ListNewest(ctx, acmePath)
	if err != nil {
		return before
	}
	used := make(map[string]bool)
	l.mu.Lock()
	for host := range l.busy {
		used[genericPath(l.engine.tokenKey(host))] = true
	}
	l.mu.Unlock()
	now := make(map[string]uint64)
	for _, e := range entries {
		if used[e.Path] {
			continue
		}
		if before[e.Path] == e.Version && ctx.Err() == nil {
			// The account is there, too.
			r, err := l.options.Store.Get(ctx, e.Path)
			if err == nil && r.Version == e.Version && strings.Contains(r.Items["name"], tokenFolder) {
				l.options.Store.Delete(ctx, e.Path)
			}
		}
		now[e.Path] = e.Version
	}
	return now
}
