// Package urlpath answers: where may the dot segments of a path lead, whichever server
// reads it?
package urlpath

import "bytes"

// Climbs reports whether the dot segments of rest, the part of a path after a prefix,
// lead out of that prefix. An instance may decode %2F, or take backslashes for slashes,
// before it resolves dot segments, or it may not: the result is true when any of these
// readings leads out. Empty segments and parameters ("..;x") are read as by servers
// that drop them. What is encoded twice is not decoded twice.
func Climbs(rest []byte) bool {
	if bytes.IndexByte(rest, '.') < 0 && bytes.IndexByte(rest, '%') < 0 {
		return false
	}
	if !HasDots(rest) {
		return false
	}
	for reading := separators(0); reading <= slashEncoded|backslash|backslashEncoded; reading++ {
		if climbsAs(rest, reading) {
			return true
		}
	}
	return false
}

// separators are the ways to write a slash, besides the slash, that a server may
// accept.
type separators uint8

const (
	slashEncoded     separators = 1 << iota // %2F
	backslash                               // \
	backslashEncoded                        // %5C
)

// climbsAs reads rest with those separators.
func climbsAs(rest []byte, s separators) bool {
	depth := 0
	for len(rest) > 0 {
		segment, width := cutSegment(rest, s)
		rest = rest[min(len(segment)+width, len(rest)):]
		switch dots(segment) {
		case 2:
			if depth--; depth < 0 {
				return true
			}
		case 1:
		default:
			if len(segment) > 0 {
				depth++
			}
		}
	}
	return false
}

// HasDots reports whether any reading of path has a dot segment.
func HasDots(path []byte) bool {
	for len(path) > 0 {
		segment, width := cutSegment(path, slashEncoded|backslash|backslashEncoded)
		if dots(segment) > 0 {
			return true
		}
		path = path[min(len(segment)+width, len(path)):]
	}
	return false
}

// cutSegment returns the first segment of path and the length of the separator after
// it.
func cutSegment(path []byte, s separators) ([]byte, int) {
	for i, b := range path {
		switch {
		case b == '/' || b == '\\' && s&backslash != 0:
			return path[:i], 1
		case b != '%' || i+2 >= len(path):
		case s&slashEncoded != 0 && path[i+1] == '2' && path[i+2]|0x20 == 'f',
			s&backslashEncoded != 0 && path[i+1] == '5' && path[i+2]|0x20 == 'c':
			return path[:i], 3
		}
	}
	return path, 0
}

// endsSegment reports whether a server may ignore the rest of a segment, which may be
// decoded: parameters begin, or a C string ends, or only blanks are left, which Windows
// drops.
func endsSegment(rest []byte) bool {
	if rest[0] == ';' {
		return true
	}
	for len(rest) > 0 {
		b, width := rest[0], 1
		if b == '%' && len(rest) >= 3 && Hex(rest[1]) < 16 && Hex(rest[2]) < 16 {
			b, width = Hex(rest[1])<<4|Hex(rest[2]), 3
		}
		switch {
		case b == 0, b == ';' && width == 3:
			return true
		case b != ' ':
			return false
		}
		rest = rest[width:]
	}
	return true
}

// dots returns 1 for a segment that means ".", 2 for one that means "..", and
// 0 for all others.
func dots(segment []byte) int {
	n := 0
	for len(segment) > 0 {
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && segment[0] == '%' && segment[1] == '2' && segment[2]|0x20 == 'e':
			segment = segment[3:]
		case n > 0 && endsSegment(segment):
			return n
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
}
