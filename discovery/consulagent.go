package discovery

import (
	"context"
	"errors"
	"time"

	"serai/consul"
)

// again gives up all requests, which nobody may answer any more, and asks for everything; or,
// of services without a query of their own, only for what was asked for. Then the lists tell
// which of the others have changed, as they always do: an agent that only lacked a leader has so for
// every serai, and what all of them read at that moment is what the servers have to bear.
func (r *consulRun) again(everything bool) {
	r.end()
	r.asks, r.end = context.WithCancel(r.ctx)
	r.queue, r.reading, r.paused = nil, 0, false
	if everything {
		r.all, r.deploys = nil, nil
	}
	clear(r.sampling)
	for _, f := range r.followed {
		due := everything || f.watched || !f.known || f.asking || f.queued || r.troubles[f.name] != nil
		f.asking, f.reading, f.again, f.queued = false, false, false, false
		if everything {
			f.later, f.inAll = false, false
		}
		if due {
			r.enqueue(f, f.surely)
		}
	}
	if len(r.followed) > r.watching {
		r.sample()
	}
	r.askCatalog(0, 0)
}

// ping asks the agent now and then whether it still answers: a query that waits would not
// show it.
func (r *consulRun) ping(after time.Duration) {
	r.do(r.ctx, after, func(ctx context.Context) func() {
		err := r.options.Client.Leader(ctx)
		return func() {
			was := r.troubles[theAgent]
			if err != nil {
				r.missed = r.missed || !errors.Is(err, consul.ErrUnavailable)
				r.trouble(theAgent, err)
				r.ping(around(min(r.options.Ping, time.Second)))
				return
			}
			r.well(theAgent)
			r.set(func(s *Status) { s.Heard = time.Now() })
			if was != nil {
				r.again(r.missed)
				r.missed = false
			}
			r.ping(around(r.options.Ping))
		}
	})
}
