package upstream

import (
	"slices"
)

// Balance says how a Pool chooses among its members that are ready and have a place.
// The zero Balance is lb=least.
type Balance struct {
	Method Method
	// Name is the header, in lower case, or the cookie, for a method that needs one.
	Name string
}

// String is the balance as the lb tag writes it.
func (b Balance) String() string {
	m := &methods[b.Method]
	if !m.Named {
		return m.Word
	}
	return m.Word + ":" + b.Name
}

// Method is a load balancing method: an entry in the table of methods.
type Method uint8

// The methods of the lb tag.
const (
	Least Method = iota
	RoundRobin
	Random
	HashIP
	HashHeader
	HashCookie
)

// methods has an entry for each Method, in the order of their documentation. How a
// method chooses is in a file of its own. The table never changes.
var methods = [...]MethodEntry{
	Least:      {Word: "least", Meaning: "of two instances drawn by weight, the one that has less in flight for its weight; an instance that is more than twice as slow, by more than 1 ms and not because it is busier, is mostly avoided", over: newLeast},
	RoundRobin: {Word: "round-robin", Meaning: "each instance in turn, as often as its weight says", over: newRoundRobin},
	Random:     {Word: "random", Meaning: "a random instance, by weight", over: newRandom},
	HashIP:     {Word: "hash:ip", Meaning: "the same instance for each client address (rendezvous hashing, as for the next two)", Constant: true, over: newHashIP},
	HashHeader: {Word: "hash:header", Meaning: "the same instance for each value of a header", Named: true, FoldName: true, Constant: true, over: newHashHeader},
	HashCookie: {Word: "hash:cookie", Meaning: "the same instance for each value of a cookie", Named: true, Constant: true, over: newHashCookie},
}

// MethodEntry is an entry in the table of methods.
type MethodEntry struct {
	// Word is the method in the lb tag. With Named, a colon and the name of a header or
	// cookie follow; with FoldName the case of the name does not matter.
	Word            string
	Named, FoldName bool
	// Meaning is its line of documentation.
	Meaning string
	// Constant says that the same request always gets the same member while it is ready
	// and has a place. Other methods avoid members that have just become ready.
	Constant bool
	// over makes the balancer for the members of a group. Name is the Balance's; turn
	// is the index of the counter that the room of the group's route keeps for it,
	// which outlives the group: see search.
	over func(members []*Member, name string, turn int) balancer
}

// balancer is a method applied to one group. Requests use it concurrently.
type balancer interface {
	// pick returns the member chosen for a request, nil when none is ready with a
	// place. The group has at least two members. The search is passed by value, so that
	// it stays on the stack.
	pick(g *group, s search) *Member
}

// Form is the value of the lb tag as documentation writes it.
func (m *MethodEntry) Form() string {
	if m.Named {
		return m.Word + ":NAME"
	}
	return m.Word
}

// Methods returns the table of methods, indexed by Method.
func Methods() []MethodEntry { return slices.Clone(methods[:]) }
