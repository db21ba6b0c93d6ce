package nomad

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Access is what a caller wants to do, for CheckAccess.
type Access struct {
	// Namespaces whose services are watched: names, or AllNamespaces alone.
	Namespaces []string
	// Variables is the prefix of the paths that are read and written, without a
	// trailing slash; empty when none are.
	Variables string
	// VariablesNamespace is their namespace; empty means DefaultNamespace.
	VariablesNamespace string
	// Read are the paths of variables in that namespace that are read, besides those
	// under Variables.
	Read []string
	// Job and JobNamespace name the job of this process (NOMAD_JOB_ID,
	// NOMAD_NAMESPACE), for the command in the error. Empty means "serai" in
	// DefaultNamespace.
	Job, JobNamespace string
}

// AccessError says which permissions are missing and, in its text, how to grant them.
// errors.Is(err, ErrForbidden) holds.
type AccessError struct {
	access Access
	// ListServices are the namespaces whose services cannot even be listed.
	ListServices []string
	// WatchServices are the namespaces whose event stream is refused. If only these are
	// missing, lists still work.
	WatchServices []string
	// Variables are the missing capabilities on the prefix, Read the paths that may not be
	// read.
	Variables, Read []string
	// Causes are the refusals.
	Causes []error
}

// NewAccessError is for a refusal in the use of variables as described by a.
func NewAccessError(a Access, cause error) *AccessError {
	return &AccessError{access: a, Variables: []string{"read", "list", "write", "destroy"}, Causes: []error{cause}}
}

// NewReadError is for a refusal to read one variable, by who wants what a describes.
func NewReadError(a Access, path string, cause error) *AccessError {
	return &AccessError{access: a, Read: []string{path}, Causes: []error{cause}}
}

// Unwrap lets errors.Is find the refusals.
func (e *AccessError) Unwrap() []error { return e.Causes }

// For returns e with the policy that grants a, of which only a part was checked: whoever
// applies the policy of a part takes the rest away.
func (e *AccessError) For(a Access) *AccessError {
	whole := *e
	whole.access = a
	return &whole
}

// Missing names what is missing.
func (e *AccessError) Missing() string {
	var parts []string
	if len(e.ListServices) > 0 {
		parts = append(parts, fmt.Sprintf("the list of services of namespace %s", quoted(e.ListServices)))
	}
	if len(e.WatchServices) > 0 {
		parts = append(parts, fmt.Sprintf("the event stream of namespace %s (read-job)", quoted(e.WatchServices)))
	}
	if len(e.Variables) > 0 {
		parts = append(parts, fmt.Sprintf("%s of variables under %q", strings.Join(e.Variables, ", "), e.access.Variables))
	}
	if len(e.Read) > 0 {
		parts = append(parts, fmt.Sprintf("read of the variables %s", quoted(e.Read)))
	}
	return strings.Join(parts, "; ")
}

// Error names what is missing and prints the policy and the command that grant it.
func (e *AccessError) Error() string {
	return fmt.Sprintf("check what nomad lets us do: missing %s; write this to serai.policy.hcl:\n\n%s\nand attach it to the job:\n\n    %s\n",
		e.Missing(), e.Policy(), e.Command())
}

