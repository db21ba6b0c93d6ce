package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serai/router"
	"serai/tls"
	"serai/tls/acme"
)

// Obtainer obtains certificates. *acme.Issuer and *acme.Autocert do.
type Obtainer interface {
	// Status may read the leader's name from the store.
	Status(context.Context) acme.Status
	// Orders counts the orders of this serai by result.
	Orders() map[string]uint64
}

// Certificates is the answer of /certificates.
type Certificates struct {
	// Certificates are the certificates in the SNI table, sorted by name.
	Certificates []tls.Status `json:"certificates"`
	// Obtained describes the certificates that serai obtains, null when it obtains
	// none.
	Obtained *acme.Status `json:"obtained"`
}

// WhyNone says in one line why there is no certificate, and where to look; empty when there is one.
func (c Certificates) WhyNone() string {
	o := c.Obtained
	switch {
	case len(c.Certificates) > 0:
		return ""
	case o == nil:
		return "no certificate: set --cert-dir or --acme-email of serai serve"
	case o.Directory == "":
		return "no certificate: the certificate store has none, and this serai orders none, as --acme-email is not set"
	case len(o.Hosts) == 0:
		return "no certificate: ACME is on, but no route has a host to order one for; patterns, routes with tls=off and hosts outside --acme-hosts get none"
	}
	failed, failure := 0, ""
	for _, h := range o.Hosts {
		if h.Error == "" {
			continue
		}
		if failed++; failed == 1 {
			failure = fmt.Sprintf(" (%s: %s)", h.Host, h.Error)
		}
	}
	return fmt.Sprintf("no certificate yet: ACME is on; hosts that wait for one: %d, of which the last order failed: %d%s; see the hosts below, and serai events",
		len(o.Hosts), failed, failure)
}

// askLeader bounds the time for reading the leader's name.
const askLeader = 2 * time.Second

func (a *Admin) serveCertificates(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, a.certificatesOf(r))
}

// certificatesOf asks the store who orders, and returns what describes the certificates.
func (a *Admin) certificatesOf(r *http.Request) func() (any, error) {
	var leader, problem string
	if a.options.Obtain != nil {
		ctx, cancel := context.WithTimeout(r.Context(), askLeader)
		defer cancel()
		s := a.options.Obtain.Status(ctx)
		leader, problem = s.Leader, s.Problem
	}
	return func() (any, error) {
		c := a.certificates()
		if s := c.Obtained; s != nil {
			s.Leader, s.Problem = leader, cmp.Or(s.Problem, problem)
		}
		return c, nil
	}
}

// certificates describes the certificates, but for the leader's name, which is not read.
func (a *Admin) certificates() Certificates {
	c := Certificates{Certificates: []tls.Status{}}
	if a.options.Certificates != nil {
		c.Certificates = a.options.Certificates.Current().Status()
	}
	if a.options.Obtain != nil {
		ended, end := context.WithCancel(context.Background())
		end()
		status := a.options.Obtain.Status(ended)
		c.Obtained = &status
	}
	return c
}

var (
	certExpiry   = desc("serai_certificate_expiry_timestamp_seconds", "Unix time at which a certificate expires; certificates from ACME are listed only by the serai that orders them (the leader).", "name", "source")
	certFirst    = desc("serai_certificate_first_expiry_timestamp_seconds", "Unix time at which the first certificate expires, of those that answer a name, without those that were obtained for hosts of which no route is left; absent without a certificate.")
	certOrders   = desc("serai_certificate_orders_total", "Certificate orders of this serai, by result.", "result")
	certLeader   = desc("serai_certificate_leader", "1 if this serai is the leader, which orders certificates, else 0; the sum over all nodes should be 1.")
	certMissing  = desc("serai_certificates_missing", "Hosts that want a certificate and do not have one yet.")
	certFailing  = desc("serai_certificates_failing", "Hosts whose last certificate order failed; serai certs list says why.")
	certStale    = desc("serai_certificate_store_unreadable", "1 while the certificate store cannot be read, so that new certificates are not seen, else 0.")
	certWaiting  = desc("serai_certificate_peers_awaited", "Other serai that do not answer ACME validations yet, so that certificate orders wait; 0 if orders do not wait.")
	certLeft     = desc("serai_certificate_orders_left", "Certificate orders left until the CA's rate limit (--acme-max-orders); only on the leader, absent without a limit.")
	certRoom     = desc("serai_certificate_store_left", "Certificates left until --acme-max-certificates; only on the leader, absent without a limit.")
	certHeld     = desc("serai_certificates_held", "Hosts whose certificate order waits for a limit of the CA, of the store or of a namespace, by cause; only on the leader.", "cause")
	certAsked    = desc("serai_certificate_validations_total", "ACME validation requests, from the CA or anybody else, for hosts that want a certificate, by result: answered, or unknown if the token was not known.", "result")
	handshakes   = desc("serai_tls_handshakes_total", "TLS handshakes, by version and result.", "version", "result")
	unknownNames = desc("serai_tls_unknown_names_total", "TLS handshakes for a server name (SNI) without a certificate.")
)

