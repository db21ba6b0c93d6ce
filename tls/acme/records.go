package acme

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"serai/tls"
	"serai/tls/certstore"
)

// What is in the store:
//
//	tls/certs/CA/HOST   name, namespace, ca, crt, key, json   a certificate, whole
//	tls/failures/HOST   name, error, attempts, last, next, spent
//	tls/tickets         keys, since
//	acme/KEY            name, value             accounts and tokens of certmagic
//	requests/HOST       name, at                written by serai certs renew
//	budget              state                   what is left of the CA's limits
//	leader                                      the lock
//
// Only what all serai need at once is below tls, which they all watch: changes of
// tokens and of the lock wake no serai.
const (
	watched    = "tls"
	acmePath   = "acme"
	requests   = "requests"
	certsPath  = watched + "/certs/"
	failsPath  = watched + "/failures/"
	ticketPath = watched + "/tickets"
)

func certPath(ca, host string) string { return certstore.Path("tls", "certs", ca, host) }
func failurePath(host string) string  { return certstore.Path("tls", "failures", host) }

// RequestPath is where a renewal of a host is requested.
func RequestPath(host string) string { return certstore.Path(requests, host) }

// Failure is an order that failed.
type Failure struct {
	Host     string
	Error    string
	Attempts int
	// Last is when it failed, Next when it is tried again.
	Last, Next time.Time
	// Spent is how much of the CA's limit its failed validations have used.
	Spent time.Time
}

// wrongClock is by how much a time in the store may be later than now: clocks differ a little.
const wrongClock = 15 * time.Minute

// ahead reports whether a clock that was ahead has written the failure. Nobody knows then how
// long ago it was.
func (f *Failure) ahead(now time.Time) bool { return f.Last.Sub(now) > wrongClock }

// again is when the order is tried again; zero, at once, without a failure. After a failure
// that a clock ahead has written it is at once as well, else a host would get no certificate
// until that time has come: the next failure has another time.
func (f *Failure) again(now time.Time) time.Time {
	if f == nil || f.ahead(now) {
		return time.Time{}
	}
	return f.Next
}

// unnamed reports whether the next order must not name what it replaces: every second
// attempt does not.
func (f *Failure) unnamed() bool { return f != nil && f.Attempts%2 == 1 }

// newFailure is a failure that happened now, after another one or nil. The caller sets
// when the host is tried again.
func newFailure(host string, err error, before *Failure) *Failure {
	f := &Failure{Host: host, Error: shorten(err.Error()), Attempts: 1, Last: time.Now()}
	if before != nil {
		f.Attempts, f.Spent = before.Attempts+1, before.Spent
	}
	return f
}

// shorten shortens a CA's message to one line.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.ToValidUTF8(s[:min(len(s), 1000)], "")
}

func (f *Failure) items() map[string]string {
	items := map[string]string{
		"name": f.Host, "error": f.Error, "attempts": strconv.Itoa(f.Attempts),
		"last": f.Last.UTC().Format(time.RFC3339Nano), "next": f.Next.UTC().Format(time.RFC3339Nano),
	}
	if !f.Spent.IsZero() {
		items["spent"] = f.Spent.UTC().Format(time.RFC3339Nano)
	}
	return items
}

func readFailure(r *certstore.Record) (*Failure, error) {
	f := &Failure{Host: r.Items["name"], Error: r.Items["error"]}
	var err error
	if f.Attempts, err = strconv.Atoi(r.Items["attempts"]); err != nil || f.Attempts < 1 || f.Attempts > 1<<20 || f.Host == "" || failurePath(f.Host) != r.Path {
		return nil, fmt.Errorf("read %s: it is not a failed order", r.Path)
	}
	f.Last, _ = time.Parse(time.RFC3339Nano, r.Items["last"])
	f.Next, _ = time.Parse(time.RFC3339Nano, r.Items["next"])
	f.Spent, _ = time.Parse(time.RFC3339Nano, r.Items["spent"])
	return f, nil
}

// readCertificate returns the host and certificate of a record, if host, certificate
// and key belong together.
func readCertificate(r *certstore.Record, sealer *certstore.Sealer) (string, *tls.Certificate, error) {
	host := r.Items["name"]
	refuse := func(err error) (string, *tls.Certificate, error) {
		return "", nil, fmt.Errorf("read the certificate of %q in the store: %w", host, err)
	}
	if host == "" || certPath(r.Items["ca"], host) != r.Path {
		return refuse(fmt.Errorf("it is stored at %s, where it does not belong", r.Path))
	}
	key, err := sealer.Open(r.Path, "key", r.Items["key"])
	if err != nil {
		return refuse(err)
	}
	c, err := tls.NewCertificate("acme:"+r.Items["ca"], []byte(r.Items["crt"]), []byte(key))
	if err != nil {
		return refuse(err)
	}
	if !c.Covers(host) {
		return refuse(fmt.Errorf("it covers %s", strings.Join(c.Names, ", ")))
	}
	return host, c, nil
}
