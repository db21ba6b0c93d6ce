package upstream

import (
	"slices"
)

// Balance says how a Pool chooses among its fit members. The zero Balance is
// lb=least.
type Balance struct {
	Method Method
	// Name is the header, in lower case, or the cookie of a method that takes
	// one.
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

// methods has an entry for each Method, in the order of their documentation. How
// a method chooses is in a file of its own. The table never changes.
var methods = [...]MethodEntry{
	Least:      {Word: "least", Meaning: "of two drawn by weight the one with less than its share in flight; one more than twice as slow, by more than 1 ms and not for being busier, is mostly passed over", over: newLeast},
	RoundRobin: {Word: "round-robin", Meaning: "in turn, as often as its weight says", over: newRoundRobin},
	Random:     {Word: "random", Meaning: "drawn by weight", over: newRandom},
	HashIP:     {Word: "hash:ip", Meaning: "the same instance for each client address (rendezvous, as the following)", Constant: true, over: newHashIP},
	HashHeader: {Word: "hash:header", Meaning: "the same instance for each value of a header", Named: true, FoldName: true, Constant: true, over: newHashHeader},
	HashCookie: {Word: "hash:cookie", Meaning: "the same instance for each value of a cookie", Named: true, Constant: true, over: newHashCookie},
}

// MethodEntry is what the table of methods has of one.
type MethodEntry struct {
	// Word is how the lb tag writes the method. With Named, a colon and the name
	// of what it looks at follow; FoldName says that the case of the name means
	// nothing.
	Word            string
	Named, FoldName bool
	// Meaning is its line of documentation.
	Meaning string
	// Constant says that the same request always gets the same member, as long
	// as that is fit. Others avoid members that have just become ready.
	Constant bool
	// over makes what chooses among the members of a group. Name is the
	// Balance's; turn is the number of the counter that the room of the group's
	// route keeps for it, beyond the group: see search.
	over func(members []*Member, name string, turn int) balancer
}

// balancer is a method at work on one group. Many requests use it at once.
type balancer interface {
	// pick returns the fit member that is chosen for a request, nil when none is
	// fit. A group has two members at least when it is asked. The search is given
	// by value, so that it stays on the stack.
	pick(g *group, s search) *Member
}

// Form is how documentation writes the lb tag's value.
func (m *MethodEntry) Form() string {
	if m.Named {
		return m.Word + ":NAME"
	}
	return m.Word
}

// Methods returns the table of methods, indexed by Method.
func Methods() []MethodEntry { return slices.Clone(methods[:]) }
