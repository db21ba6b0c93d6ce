package nomad

import (
	"context"
	"net/http"
	"net/url"
)

// Leader returns the address of the servers' leader, or ErrUnavailable when there is
// none. Any agent answers this without a token, except through the Task API.
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

// AgentInfo is what an agent says about itself.
type AgentInfo struct{ Version, Region string }

// Agent asks the agent for its version and region. It needs agent:read, which a task's
// identity has only by a policy.
// Source: https://developer.hashicorp.com/nomad/api-docs/agent#query-self.
func (c *Client) Agent(ctx context.Context) (AgentInfo, error) {
	r := &request{kind: KindAgent, op: "ask the agent for its version", method: http.MethodGet, path: "/v1/agent/self", params: url.Values{}}
	var self struct {
		Config struct {
			Region  string
			Version struct{ Version, VersionPrerelease string }
		} `json:"config"`
	}
	err := c.do(ctx, r, func(_ http.Header, body []byte) error { return c.decode(r, body, &self) })
	if err != nil {
		return AgentInfo{}, err
	}
	v := self.Config.Version
	if v.VersionPrerelease != "" {
		v.Version += "-" + v.VersionPrerelease
	}
	return AgentInfo{v.Version, self.Config.Region}, nil
}
