package nomad

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"serai/internal/agentapi"
)

// DefaultAddress is the default address of an agent.
const DefaultAddress = "http://127.0.0.1:4646"

// Options say which agent to talk to, with which token, and with which limits. The zero
// Options talk to DefaultAddress without a token.
type Options struct {
	// Address is http://HOST:PORT, https://HOST:PORT or unix:///PATH. Empty
	// means DefaultAddress.
	Address string
	// Region is sent with every request; empty means the agent's own.
	Region string
	// Token is sent with every request if TokenFile gives none.
	Token string
	// TokenFile is read again for every request, because Nomad rewrites an identity
	// that has a TTL. While it cannot be read, its last content is sent; if it never
	// could be read, Token is.
	TokenFile string
	TLS       TLS
	Limits    Limits
	// Logger may be nil: then nothing is logged. Tokens are never logged.
	Logger *slog.Logger
	// OnRequest is called once for each request sent, when its answer was completely
	// read (for a stream: when it is up, or refused). An invalid answer is an error.
	// The kind is one of the Kind constants. It must not block. Nil means no call.
	OnRequest func(kind string, err error)
}

// TLS says how an https address is verified and which client certificate is sent.
// Fields are paths of PEM files, as in the nomad command's NOMAD_CACERT etc.
type TLS struct {
	CACert     string
	CAPath     string
	ClientCert string
	ClientKey  string
	ServerName string
	SkipVerify bool
}

// Limits bound answers and waits. A zero field means its default.
type Limits struct {
	// Answer is the largest answer in bytes, uncompressed: 64 MiB.
	Answer int64
	// Line is the largest line of the event stream in bytes: 16 MiB. One line has all
	// events of one change, and the death of a node is one change. A longer one is
	// skipped: see Batch.Lost.
	Line int
	// Request is how long an answer may take to arrive completely, on top of
	// the time a blocking query asks the agent to wait: 10 s.
	Request time.Duration
	// FirstLine is the time within which the first heartbeat or event must follow a
	// subscription: 5 s. An agent sends one at once; silence is a refusal.
	FirstLine time.Duration
	// Heartbeat is the agent's interval, which is fixed: 30 s. A stream that
	// is silent for three of them is broken.
	Heartbeat time.Duration
}

func (l Limits) withDefaults() Limits {
	orInt64 := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orInt64(&l.Answer, 64<<20)
	if l.Line == 0 {
		l.Line = 16 << 20
	}
	orDuration(&l.Request, 10*time.Second)
	orDuration(&l.FirstLine, 5*time.Second)
	orDuration(&l.Heartbeat, 30*time.Second)
	return l
}

// Validate reports everything that is wrong with o at once, or nil. It reads no file
// but checks whether the named ones exist.
func (o Options) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if _, err := parseAddress(o.Address); err != nil {
		errs = append(errs, err)
	}
	if (o.TLS.ClientCert == "") != (o.TLS.ClientKey == "") {
		refuse("nomad client certificate: certificate %q and key %q; set both (NOMAD_CLIENT_CERT, NOMAD_CLIENT_KEY) or neither",
			o.TLS.ClientCert, o.TLS.ClientKey)
	}
	for _, file := range []struct{ what, path string }{
		{"CA certificate (NOMAD_CACERT)", o.TLS.CACert},
		{"CA directory (NOMAD_CAPATH)", o.TLS.CAPath},
		{"client certificate (NOMAD_CLIENT_CERT)", o.TLS.ClientCert},
		{"client key (NOMAD_CLIENT_KEY)", o.TLS.ClientKey},
	} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			refuse("nomad %s: %w", file.what, err)
		}
	}
	if strings.ContainsAny(strings.TrimSpace(o.Token), " \t\r\n") {
		// The token itself is not shown, not even a bad one.
		refuse("nomad token: it contains white space; want the bare secret ID or identity")
	}
	for _, limit := range []struct {
		what  string
		value int64
	}{
		{"Answer", o.Limits.Answer},
		{"Line", int64(o.Limits.Line)},
		{"Request", int64(o.Limits.Request)},
		{"FirstLine", int64(o.Limits.FirstLine)},
		{"Heartbeat", int64(o.Limits.Heartbeat)},
	} {
		if limit.value < 0 {
			refuse("nomad limit %s: %d is negative; want 0 for the default, or more", limit.what, limit.value)
		}
	}
	return errors.Join(errs...)
}

func parseAddress(s string) (agentapi.Address, error) {
	return agentapi.ParseAddress("nomad", cmp.Or(s, DefaultAddress))
}
