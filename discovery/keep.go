package discovery

import "context"

// Keep returns a Source that sends the Snapshots of source, and saves them.
func (c *Cache) Keep(source Source) Source { return kept{c, source} }

type kept struct {
	cache *Cache
	Source
}

func (k kept) Run(ctx context.Context, out chan<- *Snapshot) error {
	through := make(chan *Snapshot)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case s := <-through:
				k.cache.Save(s)
				select {
				case out <- s:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	err := k.Source.Run(ctx, through)
	<-ended
	return err
}
