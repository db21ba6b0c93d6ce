package auth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// claimPath leads to a claim: the name of a member, of a member in it, and so on.
type claimPath []string

// Bounds of a path.
const (
	maxPathBytes = 256
	maxPathNames = 8
)

// parseClaimPath reads a path: names with dots between them, and \. for a dot in a name.
// What contains :// is one name: claims that nobody else is to have are called by URLs
// (RFC 7519 section 4.2).
func parseClaimPath(s string) (claimPath, error) {
	if s == "" || len(s) > maxPathBytes || !printableValue(s) {
		return nil, fmt.Errorf("%q is not the name of a claim", s)
	}
	if strings.Contains(s, "://") {
		return claimPath{s}, nil
	}
	path := claimPath{""}
	for i := 0; i < len(s); i++ {
		last := &path[len(path)-1]
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '.':
			i++
			*last += "."
		case s[i] == '.':
			path = append(path, "")
		default:
			*last += s[i : i+1]
		}
	}
	if slices.Contains(path, "") || len(path) > maxPathNames {
		return nil, fmt.Errorf("%q is not a path of claims; want NAME, or NAME.NAME, with \\. for a dot in a name", s)
	}
	return path, nil
}

// in returns what the path leads to, nil for nothing.
func (p claimPath) in(claims map[string]any) (v any) {
	v = claims
	for _, name := range p {
		members, _ := v.(map[string]any)
		v = members[name] // of nil: nil
	}
	return v
}

// scalar returns the text of a claim that is one value.
func scalar(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

// Claim is a claim that a token must have, with one of the values: it is one of them, or
// a list that has one of them.
type Claim struct {
	Name   string
	Values []string
}

// requiredClaim is a Claim that has been checked.
type requiredClaim struct {
	Claim
	path claimPath
	// words says that the claim is a list of words in one string (RFC 8693 section 4.2).
	words bool
}

func newRequiredClaim(c Claim) (*requiredClaim, error) {
	path, err := parseClaimPath(c.Name)
	if err != nil {
		return nil, err
	}
	if len(c.Values) == 0 {
		return nil, fmt.Errorf("claim %q wants a value, or several of which one is enough", c.Name)
	}
	last := path[len(path)-1]
	return &requiredClaim{c, path, last == "scope" || last == "scp"}, nil
}

// met reports whether the claims have one of the values.
func (c *requiredClaim) met(claims map[string]any) bool {
	v := c.path.in(claims)
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, c.has)
	}
	if text, ok := v.(string); ok && c.words {
		return slices.ContainsFunc(strings.Fields(text), func(word string) bool { return c.has(word) })
	}
	return c.has(v)
}

func (c *requiredClaim) has(v any) bool {
	text, ok := scalar(v)
	return ok && slices.Contains(c.Values, text)
}

// claimValue makes the value of a field of a claim. One that is missing, null, empty or
// an object makes an empty one.
func claimValue(v any) string {
	list, ok := v.([]any)
	if !ok {
		text, _ := scalar(v)
		return escaped(text, false)
	}
	var all []string
	for _, e := range list {
		if text, ok := scalar(e); ok && text != "" {
			all = append(all, escaped(text, true))
		}
	}
	return strings.Join(all, ",")
}

// escaped has each byte that is not printable ASCII, and blanks at either end, which
// would not arrive, as %XX; % as well, so that no two claims make the same value; and in
// a list the comma: "a,admin" is one group, and not two. What a user may choose, such as
// a name, cannot end a line, nor be read as what it is not.
func escaped(s string, inList bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c <= ' ' && (c != ' ' || i == 0 || i == len(s)-1) || c >= 0x7f || c == '%' || inList && c == ',' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
