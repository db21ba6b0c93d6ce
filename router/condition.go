package router

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"serai/internal/urlpath"
)

// Condition is a requirement of a route on a request, besides host and path.
type Condition struct {
	Kind ConditionKind
	// Name is the header in lower case, or the query parameter.
	Name string
	// Value is compared byte by byte with the first header, or the first decoded query
	// parameter, of that name. With Present it only has to exist.
	Value   string
	Present bool
	// Methods are the accepted methods, sorted.
	Methods []string
}

// ConditionKind is the part of a request that a Condition examines.
type ConditionKind uint8

// The conditions of the tag grammar.
const (
	OnMethod ConditionKind = iota
	OnHeader
	OnQuery
)

// String returns the condition as its tag writes it.
func (c Condition) String() string {
	switch {
	case c.Kind == OnMethod:
		return "method " + strings.Join(c.Methods, ",")
	case c.Kind == OnHeader && c.Present:
		return "header " + c.Name
	case c.Kind == OnHeader:
		return "header " + c.Name + ": " + c.Value
	case c.Present:
		return "query " + c.Name
	}
	return "query " + c.Name + "=" + c.Value
}

func sortConditions(cs []Condition) {
	slices.SortFunc(cs, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
}

// met reports whether the request meets all conditions.
func met(cs []Condition, q *Query) bool {
	for i := range cs {
		if !cs[i].met(q) {
			return false
		}
	}
	return true
}

func (c *Condition) met(q *Query) bool {
	switch c.Kind {
	case OnMethod:
		for _, m := range c.Methods {
			if string(q.Method) == m {
				return true
			}
		}
		return false
	case OnHeader:
		if q.Attributes == nil {
			return false
		}
		v := q.Attributes.Header(c.Name)
		return v != nil && (c.Present || string(v) == c.Value)
	}
	v, ok := parameter(q.RawQuery, c.Name)
	return ok && (c.Present || decodesTo(v, c.Value))
}

// parameter returns the raw value of the first parameter of that name.
func parameter(query []byte, name string) ([]byte, bool) {
	for len(query) > 0 {
		pair := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		key, value := pair, []byte(nil)
		if i := bytes.IndexByte(pair, '='); i >= 0 {
			key, value = pair[:i], pair[i+1:]
		}
		if decodesTo(key, name) && len(pair) > 0 {
			return value, true
		}
	}
	return nil, false
}

// decodesTo reports whether raw, a part of a form-encoded query, decodes to want. A
// percent sign that begins no escape stands for itself.
func decodesTo(raw []byte, want string) bool {
	n := 0
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		switch {
		case b == '+':
			b = ' '
		case b == '%' && i+2 < len(raw):
			if high, low := urlpath.Hex(raw[i+1]), urlpath.Hex(raw[i+2]); high < 16 && low < 16 {
				b, i = high<<4|low, i+2
			}
		}
		if n >= len(want) || want[n] != b {
			return false
		}
		n++
	}
	return n == len(want)
}

// parseMethods reads the method tag.
func parseMethods(d *draft, value string) *flaw {
	c := Condition{Kind: OnMethod}
	f := eachElement(value, "method", func(s string) *flaw {
		if !isToken(s) || len(s) > 32 {
			return &flaw{fmt.Sprintf("%s is not a method", quote(s)), ""}
		}
		if s != strings.ToUpper(s) {
			return &flaw{fmt.Sprintf("method %s is not in upper case, and methods are case-sensitive", quote(s)), strings.ToUpper(s)}
		}
		c.Methods = appendNew(c.Methods, s)
		return nil
	})
	slices.Sort(c.Methods)
	d.Conditions = append(d.Conditions, c)
	return f
}

// parseHeader reads a header tag.
func parseHeader(d *draft, value string) *flaw {
	name, want, valued := strings.Cut(value, ":")
	if name = trim(name); !isToken(name) {
		return &flaw{fmt.Sprintf("%s is not a header name", quote(name)), ""}
	}
	return d.addCondition(Condition{Kind: OnHeader, Name: strings.ToLower(name), Value: trim(want), Present: !valued}, "header", "NAME: VALUE")
}

// parseQuery reads a query tag.
func parseQuery(d *draft, value string) *flaw {
	name, want, valued := strings.Cut(value, "=")
	if name == "" {
		return &flaw{"the query condition has no name", ""}
	}
	return d.addCondition(Condition{Kind: OnQuery, Name: name, Value: want, Present: !valued}, "query", "NAME=VALUE")
}

// addCondition adds a condition that may be given once for each name.
func (d *draft) addCondition(c Condition, what, example string) *flaw {
	switch {
	case c.Kind == OnHeader && c.Value == "" && !c.Present:
		return &flaw{fmt.Sprintf("the value of header %s is empty", c.Name), "only NAME to ask that it is there"}
	case len(d.Conditions) >= maxList:
		return &flaw{fmt.Sprintf("the route has more than %d conditions", maxList), "fewer of them"}
	case slices.ContainsFunc(d.Conditions, func(o Condition) bool { return o.Kind == c.Kind && o.Name == c.Name }):
		return &flaw{fmt.Sprintf("%s %s is given twice for this route", what, quote(c.Name)), "one " + example + "; a route of its own for each other value"}
	}
	d.Conditions = append(d.Conditions, c)
	return nil
}
