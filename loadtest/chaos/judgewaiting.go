package chaos

import (
	"strconv"
	"strings"
)

// judgeWaitingBytes checks which requests were refused because waiting requests hold
// too much: none of a route with less than its share.
func (e *episode) judgeWaitingBytes() {
	limit := int64(0)
	for _, flag := range e.Flags {
		switch name, value := cutFlag(flag); name {
		case "--max-waiting-bytes":
			limit = value
		case "--max-waiting":
			return // which refuses without looking at shares
		}
	}
	if limit == 0 || e.lax() {
		return
	}
	requests := make(map[*Service]int)
	for _, c := range e.Clients { // each has one under way
		if len(c.Requests) > 0 {
			requests[c.Requests[0].Service]++
		}
	}
	for _, s := range e.Services {
		share := limit / int64(len(e.Services))
		if s.Flavour != Queue || int64(requests[s])*waitingSize > share {
			continue
		}
		for _, o := range e.ordered(s) {
			if o.reason == "queue-full" {
				e.ledger.find("shares of what waits", o.request.Name, "queue-full, though all %d clients of %s hold at most %d bytes, and its share is %d", requests[s], s.Name, requests[s]*waitingSize, share)
			}
		}
	}
}

// cutFlag splits a flag and its number, 0 for none.
func cutFlag(flag string) (name string, value int64) {
	name, number, _ := strings.Cut(flag, "=")
	value, _ = strconv.ParseInt(number, 10, 64)
	return name, value
}
