package claims

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"serai/router"
)

// Record is the recorded order of the claimants of contests. Never modified once read
// or planned.
type Record struct {
	order router.Agreement
	// ended are the names of contests that were ended, the newest last.
	ended []string
	// version is the variable's index, 0 when there is none.
	version uint64
	// leftOut is how many contests did not fit into a plan.
	leftOut int
}

// An item of the variable is a contest: its name, and the claimants in order,
// separated by blanks, each NAMESPACE/SERVICE/JOB or
// NAMESPACE/SERVICE?CONDITIONS/JOB. It is text so that an operator can read it,
// and decide a contest by writing another order. Consul takes any name for a service: what
// has a meaning here is escaped in SERVICE as in a URL (team%2Fweb).
//
// One item is not a contest: it has the names of recently ended contests, one per line.
// A contest that is missing and not listed there is lost.

// endedItem is the name of that item. A contest's name contains a blank.
const endedItem = "ended"

// maxVariable bounds a variable in bytes, of which Nomad accepts 64 KiB; maxItems is
// the part for contests, maxEnded the part for ended ones.
const (
	maxVariable = 63 << 10
	maxItems    = 60 << 10
	maxEnded    = 8 << 10
)

// maxShare bounds all contests together in which services of one namespace are not the
// first: so no namespace fills the record by claiming what others hold.
const maxShare = maxItems / 4

// maxClaimant bounds one claimant, in bytes. If it is longer, the job's name is left
// out.
const maxClaimant = 256

// maxRead bounds the claimants of one contest that are read: somebody may have written any
// number.
const maxRead = 8 * maxClaimants

// decode reads the items of a variable. Invalid ones are left out.
func decode(items map[string]string, version uint64) Record {
	r := Record{order: make(router.Agreement), version: version}
	for name, text := range items {
		host, _, ok := strings.Cut(name, " ")
		if !ok || host == "" {
			continue
		}
		var claimants []router.Claimant
		for word := range strings.FieldsSeq(text) {
			if len(claimants) == maxRead {
				break
			}
			c, ok := decodeClaimant(word)
			if ok && !slices.ContainsFunc(claimants, c.Same) {
				claimants = append(claimants, c)
			}
		}
		if len(claimants) > 0 {
			r.order[name] = claimants
		}
	}
	for name := range strings.SplitSeq(items[endedItem], "\n") {
		if strings.Contains(name, " ") && r.order[name] == nil {
			r.ended = append(r.ended, name)
		}
	}
	return r
}

// lately adds names to the names of ended contests, as many as fit, without contests
// that exist again.
func lately(ended, more []string, order router.Agreement, room int) (all []string) {
	size := len(endedItem)
	for _, names := range [][]string{more, ended} {
		for _, name := range slices.Backward(names) {
			if order[name] != nil || slices.Contains(all, name) || strings.Contains(name, "\n") {
				continue
			}
			if size += len(name) + 1; size > room {
				break
			}
			all = append(all, name)
		}
	}
	slices.Reverse(all)
	return all
}

func decodeClaimant(word string) (c router.Claimant, ok bool) {
	namespace, rest, ok := strings.Cut(word, "/")
	service, job, _ := strings.Cut(rest, "/")
	service, conditions, _ := strings.Cut(service, "?")
	if plain, err := url.PathUnescape(service); err == nil {
		service = plain
	}
	c.Namespace, c.Name, c.Conditions, c.Job = namespace, service, conditions, job
	return c, ok && namespace != "" && service != ""
}

// encodeClaimant fails on a name that is too long, and on a namespace that neither Nomad nor
// Consul has.
func encodeClaimant(c router.Claimant) (word string, ok bool) {
	if c.Namespace == "" || c.Name == "" || strings.ContainsAny(c.Namespace, "/?") || blanks(c.Namespace+c.Conditions) {
		return "", false
	}
	word = c.Namespace + "/" + escaped(c.Name)
	if c.Conditions != "" {
		word += "?" + c.Conditions
	}
	if c.Job != "" && len(word)+1+len(c.Job) <= maxClaimant && !blanks(c.Job) {
		word += "/" + c.Job
	}
	return word, len(word) <= maxClaimant
}

// escaped is a service's name as a record has it. Names of Nomad, and "*" for all of a
// namespace, stay as they are.
func escaped(name string) string {
	if name == "*" {
		return name
	}
	return url.PathEscape(name)
}

// blanks reports whether a text has what separates claimants.
func blanks(text string) bool { return strings.ContainsFunc(text, unicode.IsSpace) }

// recordable returns the first claimants, up to one that cannot be recorded: what comes after it
// must not be recorded as if it came first.
func recordable(claimants []router.Claimant) []router.Claimant {
	for i, c := range claimants {
		if _, ok := encodeClaimant(c); !ok {
			return claimants[:i]
		}
	}
	return claimants
}

func encodeClaimants(claimants []router.Claimant) (text string, ok bool) {
	words := make([]string, len(claimants))
	for i, c := range claimants {
		if words[i], ok = encodeClaimant(c); !ok {
			return "", false
		}
	}
	return strings.Join(words, " "), true
}

// items are what is written: never none, which Nomad would refuse.
func (r Record) items() map[string]string {
	items := make(map[string]string, len(r.order)+1)
	for name, claimants := range r.order {
		items[name], _ = encodeClaimants(claimants)
	}
	if len(r.ended) > 0 || len(items) == 0 {
		items[endedItem] = strings.Join(r.ended, "\n")
	}
	return items
}

// equal compares the content of two records.
func (r Record) equal(o Record) bool { return maps.Equal(r.items(), o.items()) }

// id differs when the content of the record does.
func (r Record) id() string {
	var b strings.Builder
	items := r.items()
	for _, name := range slices.Sorted(maps.Keys(items)) {
		fmt.Fprintf(&b, "%s: %s\n", name, items[name])
	}
	return b.String()
}
