package quota

// Open returns how much of a total one of several parties may still take, of which all
// have taken so much and it has so much itself. A part of the total is spare: for parties
// with little. Of it each may take up to half, as long as there is still as much left as
// it has. So however many come after those who took all they could, there is room for the
// first that each needs.
func Open(total, spare, taken, has int) int {
	open := total - spare - taken
	if spare == 0 {
		return open
	}
	return max(open, min(max(1, spare/2)-has, (total-taken-has+1)/2))
}

// Spare is the usual spare part: a sixteenth, or what one party leaves of the total by
// its own limit.
func Spare(total, each int) int { return max(0, min(total/16, total-each)) }
