package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// asking are the flags of commands that ask a running serai.
type asking struct {
	reaching
	JSON bool `name:"json" help:"Print what the API answers, for programs: docs/api.md. Also -json."`
}

// askTime bounds an answer that is not followed, and maxAnswer its bytes.
const (
	askTime   = 10 * time.Second
	maxAnswer = 256 << 20
)

// get asks for a path of the API. The body is to be closed.
func (a *asking) get(ctx context.Context, env *environment, path string, q url.Values) (io.ReadCloser, error) {
	res, err := a.send(ctx, env, http.MethodGet, "/api/v1/"+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var told struct {
		Error string `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(text, &told) == nil && told.Error != "" {
		return nil, fmt.Errorf("ask serai at %s: %s", a.Admin, shown(told.Error))
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	return nil, a.refused(res)
}

// ask asks, and prints the answer as it is with --json; else it reads it into v and prints
// that.
func (a *asking) ask(ctx context.Context, env *environment, path string, q url.Values, v any, print func(io.Writer) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := a.get(ctx, env, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	text := io.LimitReader(body, maxAnswer)
	if a.JSON {
		text = io.TeeReader(text, env.stdout)
	}
	if err := json.NewDecoder(text).Decode(v); err != nil {
		return fmt.Errorf("serai at %s answers what is not its API: %w", a.Admin, err)
	}
	if a.JSON {
		_, err := io.Copy(io.Discard, text)
		return err
	}
	return print(env.stdout)
}

// follow calls each with what a path of the API sends, until ctx ends.
func (a *asking) follow(ctx context.Context, env *environment, path string, q url.Values, each func(data []byte) error) error {
	q.Set("follow", "1")
	body, err := a.get(ctx, env, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if err != nil {
			return fmt.Errorf("serai at %s has ended the answer: %w", a.Admin, err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := each([]byte(strings.TrimSuffix(data, "\n"))); err != nil {
				return err
			}
		}
	}
}

// selecting are the flags that select from a list.
type selecting struct {
	Namespace string `help:"Only of this namespace." placeholder:"NAME"`
	Service   string `help:"Only of this service." placeholder:"NAME"`
	Find      string `arg:"" optional:"" help:"Only what has this text in a name, host or address."`
}

func (s *selecting) query() url.Values {
	q := make(url.Values)
	for name, value := range map[string]string{"namespace": s.Namespace, "service": s.Service, "q": s.Find} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}
