package nomad

import (
	"context"
	"net/http"
	"net/url"
)

// Leader returns the address of the servers' leader, or ErrUnavailable when
// there is none. Any agent answers it without a token, except through the
// Task API.
func (c *Client) Leader(ctx context.Context) (string, error) {
	r := &request{kind: KindAgent, op: "ask for the leader", method: http.MethodGet, path: "/v1/status/leader", params: url.Values{}}
	var leader string
	err := c.do(ctx, r, func(_ http.Header, body []byte) error {
		if err := c.decode(r, body, &leader); err != nil || leader != "" {
			return err
		}
		e := r.fail(ErrUnavailable, http.StatusOK, nil)
		e.Advice = adviceNoLeader
		return e
	})
	if err != nil {
		return "", err
	}
	return leader, nil
}
