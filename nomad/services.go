package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// AllNamespaces as Query.Namespace lists every namespace in which the token
// has read-job.
const AllNamespaces = "*"

// DefaultNamespace is the namespace of a request that names none.
const DefaultNamespace = "default"

func orDefault(namespace string) string {
	if namespace == "" {
		return DefaultNamespace
	}
	return namespace
}

// Services lists the services of q.Namespace (AllNamespaces: of all that the token may
// read) with the union of their instances' tags, in no order. An empty list without an
// error really is empty: the empty list at index 0, with which an agent refuses
// AllNamespaces, is ErrForbidden.
// Source: https://developer.hashicorp.com/nomad/api-docs/services#list-services.
func (c *Client) Services(ctx context.Context, q Query) ([]ServiceStub, Meta, error) {
	r := &request{kind: KindServices, op: fmt.Sprintf("list services in namespace %q", orDefault(q.Namespace)),
		method: http.MethodGet, path: "/v1/services", params: url.Values{}}
	r.query(q)
	var stubs []ServiceStub
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header); err != nil {
			return err
		}
		if stubs, err = c.decodeServices(r, q, body); err != nil || meta.Index != 0 {
			return err
		}
		if len(stubs) > 0 {
			return insane(r, "the list has services but index 0")
		}
		e := r.fail(ErrForbidden, http.StatusOK,
			errors.New("the list is empty at index 0, which is how an agent says that no namespace may be read"))
		e.Advice = `grant read-job: namespace "*" { capabilities = ["read-job"] } in a policy of serai's job, ` +
			`or name the namespaces to read`
		return e
	})
	if err != nil {
		return nil, Meta{}, err
	}
	return stubs, meta, nil
}

// servicesAnswer is one namespace of /v1/services.
type servicesAnswer struct {
	Namespace string
	Services  []struct {
		ServiceName string
		Tags        []string
	}
}

func (c *Client) decodeServices(r *request, q Query, body []byte) ([]ServiceStub, error) {
	var answer []servicesAnswer
	if err := c.decode(r, body, &answer); err != nil {
		return nil, err
	}
	n := 0
	for i := range answer {
		n += len(answer[i].Services)
	}
	stubs := make([]ServiceStub, 0, n)
	for _, ns := range answer {
		if ns.Namespace == "" || q.Namespace != AllNamespaces && ns.Namespace != orDefault(q.Namespace) {
			return nil, insane(r, "the list has namespace %q", ns.Namespace)
		}
		// An agent lists a namespace only because of its services.
		if ns.Services == nil {
			return nil, insane(r, "the list has namespace %q without its services", ns.Namespace)
		}
		for _, s := range ns.Services {
			if s.ServiceName == "" {
				return nil, insane(r, "a service of namespace %q has no name", ns.Namespace)
			}
			stubs = append(stubs, ServiceStub{Namespace: ns.Namespace, ServiceName: s.ServiceName, Tags: s.Tags})
		}
	}
	return stubs, nil
}

// Service lists the instances of one service, in no order. A service that
// does not exist has none. q.Namespace must be one namespace, because an
// agent does not expand AllNamespaces here.
// Source: https://developer.hashicorp.com/nomad/api-docs/services#read-service.
func (c *Client) Service(ctx context.Context, name string, q Query) ([]Registration, Meta, error) {
	r := &request{kind: KindService, op: fmt.Sprintf("read service %q in namespace %q", name, orDefault(q.Namespace)),
		method: http.MethodGet, path: "/v1/service/" + url.PathEscape(name), params: url.Values{}}
	if !askable(name) {
		return nil, Meta{}, &Error{Op: r.op, Kind: ErrUnaskable, Advice: "a name of letters, digits and dashes"}
	}
	if q.Namespace == AllNamespaces {
		return nil, Meta{}, &Error{Op: r.op, Err: fmt.Errorf("a service is read in one namespace"), Advice: "name it"}
	}
	r.query(q)
	var regs []Registration
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header); err != nil {
			return err
		}
		regs, err = c.decodeService(r, name, q, body)
		return err
	})
	if err != nil {
		return nil, Meta{}, err
	}
	return regs, meta, nil
}

// askable reports whether a request can ask for a service. Nomad registers a service under
// any name that a variable has, as in name = "${NOMAD_META_x}", but its API has no path for
// some.
func askable(name string) bool {
	const longest = 16 << 10 // of the megabyte that a head may have, escaped
	return name != "" && name != "." && name != ".." && !strings.Contains(name, "/") && len(name) <= longest
}

func (c *Client) decodeService(r *request, name string, q Query, body []byte) ([]Registration, error) {
	var regs []Registration
	if err := c.decode(r, body, &regs); err != nil {
		return nil, err
	}
	for i := range regs {
		reg := &regs[i]
		if err := checkRegistration(reg); err != nil {
			return nil, insane(r, "%w", err)
		}
		if reg.ServiceName != name || reg.Namespace != orDefault(q.Namespace) {
			return nil, insane(r, "the answer has service %q of namespace %q", reg.ServiceName, reg.Namespace)
		}
	}
	return regs, nil
}

// checkRegistration refuses a registration that cannot be identified. This package does
// not check addresses and ports.
func checkRegistration(reg *Registration) error {
	if reg.ID == "" || reg.ServiceName == "" || reg.Namespace == "" {
		return fmt.Errorf("a registration has ID %q, service %q and namespace %q; want none of them empty",
			reg.ID, reg.ServiceName, reg.Namespace)
	}
	return nil
}
