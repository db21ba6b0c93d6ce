package router

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"serai/discovery"
)

// Rejection is a claim, tag or instance that was refused. All that comes from tags in
// it is printable ASCII.
type Rejection struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Job       string `json:"job,omitempty"`
	// Route is the name of the refused route; Instance says that the whole instance is
	// refused.
	Route    string `json:"route"`
	Instance bool   `json:"instance,omitempty"`
	// Allocs are the first few allocations that ask for it, Instances is how many there
	// are.
	Allocs    []string `json:"allocs,omitempty"`
	Instances int      `json:"instances"`
	// Hosts are the hosts that are not served for this reason, of instances and quotas the
	// first of them. Other instances, or a tag beside one with a misspelt prefix, may serve them.
	Hosts []string `json:"hosts,omitempty"`
	// DefaultHost says that no tag names them: the operator gives them to services without
	// a host.
	DefaultHost bool `json:"default_host,omitempty"`
	// Tag is the tag as written, escaped and shortened; empty when no single tag is the
	// cause.
	Tag string `json:"tag,omitempty"`
	// Why says what is wrong, Instead what to write.
	Why     string `json:"why"`
	Instead string `json:"instead,omitempty"`
	// Quota is the exceeded quota, such as claims-service; empty for none.
	Quota string `json:"quota,omitempty"`
	// Holder is the service that holds the claim, as namespace/service.
	Holder string `json:"holder,omitempty"`
}

// String is the rejection in one line.
func (r Rejection) String() string {
	var b strings.Builder
	b.WriteString(r.Namespace + "/" + r.Service)
	if r.Route != "" {
		b.WriteString(" route " + r.Route)
	}
	b.WriteString(": ")
	if r.Tag != "" {
		b.WriteString(r.Tag + ": ")
	}
	b.WriteString(r.Why)
	if r.Instead != "" {
		b.WriteString("; instead: " + r.Instead)
	}
	return b.String()
}

func (r Rejection) compare(o Rejection) int {
	return cmp.Or(cmpStrings(r.Namespace, o.Namespace, r.Service, o.Service, r.Route, o.Route, r.Tag, o.Tag, r.Why, o.Why),
		slices.Compare(r.Hosts, o.Hosts), slices.Compare(r.Allocs, o.Allocs))
}

// notKept is the rejection of the registrations of a service that discovery had no room
// for, nil when there are none.
func notKept(source *discovery.Service) *Rejection {
	if source == nil || source.Refused == nil {
		return nil
	}
	x := source.Refused
	who := "the namespace has its"
	if strings.HasSuffix(x.Quota, "-total") {
		who = "all namespaces together have their"
	}
	unit := "registrations"
	if strings.HasPrefix(x.Quota, "registration-bytes") {
		unit = "bytes of registrations"
	}
	r := &Rejection{
		Namespace: printable(source.Namespace), Service: printable(source.Name), Job: printable(x.Job), Instance: true, Quota: x.Quota, Instances: x.Instances,
		Why:     fmt.Sprintf("%s %d %s: what came later, or is larger, is refused", who, x.Limit, unit),
		Instead: fmt.Sprintf("fewer instances with fewer and shorter tags; the operator can raise --max-%s", x.Quota),
	}
	if strings.HasSuffix(x.Quota, "-service") {
		who = "Nomad"
		if source.Namespace == discovery.ConsulNamespace {
			who = "Consul"
		}
		r.Why = who + "'s answer about its instances is longer than serai reads at once; its last known instances stay in use"
		r.Instead = "fewer instances with fewer and shorter tags; with more memory (--memory), more is read"
	}
	if x.Cause != "" {
		r.Why = "Nomad lists the service, but it cannot be read, so its last known instances stay in use: " + printableUpTo(x.Cause, maxCause)
		r.Instead = fmt.Sprintf("nothing, if that passes: serai reads it again and again. Else see what nomad service info -namespace %s %s says, and the log of Nomad's servers", quote(source.Namespace), quote(source.Name))
		if x.Unaskable {
			r.Why = "Nomad's API cannot be asked for a service of this name, so it is served only if its registration was seen as an event"
			r.Instead = "a name of letters, digits and dashes; look at what the variables of name = \"${...}\" contain"
		}
	}
	for _, alloc := range x.Allocs {
		r.Allocs = append(r.Allocs, printable(alloc))
	}
	return r
}

// maxCause bounds what is repeated of an error about Nomad, in bytes.
const maxCause = 600

// maxAllocs bounds the allocations that a Rejection lists.
const maxAllocs = 8

// join adds one more instance that is refused for the same reason.
func (r *Rejection) join(alloc string) {
	r.Instances++
	if alloc = printable(alloc); alloc != "" && len(r.Allocs) < maxAllocs && !slices.Contains(r.Allocs, alloc) {
		r.Allocs = append(r.Allocs, alloc)
	}
}
