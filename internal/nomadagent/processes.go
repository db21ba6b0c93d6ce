package nomadagent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Processes are the processes that an agent has started: executors, log collectors and
// tasks. They outlive the agent, so that the next one finds them; after the last one
// they must be killed. The zero value is empty.
type Processes struct {
	seen map[int]string // when each began, by its ID
}

// Note adds the current descendants of an agent. Call it before each end of the agent:
// later nothing shows that they were its own.
func (p *Processes) Note(agent int) {
	if p.seen == nil {
		p.seen = make(map[int]string)
	}
	for pid, began := range descendants(map[int]bool{agent: true}) {
		p.seen[pid] = began
	}
}

// End kills the processes that are left, and their descendants, and waits until they
// are gone. It leaves an ID alone that belongs to another process by now.
func (p *Processes) End() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left := make(map[int]bool)
		for pid, began := range p.seen {
			if now, ok := processes()[pid]; ok && now.began == began && now.state != "Z" {
				left[pid] = true
			}
		}
		if len(left) == 0 {
			return
		}
		for pid, began := range descendants(left) {
			p.seen[pid], left[pid] = began, true
		}
		for pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// process is what /proc says about a process.
type process struct {
	parent       int
	state, began string
}

// processes returns all processes of the machine, by ID.
func processes() map[int]process {
	all := make(map[int]process)
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		// The name, in parentheses, may contain anything.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if err != nil || len(fields) < 20 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		all[pid] = process{parent, fields[0], fields[19]}
	}
	return all
}

// descendants returns when each descendant of the roots began.
func descendants(roots map[int]bool) map[int]string {
	all, found := processes(), make(map[int]string)
	for grown := true; grown; {
		grown = false
		for pid, p := range all {
			_, below := found[p.parent]
			if _, known := found[pid]; !known && !roots[pid] && (roots[p.parent] || below) {
				found[pid] = p.began
				grown = true
			}
		}
	}
	return found
}
