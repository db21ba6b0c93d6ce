package consul

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

// EachOn calls each with one instance after the other that is registered on a node: its ID and
// the name of its service. A node that does not exist, or that the token may not read, has none.
// After an error what each was called with means nothing.
// Source: https://developer.hashicorp.com/consul/api-docs/catalog#retrieve-map-of-services-for-a-node.
func (c *Client) EachOn(ctx context.Context, node string, q Query, each func(id, service string)) error {
	r := &request{kind: KindNode, op: fmt.Sprintf("read node %q", node), path: "/v1/catalog/node/" + url.PathEscape(node), params: url.Values{}}
	if node == "" || node == "." || node == ".." {
		return &Error{Op: r.op, Err: fmt.Errorf("%q cannot be a node's name", node)}
	}
	c.query(r, q)
	return c.doInParts(ctx, r, func(header http.Header, a *agentapi.Reader) error {
		if _, err := readMeta(r, header, 0); err != nil {
			a.Begin()
			return cmp.Or(a.Broken(), err)
		}
		_, err := a.Object(func(field string) error {
			if !strings.EqualFold(field, "Services") {
				return a.Skip()
			}
			_, err := a.Object(func(id string) error {
				service, err := readName(a)
				if err == nil && service != "" && id != "" {
					each(id, service)
				}
				return err
			})
			return err
		})
		if err != nil {
			return err
		}
		return a.End()
	})
}

// readName reads an instance, of which it keeps the name of the service.
func readName(a *agentapi.Reader) (name string, err error) {
	some, err := a.Object(func(field string) (err error) {
		if strings.EqualFold(field, "Service") {
			name, err = a.Text()
			return err
		}
		return a.Skip()
	})
	if err == nil && !some {
		err = errors.New("an instance is null")
	}
	return name, err
}
