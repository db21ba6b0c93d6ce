package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// VariableMeta describes a variable in a list.
type VariableMeta struct {
	Namespace   string
	Path        string
	CreateIndex uint64
	// ModifyIndex is what check-and-set compares.
	ModifyIndex uint64
	Created     time.Time
	Modified    time.Time
	// LockID is set while the variable is locked and the token may see it: only in the
	// answer to the holder's write, and for management tokens.
	LockID string
}

// Variable is an encrypted entry of Nomad's store: at most 64 KiB of keys and values
// together.
type Variable struct {
	VariableMeta
	Items map[string]string
}

// pathPattern are the paths that Nomad accepts.
// Source: https://developer.hashicorp.com/nomad/docs/concepts/variables.
var pathPattern = regexp.MustCompile(`^[a-zA-Z0-9-_~/]{1,128}$`)

// CheckVariablePath reports why Nomad would not accept the path of a variable.
func CheckVariablePath(path string) error {
	if !pathPattern.MatchString(path) {
		return errors.New("nomad does not accept this path; " + advicePath)
	}
	return nil
}

// advicePath says which paths variables have.
const advicePath = "a path has 1 to 128 of the characters a-z A-Z 0-9 - _ ~ /"

// Variable reads one variable. ErrNotFound means that an agent said it does not exist,
// and nothing else; Meta then has the index to wait for it, if the agent gave one.
func (c *Client) Variable(ctx context.Context, path string, q Query) (*Variable, Meta, error) {
	r, err := variableRequest("read", http.MethodGet, q.Namespace, path)
	if err != nil {
		return nil, Meta{}, err
	}
	r.query(q)
	header, body, err := c.exchange(ctx, r)
	var v *Variable
	var meta Meta
	switch {
	case err == nil:
		v, meta, err = c.readVariable(r, path, orDefault(q.Namespace), header, body)
	case errors.Is(err, ErrNotFound):
		meta, _ = readMeta(r, header)
	}
	c.report(ctx, r.kind, err)
	return v, meta, err
}

// readVariable decodes an answer with one variable.
func (c *Client) readVariable(r *request, path, namespace string, header http.Header, body []byte) (*Variable, Meta, error) {
	meta, err := readMeta(r, header)
	if err != nil {
		return nil, Meta{}, err
	}
	v, err := c.decodeVariable(r, body)
	if err != nil {
		return nil, Meta{}, err
	}
	if v.Path != path || v.Namespace != namespace {
		return nil, Meta{}, insane(r, "the answer is variable %q in namespace %q", v.Path, v.Namespace)
	}
	return v, meta, nil
}

// Variables lists the variables whose path begins with prefix and that the token may
// list, without their values, in order of namespace and path. Variables that it may not
// list are missing, without an error. The index is that of all variables.
func (c *Client) Variables(ctx context.Context, prefix string, q Query) ([]VariableMeta, Meta, error) {
	r := &request{kind: KindVariables, op: fmt.Sprintf("list variables %q in namespace %q", prefix+"*", orDefault(q.Namespace)),
		method: http.MethodGet, path: "/v1/vars", params: url.Values{}}
	if prefix != "" {
		r.params.Set("prefix", prefix)
	}
	r.query(q)
	var list []VariableMeta
	var meta Meta
	err := c.do(ctx, r, func(header http.Header, body []byte) (err error) {
		if meta, err = readMeta(r, header); err != nil {
			return err
		}
		list, err = c.decodeVariables(r, body)
		return err
	})
	if err != nil {
		return nil, Meta{}, err
	}
	return list, meta, nil
}

// PutVariable writes v's Items at its Namespace and Path, replacing any others, and
// returns what was written with its new indexes. ErrConflict means that somebody holds
// a lock on it.
func (c *Client) PutVariable(ctx context.Context, v Variable) (*Variable, error) {
	return c.putVariable(ctx, v, nil)
}

// PutVariableIf writes like PutVariable if the variable's ModifyIndex is still the
// given one; 0 means that it must not exist. On ErrConflict the Variable returned is
// the current one: only its name if it is gone or locked, no Items if the token may not
// read it.
//
// If the answer was lost, it is unknown whether it was written: read before trying
// again.
func (c *Client) PutVariableIf(ctx context.Context, v Variable, modifyIndex uint64) (*Variable, error) {
	return c.putVariable(ctx, v, &modifyIndex)
}

func (c *Client) putVariable(ctx context.Context, v Variable, cas *uint64) (*Variable, error) {
	r, err := variableRequest("write", http.MethodPut, v.Namespace, v.Path)
	if err != nil {
		return nil, err
	}
	if len(v.Items) == 0 {
		return nil, &Error{Op: r.op, Err: errors.New("it has no items"), Advice: "Nomad does not store an empty variable: delete it instead"}
	}
	if cas != nil {
		r.params.Set("cas", strconv.FormatUint(*cas, 10))
	}
	r.body = variableBody{Namespace: orDefault(v.Namespace), Path: v.Path, Items: v.Items}
	return c.writeVariable(ctx, r)
}

