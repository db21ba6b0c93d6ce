package main

import (
	"bufio"
	"bytes"
	"cmp"
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

// askTime bounds an answer that is not followed, and maxAnswer its bytes. maxLine are those of one event.
const (
	askTime   = 10 * time.Second
	maxAnswer = 256 << 20
	maxLine   = 16 << 20
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
		if res.StatusCode == http.StatusBadRequest {
			return nil, a.badQuery(q, told.Error)
		}
		return nil, a.forNow(res.StatusCode, fmt.Errorf("ask serai at %s: %s", a.Admin, shown(told.Error)))
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	return nil, a.forNow(res.StatusCode, a.refused(res))
}

// forNow makes an error one of a serai that is away, where its status says that it is so for now: of its admin,
// or of a proxy on the way there.
func (a *asking) forNow(status int, err error) error {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &awayError{err}
	}
	return err
}

// badQuery is a refused query, in the words of the command line: --limit=0, where the API says limit=0.
func (a *asking) badQuery(q url.Values, says string) error {
	name := says[:max(0, strings.IndexAny(says, "= "))]
	if q.Has(name) {
		return &usageError{&argumentError{errors.New("--" + shown(says))}}
	}
	return &usageError{&argumentError{fmt.Errorf("ask serai at %s: %s", a.Admin, shown(says))}}
}

// isNotAPI says that what has answered is not a serai.
func (a *asking) isNotAPI(err error) error {
	return fmt.Errorf("serai at %s sent something that is not an answer of its API: %w; --admin names its admin address", a.Admin, &shownError{err})
}

// checkAnswer reports what an answer of the API for a path lacks: other programs send JSON, too, of which an
// empty list would be read.
func checkAnswer(path string, text []byte) error {
	want := "items"
	switch path {
	case "status":
		want = "version"
	case "explain":
		want = "result"
	case "certificates":
		want = "certificates"
	}
	var has map[string]json.RawMessage
	if err := json.Unmarshal(text, &has); errors.As(err, new(*json.UnmarshalTypeError)) {
		return errors.New("it is not a JSON object")
	} else if err != nil {
		return err
	}
	if _, ok := has[want]; !ok {
		return fmt.Errorf("it has no %q", want)
	}
	return nil
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
	if err != nil {
		return a.fails(err) // it was cut off, or took too long
	}
	if err = checkAnswer(path, text); err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return a.isNotAPI(err)
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
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	lines.Split(wholeLines)
	for {
		if !lines.Scan() {
			err := cmp.Or(lines.Err(), io.EOF)
			if errors.Is(err, bufio.ErrTooLong) {
				return a.isNotAPI(err)
			}
			return &endedError{fmt.Errorf("serai at %s has ended the answer: %w", a.Admin, err)}
		}
		line := lines.Text()
		silent.Reset(silence)
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			id, err := each([]byte(data))
			if err != nil {
				return err
			}
			q.Set("since", fmt.Sprint(id))
			q.Del("limit")
		}
	}
}

// wholeLines splits a stream into lines as bufio.ScanLines does, but leaves out one that was cut off.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if atEOF && bytes.IndexByte(data, '\n') < 0 {
		return len(data), nil, nil
	}
	return bufio.ScanLines(data, atEOF)
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
