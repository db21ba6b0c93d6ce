package router

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"serai/discovery"
)

// maxServiceTags bounds the tags with our prefix in all different lists of the
// instances of one service: all are read whenever one of them changes.
const maxServiceTags = 8192

// maxAskedClaims bounds, as a multiple of the claims that a service may have, what
// its instances claim in all different lists of tags.
const maxAskedClaims = 8

// parsed is the result of parsing one list of tags.
type parsed struct {
	tags        []string
	definitions []Definition
	problems    []Problem
	claims      int // that it asks for
	// grants are what came of each definition, for the instances that differ in
	// nothing which decides about that.
	grants map[petitioner][]grant
}

// readAll reads the tags of all instances, the oldest first, because a quota refuses
// the newest. Most instances have the same tags.
func (c *compilation) readAll(source *discovery.Service) {
	instances := slices.Clone(source.Instances)
	slices.SortStableFunc(instances, func(a, b *discovery.Instance) int { return cmp.Compare(a.Created, b.Created) })
	known, seed, read := make(map[uint64][]*parsed), maphash.MakeSeed(), 0
	for _, instance := range instances {
		hash := hashTags(seed, instance.Tags)
		at := slices.IndexFunc(known[hash], func(p *parsed) bool { return slices.Equal(p.tags, instance.Tags) })
		if at < 0 {
			if n := c.grammar.count(instance.Tags); read > 0 && read+n > maxServiceTags {
				c.refuse(instance, Rejection{Instance: true, Why: fmt.Sprintf("the instances of the service carry more than %d different tags of %s", maxServiceTags, c.grammar.prefix),
					Instead: "the same tags on all instances"})
				continue
			} else {
				read += n
			}
			p := &parsed{tags: instance.Tags}
			p.definitions, p.problems = c.grammar.Parse(instance.Tags)
			c.lookUpPolicies(p)
			for i := range p.definitions {
				d := &p.definitions[i]
				p.claims += len(d.Hosts) * (len(d.Prefixes) + len(d.Exact))
			}
			at, known[hash] = len(known[hash]), append(known[hash], p)
		}
		c.read(instance, known[hash][at])
	}
}

func hashTags(seed maphash.Seed, tags []string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, t := range tags {
		h.WriteString(t)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// read applies the definitions of an instance.
func (c *compilation) read(instance *discovery.Instance, p *parsed) {
	for _, p := range p.problems {
		c.refuse(instance, Rejection{Route: p.Route, Instance: p.Whole, Hosts: p.Hosts, Tag: p.Tag, Why: p.Why, Instead: p.Instead})
	}
	if len(p.definitions) == 0 {
		return
	}
	address, f := c.address(instance)
	if f != nil {
		c.refuse(instance, Rejection{Instance: true, Why: f.why, Instead: f.instead})
		return
	}
	who := petitioner{instance.Job, instance.ByHand()}
	grants, known := p.grants[who]
	if !known {
		if most := maxAskedClaims * c.options.Quotas.Claims.Service; !who.byHand && c.asked > 0 && c.asked+p.claims > most {
			c.refuse(instance, Rejection{Instance: true, Why: fmt.Sprintf("the instances of the service claim more than %d times a host and path, each list of different tags counted", most),
				Instead: "the same tags on all instances; the operator can raise --max-claims-service"})
			return
		}
		c.asked += p.claims
		if p.grants == nil {
			p.grants = make(map[petitioner][]grant)
		}
		grants = make([]grant, len(p.definitions))
		p.grants[who] = grants
	}
	for i := range p.definitions {
		switch d := &p.definitions[i]; {
		case d.Class != c.options.Class:
		case known:
			c.askAgain(instance, address, d, p.definitions, &grants[i])
		default:
			grants[i] = c.ask(instance, address, d, p.definitions)
		}
	}
}
