package nomad

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"serai/internal/agentapi"
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

// Services is EachService for lists that are known to be short: it returns the services in
// no order, or ErrTooLong where they would take more than Limits.Answer.
func (c *Client) Services(ctx context.Context, q Query) ([]ServiceStub, Meta, error) {
	const texts = 16 // bytes of a string beside its text
	var stubs []ServiceStub
	left := c.options.Limits.Answer
	meta, err := c.EachService(ctx, q, func(stub ServiceStub) error {
		for _, tag := range stub.Tags {
			left -= int64(texts + len(tag))
		}
		if left -= int64(5*texts + len(stub.Namespace) + len(stub.ServiceName)); left < 0 {
			return fmt.Errorf("%w, %d bytes", ErrTooLong, c.options.Limits.Answer)
		}
		stubs = append(stubs, stub)
		return nil
	})
	if err != nil {
		return nil, Meta{}, err
	}
	if stubs == nil {
		stubs = []ServiceStub{}
	}
	return stubs, meta, nil
}

// EachService lists the services of q.Namespace (AllNamespaces: of all that the token may
// read) with the union of their instances' tags, in no order, and calls each with one after
// the other as they arrive. So it needs memory for one, however long the list is. An error
// of each ends it. After an error what each was called with means nothing.
//
// A list without services and without an error really is empty: the empty list at index 0,
// with which an agent refuses AllNamespaces, is ErrForbidden.
// Source: https://developer.hashicorp.com/nomad/api-docs/services#list-services.
func (c *Client) EachService(ctx context.Context, q Query, each func(ServiceStub) error) (Meta, error) {
	r := &request{kind: KindServices, op: fmt.Sprintf("list services in namespace %q", orDefault(q.Namespace)),
		method: http.MethodGet, path: "/v1/services", params: url.Values{}}
	r.query(q)
	var meta Meta
	err := c.doInParts(ctx, r, func(header http.Header, a *agentapi.Reader) (err error) {
		if meta, err = readMeta(r, header); err != nil {
			a.Begin()
			return cmp.Or(a.Broken(), err) // of an answer that does not come its head says nothing
		}
		any := false
		err = readServices(a, r, q, func(stub ServiceStub) error {
			any = true
			return each(stub)
		})
		switch {
		case err != nil || meta.Index != 0:
			return err
		case any:
			return insane(r, "the list has services but index 0")
		}
		e := r.fail(ErrForbidden, http.StatusOK,
			errors.New("the list is empty at index 0, which is how an agent says that no namespace may be read"))
		e.Advice = `grant read-job: namespace "*" { capabilities = ["read-job"] } in a policy of serai's job, ` +
			`or name the namespaces to read`
		return e
	})
	if err != nil {
		return Meta{}, err
	}
	return meta, nil
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
	r.most = min(cmp.Or(q.Most, c.options.Limits.Answer), c.options.Limits.Answer)
	var regs []Registration
	var meta Meta
	err := c.doInParts(ctx, r, func(header http.Header, a *agentapi.Reader) (err error) {
		if meta, err = readMeta(r, header); err != nil {
			a.Begin()
			return cmp.Or(a.Broken(), err)
		}
		regs, err = readService(a, r, name, q)
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

// readService reads an answer of /v1/service/:name, one registration after the other.
func readService(a *agentapi.Reader, r *request, name string, q Query) ([]Registration, error) {
	regs := []Registration{}
	some, err := a.Array(func() error {
		var reg Registration
		if err := a.Value(&reg); err != nil {
			return err
		}
		if err := checkRegistration(&reg); err != nil {
			return insane(r, "%w", err)
		}
		if reg.ServiceName != name || reg.Namespace != orDefault(q.Namespace) {
			return insane(r, "the answer has service %q of namespace %q", reg.ServiceName, reg.Namespace)
		}
		regs = append(regs, reg)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !some:
		return nil, errors.New("the answer is null")
	}
	return regs, a.End()
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
