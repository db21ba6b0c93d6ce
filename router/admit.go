package router

import (
	"cmp"
	"slices"

	"serai/discovery"
)

// over reports whether a namespace, or all services together, ask for more than the
// quota.
func (b *Builder) over(u usage, s scope) bool {
	for r, n := range u.asked {
		l := b.options.Quotas.limits(resource(r))
		most := l.of(s)
		if s == ofAll {
			most -= l.spare()
		}
		if n > most {
			return true
		}
	}
	return false
}

// admit sets what each service may take of the quotas, when one gets less than it asks
// for, or has got less until now.
func (b *Builder) admit(u *update) {
	crowded := make(map[string]bool)
	all := b.over(b.usedByAll, ofAll)
	for namespace, used := range b.used {
		if all || b.over(used, ofNamespace) {
			crowded[namespace] = true
		}
	}
	if sum := &b.usedByAll; len(crowded) == 0 && len(b.allowances) == 0 && sum.got == sum.asked {
		return
	}
	next := b.allot(crowded, all)
	var changed []discovery.Key
	for key := range b.services {
		if b.differs(key, next) {
			changed = append(changed, key)
		}
	}
	b.allowances = next
	slices.SortFunc(changed, func(x, y discovery.Key) int { return cmpStrings(x.Namespace, y.Namespace, x.Name, y.Name) })
	b.allotting = true
	for _, key := range changed {
		b.replace(u, key, b.services[key].source)
	}
	b.allotting = false
}

// differs reports whether a service has to be compiled again.
func (b *Builder) differs(key discovery.Key, next map[discovery.Key]allowances) bool {
	s := b.services[key]
	had, is := b.allowances[key]
	gets, will := next[key]
	if will {
		return !is || had != gets
	}
	return is || s.usage.got != s.usage.asked
}

// allot goes through the services in the order in which they came. The result has those
// that get less than they ask for.
func (b *Builder) allot(crowded map[string]bool, all bool) map[discovery.Key]allowances {
	short := make(map[discovery.Key]allowances)
	var taken amount
	of := make(map[string]*amount)
	users := make(map[sharedQuota]string) // cached: thousands of services may lack the same quota
	largest := func(p sharedQuota) string {
		name, known := users[p]
		if !known {
			name = b.largest(p)
			users[p] = name
		}
		return name
	}
	for namespace, used := range b.used {
		if !crowded[namespace] {
			taken.add(used.asked, 1)
		}
		of[namespace] = &amount{}
	}
	for _, key := range b.byArrival(crowded) {
		asks, has := b.services[key].usage.asked, of[key.Namespace]
		var a allowances
		var gets amount
		for r := range resources {
			a[r] = room(b.options.Quotas.limits(r), has[r], taken[r])
			// No more than it asks for: otherwise each change of others would change it.
			a[r].n = min(asks[r], a[r].n)
			gets[r] = a[r].n
		}
		has.add(gets, 1)
		taken.add(gets, 1)
		if gets != asks {
			for r := range resources {
				if gets[r] < asks[r] {
					a[r].user = largest(newSharedQuota(key.Namespace, a[r].of, r))
				}
			}
			short[key] = a
		}
	}
	return short
}

// byArrival returns the services of namespaces in the order in which they came: by age,
// but last those that the nodes have agreed came too late.
func (b *Builder) byArrival(of map[string]bool) (keys []discovery.Key) {
	for key, s := range b.services {
		if of[key.Namespace] && s.usage.asked != (amount{}) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(x, y discovery.Key) int {
		return cmp.Or(cmp.Compare(b.agreed.latePlace(x), b.agreed.latePlace(y)), cmp.Compare(b.services[x].age, b.services[y].age),
			cmpStrings(x.Namespace, y.Namespace, x.Name, y.Name))
	})
	return keys
}

// sharedQuota is a quota that several services share: of a namespace, or of all together.
type sharedQuota struct {
	namespace string
	of        scope
	what      resource
}

func newSharedQuota(namespace string, of scope, what resource) sharedQuota {
	if of == ofAll {
		namespace = ""
	}
	return sharedQuota{namespace, of, what}
}

// largest names the service or namespace that uses most of a quota.
func (b *Builder) largest(p sharedQuota) (name string) {
	most := 0
	switch p.of {
	case ofNamespace:
		for k, s := range b.services {
			if n := s.usage.asked[p.what]; k.Namespace == p.namespace && (n > most || n == most && k.Name < name) {
				most, name = n, k.Name
			}
		}
		return "service " + printable(name)
	case ofAll:
		for k, u := range b.used {
			if n := u.asked[p.what]; n > most || n == most && k < name {
				most, name = n, k
			}
		}
		return "namespace " + printable(name)
	}
	return ""
}

// The order of services that are over the quotas of their namespace is agreed upon like
// the order of a contest: the first claimant stands for all that came in time.
const quotaContest = "(quota) "

// latePlace is the position of a service among those that came too late, 0 when it is
// not one of them.
func (a Agreement) latePlace(key discovery.Key) int {
	all := a[quotaContest+key.Namespace]
	return max(0, slices.IndexFunc(all, func(c Claimant) bool { return c.Key == key }))
}

// quotaContests returns the contests for quotas.
func (b *Builder) quotaContests() (all []Contest) {
	crowded := make(map[string]bool)
	for key := range b.allowances {
		crowded[key.Namespace] = true
	}
	if len(crowded) == 0 {
		return nil
	}
	at := make(map[string]int)
	for _, key := range b.byArrival(crowded) {
		if _, short := b.allowances[key]; !short {
			continue
		}
		i, known := at[key.Namespace]
		if !known {
			i, at[key.Namespace] = len(all), len(all)
			first := Claimant{Key: discovery.Key{Namespace: key.Namespace, Name: everyTenant}, Instances: true}
			all = append(all, Contest{Name: quotaContest + key.Namespace, Claimants: []Claimant{first}})
		}
		if c := &all[i]; len(c.Claimants) < maxClaimants {
			c.Claimants = append(c.Claimants, Claimant{Key: key, Instances: b.services[key].source != nil})
		}
	}
	return all
}
