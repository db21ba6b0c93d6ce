package consul

import (
	"context"
	"errors"
	"fmt"
)

// AccessError says that the token may not read all that a source reads and, in its text,
// how to grant it. errors.Is(err, ErrForbidden) holds.
type AccessError struct {
	// Hidden says that lists are answered, without what the token may not read: that may be
	// meant. Otherwise they are refused.
	Hidden bool
	Cause  error
}

// Unwrap lets errors.Is find the refusal.
func (e *AccessError) Unwrap() []error {
	if e.Cause == nil {
		return []error{ErrForbidden}
	}
	return []error{ErrForbidden, e.Cause}
}

// Missing names what is missing.
func (e *AccessError) Missing() string {
	if e.Hidden {
		return "read of some services or nodes, which the lists therefore lack"
	}
	return "the list of services"
}

// Policy is the ACL policy that grants what a source reads.
func (e *AccessError) Policy() string {
	return "service_prefix \"\" {\n  policy = \"read\"\n}\nnode_prefix \"\" {\n  policy = \"read\"\n}\n"
}

// Command makes a token with the Policy.
func (e *AccessError) Command() string {
	return "consul acl policy create -name serai -rules @serai.policy.hcl && consul acl token create -description serai -policy-name serai"
}

// Error names what is missing and prints the policy and the command that grant it.
func (e *AccessError) Error() string {
	return fmt.Sprintf("check what consul lets us do: missing %s; write this to serai.policy.hcl:\n\n%s\nand make a token of it, for CONSUL_HTTP_TOKEN or a file of CONSUL_HTTP_TOKEN_FILE:\n\n    %s\n",
		e.Missing(), e.Policy(), e.Command())
}

// CheckAccess lists the services, and returns nil, an *AccessError, or another error (no
// agent, token refused), which says nothing about rights.
func (c *Client) CheckAccess(ctx context.Context) error {
	own := false
	meta, err := c.EachService(ctx, Query{}, func(name string, _ []string, _ bool) { own = own || name == OwnService })
	if advice := c.token.Advice(); advice != "" && (err == nil && meta.Denies || errors.Is(err, ErrForbidden)) {
		// No policy is missing: requests carry no token.
		return &Error{Op: "check what consul lets us do", Kind: ErrTokenRefused, Err: errors.New("no token was sent"), Advice: advice}
	}
	switch {
	case errors.Is(err, ErrForbidden):
		return &AccessError{Cause: err}
	case err != nil:
		return err
	case meta.Filtered, meta.Denies && !own && c.Anonymous():
		return &AccessError{Hidden: true}
	}
	return nil
}
