package router

import (
	"slices"
	"time"

	"serai/discovery"
	"serai/upstream"
)

// update is one step from a table to the next.
type update struct {
	now time.Time
	// hosts are the changes, by host pattern.
	hosts map[string]*change
	// pools are the new pools, endpoints what the replaced services no longer need.
	pools     []*upstream.Pool
	endpoints []*upstream.Endpoint
	refused   *edit[[]Rejection]
	// news are the refusals that the last table did not have, ended those that the next
	// one does not have.
	news, ended noted
	// moved are the routes that came, went, or began or ceased to wait for an instance.
	moved map[movedID]*move
	// rooms are the rooms of routes that are gone.
	rooms []*upstream.Room
	// pages are the services whose routes, or whose use as one with error pages, may
	// have changed.
	pages map[discovery.Key]bool
	// anew says that every route has been made anew, by another configuration.
	anew bool
}

// drop notes a route that is gone. A route that came within the same update was never
// visible.
func (c *change) drop(r *Route) {
	if i := slices.Index(c.add, r); i >= 0 {
		c.add = slices.Delete(c.add, i, i+1)
		return
	}
	c.remove = append(c.remove, r)
}

func (u *update) at(host string) *change {
	c := u.hosts[host]
	if c == nil {
		c = &change{}
		u.hosts[host] = c
	}
	return c
}

// refuse replaces the rejections of a service.
func (u *update) refuse(key discovery.Key, old, next []Rejection) {
	if len(old)+len(next) == 0 {
		return
	}
	u.refused.set(key.Namespace+"/"+key.Name, next, len(next) > 0)
	u.note(old, next)
}
