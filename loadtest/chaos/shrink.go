package chaos

import (
	"context"
	"slices"
	"time"
)

// tries is how often a smaller program is run before it counts as one that
// does not fail.
const tries = 3

// shrink removes parts of a failing program as long as it breaks the same promise, and
// returns the names of the removed parts.
func shrink(ctx context.Context, p *Program, oracle string, within time.Duration, prepare maker, tell func(format string, args ...any)) []string {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	fails := func(without []string) bool {
		for range tries {
			if ctx.Err() != nil {
				return false
			}
			found, _, _ := play(ctx, p.without(without), prepare)
			if slices.ContainsFunc(found, func(f Finding) bool { return f.Oracle == oracle }) {
				return true
			}
		}
		return false
	}
	var gone []string
	for level := range p.names() {
		// Halves first, then quarters, down to one by one.
		rest := p.without(gone).names()[level]
		for size := max(1, len(rest)/2); size > 0 && ctx.Err() == nil; size /= 2 {
			for at := 0; at < len(rest) && ctx.Err() == nil; {
				part := rest[at:min(at+size, len(rest))]
				if smaller := slices.Concat(gone, part); fails(smaller) {
					gone = smaller
					rest = slices.Delete(slices.Clone(rest), at, at+len(part))
					tell("without %v it fails, too", part)
					continue
				}
				at += size
			}
		}
	}
	return gone
}
