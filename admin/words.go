package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"serai/router"
	"serai/upstream"
)

// routeWords returns the options of a route as its tags would write them.
func routeWords(r *router.Route) map[string]string {
	o := r.Options
	words := map[string]string{
		"lb": balanceWord(o.Balance), "wait": durationWord(o.Wait), "timeout": durationWord(o.Timeout),
		"body-idle": durationWord(o.BodyIdle), "retries": strconv.Itoa(o.Retries), "tls": o.TLS.String(),
	}
	switch o.Prefer {
	case upstream.PreferNode:
		words["prefer"] = "node"
	case upstream.PreferDatacenter:
		words["prefer"] = "datacenter"
	}
	if o.Sticky != "" {
		words["sticky"] = o.Sticky
	}
	if o.RetryPost {
		words["retry-post"] = "on"
	}
	if o.MaxBody > 0 {
		words["max-body"] = sizeWord(o.MaxBody)
	}
	if o.HSTS != "" {
		words["hsts"] = o.HSTS
	}
	if o.Redirect != nil {
		words["redirect"], words["redirect-status"] = o.Redirect.String(), strconv.Itoa(o.Redirect.Status)
	}
	return words
}

// memberWords returns what a member's own tags say beyond weight and canary,
// nil when they say nothing.
func memberWords(m *upstream.Member) map[string]string {
	words := make(map[string]string)
	t := m.Endpoint.Target()
	if m.Strip != "" {
		words["strip"] = m.Strip
	}
	switch m.Host {
	case "":
	case t.Address:
		words["upstream-host"] = "address"
	default:
		words["upstream-host"] = m.Host
	}
	if t.Scheme == upstream.HTTPS {
		words["scheme"] = "https"
	}
	if t.TLSName != "" {
		words["tls-name"] = t.TLSName
	}
	if t.TLSInsecure {
		words["tls-verify"] = "false"
	}
	if t.ProxyProtocol > 0 {
		words["proxy-protocol"] = fmt.Sprintf("v%d", t.ProxyProtocol)
	}
	if m.MaxInflight > 0 {
		words["max-inflight"] = strconv.Itoa(m.MaxInflight)
	}
	if c := t.Check; c.Path != "" {
		words["check"], words["check-interval"], words["check-timeout"] = c.Path, durationWord(c.Interval), durationWord(c.Timeout)
		words["check-status"] = fmt.Sprintf("%d-%d", c.StatusMin, c.StatusMax)
	}
	if len(words) == 0 {
		return nil
	}
	return words
}

func balanceWord(b upstream.Balance) string {
	switch b.Method {
	case upstream.RoundRobin:
		return "round-robin"
	case upstream.Random:
		return "random"
	case upstream.HashIP:
		return "hash:ip"
	case upstream.HashHeader:
		return "hash:header:" + b.Name
	case upstream.HashCookie:
		return "hash:cookie:" + b.Name
	}
	return "least"
}

// canaryWord returns the rule of a canary, empty when there is none.
func canaryWord(c *upstream.Canary) string {
	switch {
	case c == nil:
		return ""
	case c.Header != "":
		return "header:" + c.Header + ": " + c.Value
	case c.Cookie != "":
		return "cookie:" + c.Cookie + "=" + c.Value
	}
	return strconv.FormatFloat(c.Percent, 'f', -1, 64) + "%"
}

// durationWord writes 1m for what time.Duration writes as 1m0s.
func durationWord(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeWord writes bytes in the largest unit that divides them.
func sizeWord(n int64) string {
	unit := 0
	for ; n%1024 == 0 && unit < 4; unit++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + [...]string{"", "k", "M", "G", "T"}[unit]
}