// collectCertificates collects metrics of certificates and handshakes.
func collectCertificates(o *Options, out chan<- prometheus.Metric) {
	if o.Certificates == nil {
		return
	}
	all := o.Certificates.Current().Status()
	ended, end := context.WithCancel(context.Background())
	end() // a scrape does not read the leader's name from the store
	var obtained *acme.Status
	if o.Obtain != nil {
		status := o.Obtain.Status(ended)
		obtained = &status
	}
	collectExpiry(out, all, o.Router.Current(), obtained == nil || obtained.Leading)
	counter(out, unknownNames, o.Certificates.UnknownNames())
	for _, h := range o.Certificates.Handshakes() {
		counter(out, handshakes, h.Count, h.Version, h.Result)
	}
	if obtained == nil {
		return
	}
	for result, n := range o.Obtain.Orders() {
		counter(out, certOrders, n, result)
	}
	if v, ok := o.Obtain.(validator); ok {
		answered, unknown := v.Validations()
		counter(out, certAsked, answered, "answered")
		counter(out, certAsked, unknown, "unknown")
	}
	collectBudget(out, obtained.Budget)
	missing, failing := 0, 0
	for _, h := range obtained.Hosts {
		if h.Expires == nil {
			missing++
		}
		if h.Error != "" {
			failing++
		}
	}
	gauge(out, certLeader, oneIf(obtained.Leading))
	gauge(out, certMissing, float64(missing))
	gauge(out, certFailing, float64(failing))
	waiting := 0
	if w := obtained.Waiting; w != nil {
		waiting = max(w.Count, 1) // with a problem the number is unknown
	}
	gauge(out, certWaiting, float64(waiting))
	gauge(out, certStale, oneIf(obtained.Problem != ""))
}

// validator counts validations. *acme.Issuer does.
type validator interface {
	Validations() (answered, unknown uint64)
}

// collectBudget collects what is left of the CA's limits.
func collectBudget(out chan<- prometheus.Metric, b *acme.Budget) {
	if b == nil {
		return
	}
	if b.Orders.Limit > 0 {
		gauge(out, certLeft, float64(b.Orders.Left))
	}
	if b.Certificates.Limit > 0 {
		gauge(out, certRoom, float64(b.Certificates.Left))
	}
	for cause, n := range b.Held {
		gauge(out, certHeld, float64(n), cause)
	}
}

// collectExpiry collects when certificates expire: the first one on every serai, each
// of them only on the serai that orders it, or has it from the operator. A thousand
// nodes with the same ten thousand certificates would make ten million series.
func collectExpiry(out chan<- prometheus.Metric, all []tls.Status, routes *router.Table, each bool) {
	var first time.Time
	told := make(map[[2]string]bool)
	for _, s := range all {
		if matters(s, routes) && (first.IsZero() || s.NotAfter.Before(first)) {
			first = s.NotAfter
		}
		name := [2]string{label(s.Names[0]), label(s.Source)}
		if (each || !strings.HasPrefix(s.Source, "acme:")) && !told[name] {
			told[name] = true
			gauge(out, certExpiry, float64(s.NotAfter.Unix()), name[0], name[1])
		}
	}
	if !first.IsZero() {
		gauge(out, certFirst, float64(first.Unix()))
	}
}

// matters reports whether anybody misses a certificate that expires. Obtained ones stay for
// weeks after the last route of their host has gone, and are not renewed.
func matters(s tls.Status, routes *router.Table) bool {
	if s.Unused || !strings.HasPrefix(s.Source, "acme:") {
		return !s.Unused
	}
	return slices.ContainsFunc(s.Names, func(name string) bool {
		_, miss := routes.Lookup(&router.Query{Host: []byte(name), Method: []byte("GET"), Path: []byte("/")})
		return miss != router.NoHost
	})
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
