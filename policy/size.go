package policy

// What parts of policies take in memory, in bytes, estimated so that the sum is not less
// than what they are seen to take: router's TestMemoryIsNotUnderestimated.
const (
	ruleBytes        = 96   // an entry of a list: an address, an origin, a name
	settingBytes     = 512  // a field with its value
	rateBytes        = 2600 // the state of a rate limit, when few clients come
	expressionBytes  = 2500 // a regular expression, without what follows
	instructionBytes = 128
	rangeBytes       = 24 // a range of characters
)

// Size is an estimate of the memory that the settings and what is compiled of them take,
// in bytes.
func (o *OfRoute) Size() int {
	n := o.Allow.size() + o.Deny.size()
	if o.Rate != nil {
		n += rateBytes
	}
	if c := o.CORS; c != nil {
		n += ruleBytes * (4 + len(c.Origins) + len(c.Methods) + len(c.Headers) + len(c.Expose))
	}
	if o.Errors != nil {
		n += 2 * settingBytes // with the entry of its service in the table
	}
	return n + settingBytes*(len(o.RequestSet)+len(o.ResponseSet)) + ruleBytes*(len(o.RequestRemove)+len(o.ResponseRemove)+len(o.Policies))
}

// Size is what OfRoute.Size is, of an instance.
func (o *OfInstance) Size() int {
	if o.Rewrite == nil {
		return 0
	}
	return expressionBytes + instructionBytes*o.Rewrite.instructions + rangeBytes*o.Rewrite.ranges
}

func (a *Addresses) size() int {
	if a == nil {
		return 0
	}
	return ruleBytes * (1 + len(a.written))
}
