package oidc

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// part is where a provider is asked.
type part string

const (
	partMetadata part = "its metadata"
	partToken    part = "its token endpoint"
	partIDToken  part = "its ID tokens"
	partUserInfo part = "its UserInfo endpoint"
)

// toldEvery is how often a change is logged at most.
const toldEvery = 10 * time.Second

// longestProblem bounds what is told of a part, in bytes: some of it is the provider's
// text.
const longestProblem = 300

// problems are why parts of a provider were of no use when they were last asked. Users are
// told none of it: it is the operator who must mend something, here or at the provider.
type problems struct {
	auth   string
	shared *Shared

	mu   sync.Mutex
	of   map[part]problem
	told time.Time
}

type problem struct {
	text  string
	since time.Time
}

// note remembers what became of a part: nil ends its problem.
func (p *problems) note(of part, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, known := p.of[of]
	if err == nil {
		delete(p.of, of)
		if known {
			p.tell("the provider that users log in at answers well again", "was", string(of)+": "+was.text)
		}
		return
	}
	if p.of == nil {
		p.of = make(map[part]problem)
	}
	if text := inOneLine(err); text != was.text {
		p.of[of] = problem{text, time.Now()}
		p.tell("something is wrong at the provider that users log in at", "error", string(of)+": "+text)
	}
}

// tell logs a change, unless another was logged a moment ago: /ready has all. p.mu is held.
func (p *problems) tell(message, key, text string) {
	logger := p.shared.logger.Load()
	if now := time.Now(); logger != nil && now.Sub(p.told) >= toldEvery {
		p.told = now
		logger.Warn(message, "auth", p.auth, key, text)
	}
}

// all says what the problems are.
func (p *problems) all() (why []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, what := range p.of {
		why = append(why, fmt.Sprintf("%s, since %s: %s", of, what.since.UTC().Format(time.RFC3339), what.text))
	}
	slices.Sort(why)
	return why
}

// Problems says what was wrong with the provider when it was last asked, nil for nothing.
func (l *Login) Problems() []string { return l.provider.problems.all() }

// inOneLine is an error as an operator may read it: without the body of an answer, in which
// a provider might repeat a secret, and of one line.
func inOneLine(err error) string {
	text := err.Error()
	if status := statusOf(err); status != 0 {
		text = fmt.Sprintf("it answers %d %s", status, http.StatusText(status))
	}
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) {
		text = "an answer that is none of OAuth"
		if answered.ErrorCode != "" {
			text = strings.TrimSuffix(answered.ErrorCode+": "+answered.ErrorDescription, ": ")
		}
		if answered.Response != nil {
			text = answered.Response.Status + ", " + text
		}
	}
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))), " ")
	if len(text) > longestProblem {
		text = strings.ToValidUTF8(text[:longestProblem], "") + "..."
	}
	return text
}

// statusOf returns the status of an answer that the OpenID library does not take, 0 for
// other errors. Its errors begin with it.
func statusOf(err error) int {
	text := err.Error()
	if len(text) < 4 || text[3] != ' ' {
		return 0
	}
	status, _ := strconv.Atoi(text[:3])
	return status
}
