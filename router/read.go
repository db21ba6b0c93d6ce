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
	fallback    fallback // of the instances, which have different ones where it says so
	definitions []Definition
	problems    []Problem
	claims      int // that it asks for
	// named are the hosts of the definitions, once a rejection of an instance wants them:
	// see hosts.
	named *namedHosts
	// petitions are those of the instances that differ in nothing which decides about
	// what they get.
	petitions map[petitioner]*petition
	// within are what of it remains for instances that some definitions cannot reach.
	within map[lacking]*parsed
}

// readAll reads the tags of all instances, the oldest first, because a quota refuses
// the newest. Most instances have the same tags.
func (c *compilation) readAll(source *discovery.Service) {
	instances := slices.Clone(source.Instances)
	slices.SortStableFunc(instances, func(a, b *discovery.Instance) int { return cmp.Compare(a.Created, b.Created) })
	known, seed := make(map[uint64][]*parsed), maphash.MakeSeed() // by the hash of the tags
	counted := 0                                                  // tags of different lists
	for _, instance := range instances {
		hash, of := hashTags(seed, instance.Tags), c.defaultHost.of(instance)
		at := slices.IndexFunc(known[hash], func(p *parsed) bool { return p.fallback == of && slices.Equal(p.tags, instance.Tags) })
		if at >= 0 {
			c.read(instance, known[hash][at])
			continue
		}
		n := c.grammar.count(instance.Tags)
		if counted > 0 && counted+n > maxServiceTags {
			c.refuse(instance, Rejection{Instance: true, Why: fmt.Sprintf("the instances of the service carry more than %d different tags of %s", maxServiceTags, c.grammar.prefix),
				Instead: "the same tags on all instances"})
			continue
		}
		counted += n
		p := &parsed{tags: instance.Tags, fallback: of}
		p.definitions, p.problems = c.grammar.parse(instance.Tags, of)
		c.lookUpPolicies(p)
		p.count()
		known[hash] = append(known[hash], p)
		c.read(instance, p)
	}
}

// count counts the claims.
func (p *parsed) count() {
	for i := range p.definitions {
		p.claims += p.definitions[i].claims()
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

// read applies the definitions of an instance: as part of the petition that others with
// the same tags have made, or with a new one.
func (c *compilation) read(instance *discovery.Instance, p *parsed) {
	for _, problem := range p.problems {
		c.refuse(instance, Rejection{Route: problem.Route, Instance: problem.Whole, Hosts: problem.Hosts, Tag: problem.Tag, Why: problem.Why, Instead: problem.Instead, DefaultHost: problem.DefaultHost})
	}
	if len(p.definitions) == 0 {
		return
	}
	at := c.reach(instance, p.definitions)
	p = c.reached(instance, p, &at)
	if len(p.definitions) == 0 {
		return
	}
	who := petitioner{instance.Job, instance.ByHand()}
	c.instances++
	c.targets = c.targets[:0]
	if known := p.petitions[who]; known != nil {
		c.joinRefused(instance, known)
		c.join(instance, at, p.definitions, known, false)
		return
	}
	if most := maxAskedClaims * c.options.Quotas.Claims.Service; !who.byHand && c.claimed > 0 && c.claimed+p.claims > most {
		named := p.hosts(c.options.Class)
		c.refuse(instance, Rejection{Instance: true, Hosts: named.list, DefaultHost: named.byDefault, Why: fmt.Sprintf("the instances of the service claim more than %d times a host and path, each list of different tags counted", most),
			Instead: "the same tags on all instances; the operator can raise --max-claims-service"})
		return
	}
	c.claimed += p.claims
	made := c.petition(p)
	if p.petitions == nil {
		p.petitions = make(map[petitioner]*petition)
	}
	p.petitions[who] = made
	for i := range p.definitions {
		made.grants[i].membership.target = c.target(instance, at, &p.definitions[i], p.definitions)
	}
	c.askAll(instance, p, made)
	c.join(instance, at, p.definitions, made, true)
}

// askAll asks for the definitions of a petition, first for those with a guard: where a quota, or
// what a route may claim, leaves no room for one, it leaves none for the others, which could take
// its requests.
func (c *compilation) askAll(instance *discovery.Instance, p *parsed, asked *petition) {
	for _, guarded := range []bool{true, false} {
		for i := range p.definitions {
			d, g := &p.definitions[i], &asked.grants[i]
			if d.Class != c.options.Class || d.guards() != guarded {
				continue
			}
			c.ask(instance, d, asked, g)
			switch {
			case !guarded:
			case len(g.denied) > 0:
				asked.lack(d, g.denied[0])
			case d.cut:
				asked.lack(d, &Rejection{Route: d.Name, Instead: tooManyClaims().instead})
			}
		}
	}
}