// Policy is the complete ACL policy that grants what the check asked for. A block for
// one namespace shadows the glob's, so each block repeats what it needs.
func (e *AccessError) Policy() string {
	a := e.access
	blocks := slices.Clone(a.Namespaces)
	for _, ns := range slices.Concat(e.ListServices, e.WatchServices) {
		if !slices.Contains(blocks, ns) {
			blocks = append(blocks, ns)
		}
	}
	read := a.readApart()
	variables := a.Variables != "" || len(read) > 0
	if variables && !slices.Contains(blocks, orDefault(a.VariablesNamespace)) {
		blocks = append(blocks, orDefault(a.VariablesNamespace))
	}
	all := slices.Contains(a.Namespaces, AllNamespaces)
	var b strings.Builder
	for _, ns := range blocks {
		fmt.Fprintf(&b, "namespace %q {\n", ns)
		if all || slices.Contains(a.Namespaces, ns) {
			b.WriteString("  capabilities = [\"read-job\"]\n")
		}
		if variables && ns == orDefault(a.VariablesNamespace) {
			b.WriteString("  variables {\n")
			if a.Variables != "" {
				fmt.Fprintf(&b, "    path \"%s/*\" {\n      capabilities = [\"read\", \"list\", \"write\", \"destroy\"]\n    }\n", a.Variables)
			}
			for _, path := range read {
				fmt.Fprintf(&b, "    path %q {\n      capabilities = [\"read\"]\n    }\n", path)
			}
			b.WriteString("  }\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// readApart are the paths of Read that Variables does not cover.
func (a *Access) readApart() (paths []string) {
	for _, path := range a.Read {
		if a.Variables == "" || !strings.HasPrefix(path, a.Variables+"/") {
			paths = append(paths, path)
		}
	}
	return paths
}

// Command attaches the Policy to the job.
func (e *AccessError) Command() string {
	job := e.access.Job
	if job == "" {
		job = "serai"
	}
	return fmt.Sprintf("nomad acl policy apply -namespace %s -job %s %s serai.policy.hcl", orDefault(e.access.JobNamespace), job, job)
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}

// CheckAccess tries what a describes, without changing anything, and returns nil, an
// *AccessError with all that is missing, or the first other error (no agent, token
// refused), which says nothing about permissions. It takes a few requests, and 5 s for
// each namespace whose stream is refused silently.
func (c *Client) CheckAccess(ctx context.Context, a Access) error {
	missing := &AccessError{access: a}
	for _, ns := range a.Namespaces {
		if err := c.checkNamespace(ctx, ns, missing); err != nil {
			return err
		}
	}
	if a.Variables != "" {
		if err := c.checkVariables(ctx, a, missing); err != nil {
			return err
		}
	}
	for _, path := range a.readApart() {
		_, _, err := c.Variable(ctx, path, Query{Namespace: a.VariablesNamespace, Stale: true})
		switch {
		case err == nil, errors.Is(err, ErrNotFound):
		case errors.Is(err, ErrForbidden):
			missing.Read, missing.Causes = append(missing.Read, path), append(missing.Causes, err)
		default:
			return err
		}
	}
	if len(missing.Causes) == 0 {
		return nil
	}
	return missing
}

// refusedAccess distinguishes a refusal from other errors.
func refusedAccess(err error) bool {
	return errors.Is(err, ErrForbidden) || errors.Is(err, ErrStreamRefused) || errors.Is(err, ErrStreamSilent)
}

func (c *Client) checkNamespace(ctx context.Context, ns string, missing *AccessError) error {
	_, err := c.EachService(ctx, Query{Namespace: ns, Stale: true}, func(ServiceStub) error { return nil })
	switch {
	case err == nil:
	case refusedAccess(err):
		missing.ListServices = append(missing.ListServices, ns)
		missing.Causes = append(missing.Causes, err)
		return nil // the stream needs at least as much
	default:
		return err
	}
	err = c.checkStream(ctx, ns)
	switch {
	case err == nil:
		return nil
	case !refusedAccess(err):
		return err
	}
	missing.Causes = append(missing.Causes, ErrForbidden, err)
	if ns != AllNamespaces {
		missing.WatchServices = append(missing.WatchServices, ns)
		return nil
	}
	// The list of all works, so some namespace's own block shadows the glob.
	names, _, err := c.Namespaces(ctx, Query{Stale: true})
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := c.checkStream(ctx, name); refusedAccess(err) {
			missing.WatchServices = append(missing.WatchServices, name)
		} else if err != nil {
			return err
		}
	}
	if len(missing.WatchServices) == 0 {
		missing.WatchServices = []string{AllNamespaces}
	}
	return nil
}

func (c *Client) checkStream(ctx context.Context, ns string) error {
	s, err := c.Stream(ctx, ns, math.MaxInt64)
	if err == nil {
		s.Close()
	}
	return err
}

// checkVariables reads, and writes and deletes under a condition that is never true:
// with permission this ends in a conflict. The permission to list cannot be tested,
// since lists omit what is refused; the policy grants it with the others.
func (c *Client) checkVariables(ctx context.Context, a Access, missing *AccessError) error {
	const never = math.MaxInt64 // no index gets that high
	path := a.Variables + "/access-check"
	ns := orDefault(a.VariablesNamespace)
	tries := []struct {
		capability string
		try        func() error
	}{
		{"read", func() error {
			_, _, err := c.Variable(ctx, path, Query{Namespace: ns, Stale: true})
			return err
		}},
		{"write", func() error {
			v := Variable{VariableMeta: VariableMeta{Namespace: ns, Path: path}, Items: map[string]string{"serai": "never written"}}
			_, err := c.PutVariableIf(ctx, v, never)
			return err
		}},
		{"destroy", func() error { return c.DeleteVariableIf(ctx, ns, path, never) }},
	}
	for _, t := range tries {
		switch err := t.try(); {
		case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
		case errors.Is(err, ErrForbidden):
			missing.Variables = append(missing.Variables, t.capability)
			missing.Causes = append(missing.Causes, err)
		default:
			return err
		}
	}
	return nil
}
