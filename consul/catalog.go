package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"serai/internal/agentapi"
)

// Entry is one instance of a service as /v1/health/service lists it, with all its checks
// and those of its node. Never modified once read.
// Source: https://developer.hashicorp.com/consul/api-docs/health.
type Entry struct {
	Node    Node
	Service Service
	Checks  []Check
}

// Node is where an instance runs.
type Node struct {
	Node            string // its name
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
}

// Service is an instance without its health. ID is unique on its node only. An empty
// Address means that of the node.
type Service struct {
	ID              string
	Service         string
	Kind            string // empty for what is no proxy or gateway
	Tags            []string
	Meta            map[string]string
	Address         string
	Port            int
	TaggedAddresses map[string]Address
	Weights         Weights
	Proxy           Proxy
	Connect         struct{ Native bool } // Native says that it speaks the mesh's TLS itself
	CreateIndex     uint64
	ModifyIndex     uint64
}

// The kind of a Service that is a sidecar.
const Sidecar = "connect-proxy"

// Proxy says what a sidecar stands for: a service, and where it is for one instance, that
// one, which runs on the same node.
type Proxy struct{ DestinationServiceName, DestinationServiceID string }

// Address is an address of a service that has a name.
type Address struct {
	Address string
	Port    int
}

// Weights are the shares of an instance. Consul's default is 1 for both.
type Weights struct{ Passing, Warning int }

// Check is what is known of the health of a service, or, without a ServiceID, of a node.
type Check struct {
	Node        string
	CheckID     string
	Status      string
	ServiceID   string
	ServiceName string
}

// OwnService is the service that Consul's servers register themselves as.
const OwnService = "consul"

// The states of a Check.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
)

// Checks by which Consul marks maintenance: of a node, and of a service, whose ID follows.
const (
	nodeMaintenance    = "_node_maintenance"
	serviceMaintenance = "_service_maintenance:"
)

// Maintenance reports whether the check says that somebody has taken the node or service
// out of service.
func (c *Check) Maintenance() bool {
	return c.CheckID == nodeMaintenance || strings.HasPrefix(c.CheckID, serviceMaintenance)
}

// maxRow is how many bytes of tags are kept of one service of a list.
const maxRow = 1 << 20

// EachService calls each with the name of one service after the other, as they arrive, and
// the tags that any of its instances has. Cut says that these are not all: there are very
// many, or one is very long. It needs memory for one service, however long the list is. After
// an error what each was called with means nothing. Services with names that are longer than
// a request can be are left out.
// Source: https://developer.hashicorp.com/consul/api-docs/catalog#list-services.
func (c *Client) EachService(ctx context.Context, q Query, each func(name string, tags []string, cut bool)) (Meta, error) {
	r := &request{kind: KindServices, op: "list the services", path: "/v1/catalog/services", params: url.Values{}}
	c.query(r, q)
	return c.list(ctx, r, func(a *agentapi.Reader) (bool, error) {
		return a.Object(func(name string) error {
			tags, cut, err := a.Texts(maxRow)
			if err == nil && len(name) < agentapi.MaxText {
				each(name, tags, cut)
			}
			return err
		})
	})
}

// list reads an answer that is not null in parts.
func (c *Client) list(ctx context.Context, r *request, read func(*agentapi.Reader) (some bool, err error)) (Meta, error) {
	var meta Meta
	err := c.doInParts(ctx, r, func(header http.Header, a *agentapi.Reader) (err error) {
		if meta, err = readMeta(r, header, 0); err != nil {
			a.Begin()
			return cmp.Or(a.Broken(), err) // of an answer that does not come its head says nothing
		}
		some, err := read(a)
		switch {
		case err != nil:
			return err
		case !some:
			return errors.New("the answer is null")
		}
		err = a.End()
		meta.Size = int(a.Size())
		return err
	})
	if err != nil {
		return Meta{}, err
	}
	return meta, nil
}

// Service lists the instances of one service with their health, in no order. A service
// that does not exist has none.
// Source: https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service.
func (c *Client) Service(ctx context.Context, name string, q Query) ([]Entry, Meta, error) {
	r := &request{kind: KindService, op: fmt.Sprintf("read service %q", name), path: "/v1/health/service/" + url.PathEscape(name), params: url.Values{}}
	return c.entries(ctx, r, name, q, func(s *Service) string { return s.Service })
}

