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

// parsed is the result of parsing one list of tags.
type parsed struct {
	tags        []string
	definitions []Definition
	problems    []Problem
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
	for i := range p.definitions {
		if d := &p.definitions[i]; d.Class == c.options.Class {
			c.ask(instance, address, d, p.definitions)
		}
	}
}
