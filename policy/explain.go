package policy

import (
	"fmt"
	"strings"
)

// Explain describes the policies of a route and of its instances, in the order of the
// phases. A policy of only some of the instances is shown with their number.
func Explain(route *List, instances []*List) (lines []string) {
	lines = route.explain(lines, beforePick)
	asking := make(map[string]int)
	var some []string
	for _, l := range instances {
		for _, line := range l.explain(nil, forwarding) {
			if asking[line]++; asking[line] == 1 {
				some = append(some, line)
			}
		}
	}
	for _, line := range some {
		if n := asking[line]; n < len(instances) {
			line = fmt.Sprintf("%s (%d of %d instances)", line, n, len(instances))
		}
		lines = append(lines, line)
	}
	return route.explain(route.explain(lines, forwarding), answering)
}

// phase sorts policies by the first phase in which they take part.
type phase uint8

const (
	beforePick phase = iota
	forwarding
	answering
)

func phaseOf(p Policy) phase {
	if _, ok := p.(RequestPolicy); ok {
		return beforePick
	}
	if _, ok := p.(ForwardPolicy); ok {
		return forwarding
	}
	return answering
}

// discreet is a policy whose settings may be secrets when they are the operator's, such as
// a token for the instances. Those in tags are known to everybody who may read the job.
type discreet interface{ explainDiscreetly() string }

// explain appends the descriptions of the policies of a phase.
func (l *List) explain(lines []string, in phase) []string {
	if l == nil {
		return lines
	}
	for i, p := range l.all {
		if phaseOf(p) != in {
			continue
		}
		line := p.Explain()
		if from := l.from[i]; from != "" {
			if p, ok := p.(discreet); ok {
				line = p.explainDiscreetly()
			}
			line += " (" + from + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

// mostNamed is how many elements of a list a description names.
const mostNamed = 8

// someOf names the first elements of a list, and says how many more there are.
func someOf(all []string) string {
	text := strings.Join(all[:min(mostNamed, len(all))], ", ")
	if more := len(all) - mostNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