// Sidecars lists what is connected to for one service in Consul's mesh, as Service does:
// its sidecars, instances that need none, and gateways that lead to it.
// Source: https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-mesh-enabled-service.
func (c *Client) Sidecars(ctx context.Context, name string, q Query) ([]Entry, Meta, error) {
	r := &request{kind: KindSidecars, op: fmt.Sprintf("read the sidecars of service %q", name), path: "/v1/health/connect/" + url.PathEscape(name), params: url.Values{}}
	return c.entries(ctx, r, name, q, func(s *Service) string {
		switch s.Kind {
		case Sidecar:
			return s.Proxy.DestinationServiceName
		case "":
			return s.Service
		}
		return name // a gateway may have any name
	})
}

// entries reads a list of instances, each of which is of the service.
func (c *Client) entries(ctx context.Context, r *request, name string, q Query, of func(*Service) string) ([]Entry, Meta, error) {
	if name == "" || name == "." || name == ".." {
		return nil, Meta{}, &Error{Op: r.op, Err: fmt.Errorf("%q cannot be a service's name", name)}
	}
	c.query(r, q)
	r.most = q.Most
	var entries []Entry
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header, len(body)); err != nil {
			return err
		}
		if err = c.decode(r, body, &entries); err != nil {
			return err
		}
		// Consul finds names in any case; services whose names differ in case are others.
		entries = slices.DeleteFunc(entries, func(e Entry) bool {
			found := of(&e.Service)
			return found != name && strings.EqualFold(found, name)
		})
		for i := range entries {
			e := &entries[i]
			if of(&e.Service) != name || e.Service.ID == "" || e.Node.Node == "" {
				return insane(r, "it has an instance of service %q with ID %q and node %q", of(&e.Service), e.Service.ID, e.Node.Node)
			}
			if index := max(e.Service.CreateIndex, e.Service.ModifyIndex); index >= noIndex {
				return insane(r, "it has an instance with index %d, which none has", index)
			}
		}
		return nil
	})
	if err != nil {
		return nil, Meta{}, err
	}
	return entries, meta, nil
}

// EachCheck calls each with one check after the other that is in a state, as they arrive: with
// its node, and with the ID and the name of its service, which are empty for a check of the node.
// After an error what each was called with means nothing.
// Source: https://developer.hashicorp.com/consul/api-docs/health#list-checks-in-state.
func (c *Client) EachCheck(ctx context.Context, state string, q Query, each func(node, id, service string)) (Meta, error) {
	r := &request{kind: KindChecks, op: "list the checks that are " + state, path: "/v1/health/state/" + url.PathEscape(state), params: url.Values{}}
	c.query(r, q)
	return c.list(ctx, r, func(a *agentapi.Reader) (bool, error) {
		return a.Array(func() error {
			var node, id, service string
			_, err := a.Object(func(field string) (err error) {
				switch {
				case strings.EqualFold(field, "Node"):
					node, err = a.Text()
				case strings.EqualFold(field, "ServiceID"):
					id, err = a.Text()
				case strings.EqualFold(field, "ServiceName"):
					service, err = a.Text()
				default:
					err = a.Skip()
				}
				return err
			})
			if err == nil {
				each(node, id, service)
			}
			return err
		})
	})
}

// Leader returns nil when the agent answers and its servers have a leader.
// Source: https://developer.hashicorp.com/consul/api-docs/status#get-raft-leader.
func (c *Client) Leader(ctx context.Context) error {
	r := &request{kind: KindLeader, op: "ask who leads", path: "/v1/status/leader", params: url.Values{}, most: 64 << 10}
	c.datacenter(r)
	return c.do(ctx, r, func(_ http.Header, body []byte) error {
		var leader string
		if err := c.decode(r, body, &leader); err != nil {
			return err
		}
		if leader == "" {
			e := r.fail(ErrUnavailable, http.StatusOK, errors.New("there is none"))
			e.Advice = adviceNoLeader
			return e
		}
		return nil
	})
}
