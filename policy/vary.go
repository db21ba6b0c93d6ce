package policy

import (
	"bytes"

	"serai/wire"
)

// varyBy tells caches that the answer is another one for another value of a request
// field, also where it has none (RFC 9110 section 12.5.5): it adds the field vary, unless
// the instance says so already. The name is in lower case.
func (a *Answer) varyBy(name string, vary wire.Field) {
	for i := range a.Head.Fields {
		f := &a.Head.Fields[i]
		if f.Kind == wire.Dropped || !wire.EqualFold(f.Name, "vary") {
			continue
		}
		for list := f.Value; len(list) > 0; {
			var named []byte
			named, list, _ = bytes.Cut(list, comma)
			if named = bytes.TrimSpace(named); wire.EqualFold(named, name) || string(named) == "*" {
				return
			}
		}
	}
	a.Add(vary)
}
