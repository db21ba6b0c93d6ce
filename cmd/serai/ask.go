package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	JSON bool `name:"json" help:"Print the API's JSON, for programs: docs/api.md. Also -json."`
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
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("serai at %s sent something that is not an answer of its API: %w", a.Admin, &shownError{err})
	}
	if a.JSON {
		_, err := env.stdout.Write(text)
		return err
	}
	return print(env.stdout)
}

const (
	// askAgain is the pause before a serai that has ended an answer is asked again, and
	// silence after which it counts as gone: it says something every 15 seconds.
	askAgain = time.Second
	silence  = 45 * time.Second
)

// follow calls each with what a path of the API sends, until ctx ends. A serai that stops, or is
// replaced, is asked again until it is back, which standard error says; since is then the ID
// behind which it goes on. Each returns the ID of what it has got.
func (a *asking) follow(ctx context.Context, env *environment, path string, q url.Values, each func(data []byte) (id int64, err error)) error {
	q.Set("follow", "1")
	for begun, told := false, false; ; {
		body, err := a.get(ctx, env, path, q)
		if err == nil {
			if told {
				fmt.Fprintf(env.stderr, "serai at %s is back\n", a.Admin)
			}
			begun, told = true, false
			err = a.read(ctx, body, q, each)
			var ended *endedError
			if err != nil && !errors.As(err, &ended) {
				return err
			}
		}
		var away *awayError
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case err != nil && (!begun || !errors.As(err, new(*endedError)) && !errors.As(err, &away)):
			return err
		case !told:
			told = true
			fmt.Fprintf(env.stderr, "%v; asking again until it is back\n", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askAgain):
		}
	}
}

// endedError says that an answer that is followed has ended.
type endedError struct{ error }

func (e *endedError) Unwrap() error { return e.error }

// read reads what is followed, to its end or until it is silent for too long.
func (a *asking) read(ctx context.Context, body io.ReadCloser, q url.Values, each func(data []byte) (int64, error)) error {
	defer body.Close()
	defer context.AfterFunc(ctx, func() { body.Close() })()
	silent := time.AfterFunc(silence, func() { body.Close() })
	defer silent.Stop()
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return &endedError{fmt.Errorf("serai at %s has ended the answer: %w", a.Admin, err)}
		}
		silent.Reset(silence)
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			id, err := each([]byte(strings.TrimSuffix(data, "\n")))
			if err != nil {
				return err
			}
			q.Set("since", fmt.Sprint(id))
			q.Del("limit")
		}
	}
}

// selecting are the flags that select from a list.
type selecting struct {
	Namespace string `help:"Only of this namespace." placeholder:"NAME"`
	Service   string `help:"Only of this service." placeholder:"NAME"`
	Find      string `arg:"" optional:"" help:"Only items with this text in a name, host or address."`
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
