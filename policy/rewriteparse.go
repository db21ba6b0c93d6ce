package policy

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"serai/internal/urlpath"
)

// Bounds of a pattern: its bytes, the instructions it compiles to, which is what
// "a{1000}" is large in, and the ranges of characters in these: "\pL" has hundreds.
const (
	maxPattern      = 512
	maxInstructions = 256
	maxRanges       = 1024
)

// ParseRewrite reads a regular expression (RE2) and what is put in place of its match, a
// path in which $1 and ${name} stand for groups and $$ for a dollar sign. The error is a
// *Mistake.
func ParseRewrite(pattern, replacement string) (*Rewrite, error) {
	if len(pattern) > maxPattern {
		return nil, mistake("a shorter one", "the expression has more than %d bytes", maxPattern)
	}
	for i := range len(pattern) {
		if pattern[i] <= ' ' || pattern[i] >= 0x7f {
			return nil, mistake(`%XX, as requests write it`, "the expression contains a byte that no path has, and so never matches")
		}
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		why := &syntax.Error{}
		if errors.As(err, &why) {
			return nil, mistake("", "the expression is not one of RE2: %s: %+q", why.Code, why.Expr)
		}
		return nil, mistake("", "the expression is not one of RE2")
	}
	// The first look counts, so that the second need not unfold what is far too large.
	tooLarge := mistake("fewer or smaller repetitions", "the expression is too large: it has more than %d steps", maxInstructions)
	if size(tree) > 4*maxInstructions {
		return nil, tooLarge
	}
	tree = tree.Simplify()
	program, err := syntax.Compile(tree)
	if err != nil || len(program.Inst) > maxInstructions {
		return nil, tooLarge
	}
	ranges := 0
	for i := range program.Inst {
		ranges += len(program.Inst[i].Rune) / 2
	}
	if ranges > maxRanges {
		return nil, mistake("classes of ASCII, such as [A-Za-z0-9], as paths have no other bytes", "the expression is too large: its classes have more than %d ranges", maxRanges)
	}
	regex, err := regexp.Compile(pattern)
	if err != nil {
		return nil, mistake("", "the expression is not one of RE2")
	}
	r := &Rewrite{pattern: pattern, replacement: replacement, regex: regex, longest: maxWork / len(program.Inst), instructions: len(program.Inst), ranges: ranges}
	r.prefix, r.anchored = literalPrefix(tree)
	if r.parts, err = parseReplacement(replacement, regex, r.anchored); err != nil {
		return nil, err
	}
	return r, nil
}

// size is about how many instructions a tree compiles to, with a bound that keeps it
// from overflowing.
func size(tree *syntax.Regexp) int {
	n := 1
	if tree.Op == syntax.OpLiteral {
		n = len(tree.Rune)
	}
	for _, sub := range tree.Sub {
		n += size(sub)
	}
	if tree.Op == syntax.OpRepeat {
		n *= max(tree.Max, tree.Min, 1)
	}
	return min(n, 1<<20)
}

// literalPrefix returns the literal that every match begins with, and whether a match
// must begin where the text does. The tree is simplified.
func literalPrefix(tree *syntax.Regexp) (prefix []byte, anchored bool) {
	list := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		list = tree.Sub
	}
	if list[0].Op == syntax.OpBeginText {
		anchored, list = true, list[1:]
	}
	if len(list) > 0 && list[0].Op == syntax.OpLiteral && list[0].Flags&syntax.FoldCase == 0 {
		prefix = []byte(string(list[0].Rune))
	}
	return prefix, anchored
}

// parseReplacement splits a replacement at its groups. Anchored says that the path that
// it makes begins with it.
func parseReplacement(s string, regex *regexp.Regexp, anchored bool) (parts []rewritten, err error) {
	literal := ""
	end := func() error {
		if literal == "" {
			return nil
		}
		parts = append(parts, rewritten{literal: literal})
		err := checkLiteral(literal)
		literal = ""
		return err
	}
	for rest := s; rest != ""; {
		before, behind, found := strings.Cut(rest, "$")
		literal += before
		if !found {
			break
		}
		if behind != "" && behind[0] == '$' {
			literal, rest = literal+"$", behind[1:]
			continue
		}
		if err := end(); err != nil {
			return nil, err
		}
		group := 0
		if group, rest, err = cutGroup(behind, regex); err != nil {
			return nil, err
		}
		parts = append(parts, rewritten{group: group})
	}
	if err := end(); err != nil {
		return nil, err
	}
	switch {
	case len(parts) == 0:
		return nil, mistake("/ for the root", "the replacement is empty")
	case parts[0].literal != "" && anchored && s[0] != '/':
		return nil, mistake("/"+s, "the path that the replacement makes does not begin with a slash")
	}
	return parts, nil
}

// cutGroup reads what follows a dollar sign, and returns the number of the group.
func cutGroup(s string, regex *regexp.Regexp) (group int, rest string, err error) {
	name := ""
	if inner, braced := strings.CutPrefix(s, "{"); braced {
		found := false
		if name, rest, found = strings.Cut(inner, "}"); !found {
			return 0, "", mistake("${1} or ${name}", "the replacement has a ${ without its }")
		}
	} else {
		name = s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
		rest = s[len(name):]
		if name == "" {
			return 0, "", mistake("$1, ${name}, or $$ for the sign itself", "the replacement has a $ that no group follows")
		}
		if rest != "" && (rest[0] == '_' || 'a' <= rest[0]|0x20 && rest[0]|0x20 <= 'z') {
			return 0, "", mistake("${"+name+"}", "it is not clear where the group ends that $%s begins", name)
		}
	}
	group, err = strconv.Atoi(name)
	if err != nil || strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		group = regex.SubexpIndex(name)
	}
	if group == 0 {
		// The whole match: what it is good for is written with a group, too, and 0 is
		// what a part without a group has.
		return 0, "", mistake("parentheses around what is to stay, and $1", "the replacement has $0")
	}
	if group < 0 || group > regex.NumSubexp() {
		return 0, "", mistake("", "the replacement has the group %+q, and the expression has no such", name)
	}
	return group, rest, nil
}

// checkLiteral reports what is wrong with a literal part of a replacement.
func checkLiteral(s string) error {
	for i := range len(s) {
		switch b := s[i]; {
		case b == '?' || b == '#':
			return mistake("only a path; the query stays as it came", "the replacement contains a query or fragment")
		case b <= ' ' || b >= 0x7f || strings.IndexByte(`"<>\^{|}`+"`", b) >= 0:
			return mistake("%"+strings.ToUpper(strconv.FormatInt(int64(b)|0x100, 16)[1:])+" in its place", "the replacement contains a byte that no path has")
		case b == '%' && (i+2 >= len(s) || urlpath.Hex(s[i+1]) > 15 || urlpath.Hex(s[i+2]) > 15):
			return mistake("%25 for the sign itself", "the replacement has a %% that is not followed by two hexadecimal digits")
		}
	}
	if urlpath.HasDots([]byte(s)) {
		return mistake("the path without . and .. segments", "the replacement contains a dot segment")
	}
	return nil
}
