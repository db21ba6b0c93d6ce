package acme

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Limits are a CA's limits for one account, and serai's own. Zero means no limit.
type Limits struct {
	// Orders is the number in 3 hours. A fifth of them is reserved for renewals.
	Orders int
	// Domain is the number of new certificates of one registered domain in 7 days.
	Domain int
	// Failures is the number of failed validations of one host in an hour.
	Failures int
	// Certificates is the number that the store may hold.
	Certificates int
	// NamespaceShare is the share of each of Orders, Domain and Certificates that one
	// namespace may use for hosts without a certificate, while hosts of another
	// namespace also want certificates. 0 and 1 mean all.
	NamespaceShare float64
}

// LetsEncryptLimits are the limits that Let's Encrypt publishes
// (https://letsencrypt.org/docs/rate-limits/), and what a cluster of nodes with 128 MB
// can hold.
var LetsEncryptLimits = Limits{Orders: 300, Domain: 50, Failures: 5, Certificates: 10000, NamespaceShare: 0.5}

func (l Limits) validate() error {
	if l.Orders < 0 || l.Domain < 0 || l.Failures < 0 || l.Certificates < 0 {
		return errors.New("a limit of orders, certificates or failures is negative")
	}
	if !(l.NamespaceShare >= 0 && l.NamespaceShare <= 1) {
		return fmt.Errorf("the share of a namespace, %v, is not between 0 and 1", l.NamespaceShare)
	}
	return nil
}

func (l Limits) orders() limit   { return limit{l.Orders, 3 * time.Hour} }
func (l Limits) domain() limit   { return limit{l.Domain, 7 * 24 * time.Hour} }
func (l Limits) failures() limit { return limit{l.Failures, time.Hour} }

// keptForRenewals is the part of the orders that hosts without a certificate cannot
// use.
func (l Limits) keptForRenewals() int { return l.Orders / 5 }

// registered returns the registered domain of a host, by which CAs count
// (https://publicsuffix.org).
func registered(host string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}
