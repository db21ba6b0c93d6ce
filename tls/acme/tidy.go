package acme

import (
	"context"
	"time"
)

// keptFor is how long an expired certificate of a host that nobody wants stays
// in the store.
const keptFor = 30 * 24 * time.Hour

// tidy removes what nobody wants any more and has expired long ago, and
// failures that something has made void.
func (l *leader) tidy(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, 10*time.Minute)
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
			if void && time.Since(f.Last) > 24*time.Hour && ctx.Err() == nil {
				l.options.Store.Delete(ctx, failurePath(f.Host))
			}
		}
	}
}