// writeVariable sends a write. On a conflict it returns the error and the current
// variable, if the answer has it.
func (c *Client) writeVariable(ctx context.Context, r *request) (*Variable, error) {
	_, body, err := c.exchange(ctx, r)
	var v *Variable
	switch {
	case err == nil:
		v, err = c.decodeVariable(r, body)
	case errors.Is(err, ErrConflict):
		// Not every conflict comes with a variable.
		v, _ = c.decodeVariable(r, body)
	}
	c.report(ctx, r.kind, err)
	return v, err
}

// DeleteVariable removes a variable; a missing one is no error. ErrConflict means that
// somebody holds a lock on it.
func (c *Client) DeleteVariable(ctx context.Context, namespace, path string) error {
	return c.deleteVariable(ctx, namespace, path, nil)
}

// DeleteVariableIf removes a variable if its ModifyIndex is still the given one;
// otherwise it fails with ErrConflict.
func (c *Client) DeleteVariableIf(ctx context.Context, namespace, path string, modifyIndex uint64) error {
	return c.deleteVariable(ctx, namespace, path, &modifyIndex)
}

func (c *Client) deleteVariable(ctx context.Context, namespace, path string, cas *uint64) error {
	r, err := variableRequest("delete", http.MethodDelete, namespace, path)
	if err != nil {
		return err
	}
	if cas != nil {
		r.params.Set("cas", strconv.FormatUint(*cas, 10))
	}
	return c.do(ctx, r, nil)
}

// variableRequest makes a request about one variable.
func variableRequest(act, method, namespace, path string) (*request, error) {
	r := &request{kind: KindVariable, op: fmt.Sprintf("%s variable %q in namespace %q", act, path, orDefault(namespace)),
		method: method, path: "/v1/var/" + path, params: url.Values{"namespace": {orDefault(namespace)}}}
	switch {
	case namespace == AllNamespaces:
		return r, &Error{Op: r.op, Err: errors.New("a variable is in one namespace"), Advice: "name it"}
	case !pathPattern.MatchString(path):
		return r, &Error{Op: r.op, Err: errors.New("nomad does not accept this path"),
			Advice: advicePath}
	}
	return r, nil
}

// variableBody is a write in the API.
type variableBody struct {
	Namespace string
	Path      string
	Items     map[string]string `json:",omitempty"`
	Lock      *lockBody         `json:",omitempty"`
}

// variableAnswer is a variable in the API. Times are nanoseconds.
type variableAnswer struct {
	Namespace   string
	Path        string
	CreateIndex uint64
	ModifyIndex uint64
	CreateTime  int64
	ModifyTime  int64
	Items       map[string]string
	Lock        *struct{ ID string }
}

func (a *variableAnswer) meta() VariableMeta {
	m := VariableMeta{Namespace: a.Namespace, Path: a.Path, CreateIndex: a.CreateIndex, ModifyIndex: a.ModifyIndex}
	if a.CreateTime != 0 {
		m.Created = time.Unix(0, a.CreateTime)
	}
	if a.ModifyTime != 0 {
		m.Modified = time.Unix(0, a.ModifyTime)
	}
	if a.Lock != nil {
		m.LockID = a.Lock.ID
	}
	return m
}

// decodeVariables decodes a list, which has no values.
func (c *Client) decodeVariables(r *request, body []byte) ([]VariableMeta, error) {
	var answer []variableAnswer
	if err := c.decode(r, body, &answer); err != nil {
		return nil, err
	}
	list := make([]VariableMeta, len(answer))
	for i := range answer {
		if answer[i].Path == "" || answer[i].Namespace == "" {
			return nil, insane(r, "a variable has path %q and namespace %q", answer[i].Path, answer[i].Namespace)
		}
		list[i] = answer[i].meta()
	}
	return list, nil
}

func (c *Client) decodeVariable(r *request, body []byte) (*Variable, error) {
	// An answer about a variable has secrets: an error must not quote it.
	var a variableAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		var typed *json.UnmarshalTypeError
		if errors.As(err, &typed) && typed.Field == "" {
			return nil, insane(r, "the answer is not an object but a %s", typed.Value)
		}
		if typed != nil {
			return nil, insane(r, "the answer's field %q has a wrong type", typed.Field)
		}
		return nil, insane(r, "the answer of %d bytes is not JSON", len(body))
	}
	if a.Path == "" || a.Namespace == "" {
		return nil, insane(r, "the answer is not a variable")
	}
	return &Variable{VariableMeta: a.meta(), Items: a.Items}, nil
}
