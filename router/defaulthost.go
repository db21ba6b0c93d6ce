package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"serai/discovery"
)

// hostTemplate says which host a service has whose tags name none: names in braces stand
// for what the instance is.
type hostTemplate struct {
	text string
	// literals are what stands before, between and behind the placeholders: one more than
	// these.
	literals     []string
	placeholders []string
}

// placeholderNames are those that a hostTemplate may have.
func placeholderNames() []string {
	return []string{"service", "namespace", "job", "datacenter", "source"}
}

// CheckDefaultHost says what is wrong with a template for Options.DefaultHost, nil when
// nothing is.
func CheckDefaultHost(text string) error {
	if text == "" {
		return nil
	}
	_, err := newHostTemplate(text)
	return err
}

func newHostTemplate(text string) (*hostTemplate, error) {
	t := &hostTemplate{text: text}
	rest := text
	for {
		literal, behind, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return nil, errors.New("a } without its {; want such as {service}.example.org")
		}
		t.literals = append(t.literals, literal)
		if !found {
			break
		}
		name, after, closed := strings.Cut(behind, "}")
		switch {
		case !closed:
			return nil, errors.New("a { without its }; want such as {service}.example.org")
		case !slices.Contains(placeholderNames(), name):
			return nil, fmt.Errorf("{%s} stands for nothing%s", printable(name), nearestPlaceholder(name))
		}
		t.placeholders, rest = append(t.placeholders, name), after
	}
	if len(t.placeholders) == 0 {
		return nil, errors.New("all services would have the same host; want such as {service}.example.org")
	}
	host, f := parseHostPattern(t.join(func(string) string { return "x" }))
	if f == nil && (strings.Contains(host, "*") || isAddr(host)) {
		f = &flaw{why: "a wildcard or an address is no host of one service"}
	}
	if f != nil {
		return nil, fmt.Errorf("with x for each name in braces, %s; want such as {service}.example.org", f.why)
	}
	return t, nil
}

func nearestPlaceholder(name string) string {
	names := placeholderNames()
	for _, n := range names {
		if len(name) <= 2*len(n) && levenshtein.Distance(strings.ToLower(name), n, nil) <= 2 {
			return fmt.Sprintf("; did you mean {%s}?", n)
		}
	}
	return fmt.Sprintf("; want {%s}", strings.Join(names, "}, {"))
}

// join puts a value in the place of each placeholder.
func (t *hostTemplate) join(value func(name string) string) string {
	var b strings.Builder
	for i, literal := range t.literals {
		b.WriteString(literal)
		if i < len(t.placeholders) {
			b.WriteString(value(t.placeholders[i]))
		}
	}
	return b.String()
}

// fallback is the default host of an instance: none, and why, where its host is empty. It
// is zero without a template.
type fallback struct{ template, host, why string }

// maxShown bounds the parts of a name that a fallback shows.
const maxShown = 64

// of is the default host of an instance.
func (t *hostTemplate) of(i *discovery.Instance) fallback {
	if t == nil {
		return fallback{}
	}
	x := fallback{template: t.text}
	text := t.join(func(name string) string {
		value := placeholderValue(i, name)
		label := hostLabel(value)
		switch {
		case x.why != "":
		case value == "":
			x.why = fmt.Sprintf("the default host %s takes the %s of the instance, which is not known", printable(t.text), name)
		case strings.Trim(label, "-") == "":
			x.why = fmt.Sprintf("the default host %s takes %s %s, in which nothing is a letter or digit", printable(t.text), name, quote(value[:min(len(value), maxShown)]))
		}
		return label
	})
	if x.why != "" {
		return x
	}
	labels := strings.Split(text, ".")
	for n := range labels {
		labels[n] = strings.Trim(labels[n], "-")
	}
	host, f := parseHostPattern(strings.Join(labels, "."))
	switch {
	case f != nil:
		x.why = fmt.Sprintf("the default host %s: %s", printable(t.text), f.why)
	case isAddr(host):
		x.why = fmt.Sprintf("the default host %s: %s is an address", printable(t.text), host)
	default:
		x.host = host
	}
	return x
}

// Names of sources in default hosts.
const (
	inNomad  = "nomad"
	inConsul = "consul"
	inFile   = "file"
)

func placeholderValue(i *discovery.Instance, name string) string {
	_, ofConsul := discovery.Position(i.Created)
	switch name {
	case "service":
		return i.Service
	case "namespace":
		if ofConsul {
			return strings.TrimPrefix(i.Namespace, inConsul+".")
		}
		return i.Namespace
	case "job":
		return i.Job
	case "datacenter":
		return i.Datacenter
	}
	switch {
	case i.ByHand():
		return inFile
	case ofConsul:
		return inConsul
	}
	return inNomad
}

// hostLabel writes a name as a part of one label: what is not a letter, digit or dash is a
// dash. A dot is, too, so that no name has more labels than the operator wrote.
func hostLabel(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r | 0x20
		case r < 0x80 && isAlnum(byte(r)):
			return r
		}
		return '-'
	}, name[:min(len(name), maxHost+1)])
}

// defaultOf is the default host of what a job offers in the place of the instances of a
// route: that of the route itself, unless it is for another service.
func (t *hostTemplate) defaultOf(r *Route, service string) fallback {
	if t == nil {
		return fallback{}
	}
	if r.DefaultHost && (service == r.Service || interpolated(service)) {
		return fallback{template: t.text, host: r.Host}
	}
	return t.of(&discovery.Instance{Service: service, Namespace: r.Namespace, Job: r.Job, Created: r.CreateIndex})
}

// ofDefault says of a rejection that it is of a default host, if it is.
func (r Rejection) ofDefault(is bool) Rejection {
	if is {
		r.DefaultHost = true
		r.Why += "; this is the service's default host, as no tag names another"
		r.Instead = "a host tag; or " + r.Instead
	}
	return r
}
