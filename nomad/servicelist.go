package nomad

import (
	"errors"
	"strings"

	"serai/internal/agentapi"
)

// maxRow is how many bytes of tags are kept of one row of a list of services.
const maxRow = 1 << 20

// serviceList reads an answer of /v1/services:
//
//	[{"Namespace":"shop","Services":[{"ServiceName":"web","Tags":["a","b"]}]}]
//
// Names are found in any case, as encoding/json finds them.
type serviceList struct {
	*agentapi.Reader
	r    *request
	q    Query
	each func(ServiceStub) error
}

func readServices(a *agentapi.Reader, r *request, q Query, each func(ServiceStub) error) error {
	l := serviceList{a, r, q, each}
	some, err := l.Array(l.namespace)
	switch {
	case err != nil:
		return err
	case !some:
		return errors.New("the answer is null")
	}
	return l.End()
}

// namespace reads one namespace, which stands before its services.
func (l *serviceList) namespace() error {
	var name string
	var listed bool
	_, err := l.Object(func(field string) (err error) {
		switch {
		case strings.EqualFold(field, "Namespace"):
			if name != "" {
				return insane(l.r, "the list names a namespace twice")
			}
			if name, err = l.Text(); err == nil && (name == "" || l.q.Namespace != AllNamespaces && name != orDefault(l.q.Namespace)) {
				err = insane(l.r, "the list has namespace %q", name)
			}
			return err
		case !strings.EqualFold(field, "Services"):
			return l.Skip()
		case name == "" || listed:
			return insane(l.r, "the list has services without their namespace")
		}
		listed, err = l.Array(func() error { return l.service(name) })
		return err
	})
	switch {
	case err != nil:
		return err
	case name == "":
		return insane(l.r, "the list has namespace %q", name)
	case !listed: // an agent lists a namespace only because of its services
		return insane(l.r, "the list has namespace %q without its services", name)
	}
	return nil
}

func (l *serviceList) service(namespace string) error {
	stub := ServiceStub{Namespace: namespace}
	_, err := l.Object(func(field string) (err error) {
		switch {
		case strings.EqualFold(field, "ServiceName"):
			stub.ServiceName, err = l.Text()
		case strings.EqualFold(field, "Tags"):
			stub.Tags, stub.Cut, err = l.Texts(maxRow)
		default:
			err = l.Skip()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case stub.ServiceName == "":
		return insane(l.r, "a service of namespace %q has no name", namespace)
	}
	return l.each(stub)
}
