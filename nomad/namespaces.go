package nomad

import (
	"context"
	"net/http"
	"net/url"
)

// Namespaces lists the names of the namespaces in which the token has any capability,
// in no order. q.Namespace is ignored. A blocking query on its index reports new
// namespaces.
// Source: https://developer.hashicorp.com/nomad/api-docs/namespaces#list-namespaces.
func (c *Client) Namespaces(ctx context.Context, q Query) ([]string, Meta, error) {
	r := &request{kind: KindNamespaces, op: "list namespaces", method: http.MethodGet, path: "/v1/namespaces", params: url.Values{}}
	q.Namespace = ""
	r.query(q)
	var names []string
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header); err != nil {
			return err
		}
		names, err = c.decodeNamespaces(r, body)
		return err
	})
	if err != nil {
		return nil, Meta{}, err
	}
	return names, meta, nil
}

func (c *Client) decodeNamespaces(r *request, body []byte) ([]string, error) {
	var answer []struct{ Name string }
	if err := c.decode(r, body, &answer); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(answer))
	for _, n := range answer {
		if n.Name == "" {
			return nil, insane(r, "a namespace has no name")
		}
		names = append(names, n.Name)
	}
	return names, nil
}
