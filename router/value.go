package router

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"serai/upstream"
)

// eachElement calls parse with the elements of a comma-separated list until
// one has a flaw.
func eachElement(value, what string, parse func(string) *flaw) *flaw {
	n := 0
	for element := range strings.SplitSeq(value, ",") {
		if element = trim(element); element == "" {
			return &flaw{fmt.Sprintf("the list has an empty %s", what), ""}
		}
		if n++; n > maxList {
			return &flaw{fmt.Sprintf("the list has more than %d elements", maxList), "several routes with shorter lists"}
		}
		if f := parse(element); f != nil {
			return f
		}
	}
	return nil
}

// appendNew appends s unless list has it.
func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// choose returns what the word value stands for.
func choose[T any](value string, words map[string]T) (T, *flaw) {
	v, ok := words[value]
	if ok {
		return v, nil
	}
	return v, &flaw{
		fmt.Sprintf("%s is not allowed here", quote(value)),
		"one of: " + strings.Join(slices.Sorted(maps.Keys(words)), ", "),
	}
}

// number reads a decimal integer within bounds.
func number(value string, low, high int) (int, *flaw) {
	n, err := strconv.Atoi(value)
	if err != nil || strings.HasPrefix(value, "+") {
		return 0, &flaw{fmt.Sprintf("%s is not a whole number", quote(value)), fmt.Sprintf("a number from %d to %d", low, high)}
	}
	if n < low || n > high {
		return 0, &flaw{fmt.Sprintf("%d is out of range", n), fmt.Sprintf("a number from %d to %d", low, high)}
	}
	return n, nil
}

// duration reads a duration within bounds.
func duration(value string, low, high time.Duration) (time.Duration, *flaw) {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil && strings.Trim(value, "0123456789") == "":
		return 0, &flaw{fmt.Sprintf("duration %s has no unit", quote(value)), printable(value) + "s"}
	case err != nil:
		return 0, &flaw{fmt.Sprintf("%s is not a duration", quote(value)), "a number and a unit, such as 500ms, 10s or 2m"}
	case d < low || d > high:
		return 0, &flaw{fmt.Sprintf("duration %s is out of range", quote(value)), fmt.Sprintf("%s to %s", low, high)}
	}
	return d, nil
}

// longest bounds every duration of the grammar.
const longest = 24 * time.Hour

// size reads a number of bytes: 1048576, 512k, 10M, 1GiB. All units are powers
// of 1024, as nginx reads them.
func size(value string) (int64, *flaw) {
	digits := strings.TrimRight(value, "kKmMgGtTiIbB")
	unit := strings.ToLower(value[len(digits):])
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40}[unit]
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err != nil || !ok:
		return 0, &flaw{fmt.Sprintf("%s is not a size", quote(value)), "a number of bytes, such as 1048576, 512k or 10M"}
	case n == 0:
		return 0, &flaw{"a size of 0 would refuse every body", "a larger size, or none for no limit"}
	case n > math.MaxInt64>>shift:
		return 0, &flaw{fmt.Sprintf("size %s is out of range", quote(value)), "a smaller size, or none for no limit"}
	}
	return int64(n) << shift, nil
}

func parsePriority(d *draft, value string) (f *flaw) {
	d.Priority, f = number(value, -1_000_000, 1_000_000)
	return f
}

func parseClass(d *draft, value string) *flaw {
	if !isToken(value) || len(value) > maxRouteLen {
		return &flaw{fmt.Sprintf("%s is not a class name", quote(value)), "up to 64 letters, digits, dashes and underscores"}
	}
	d.Class = value
	return nil
}

func parseScheme(d *draft, value string) (f *flaw) {
	d.Instance.Scheme, f = choose(value, map[string]upstream.Scheme{
		"http": upstream.HTTP, "https": upstream.HTTPS, "h2c": upstream.H2C, "grpc": upstream.GRPC,
	})
	return f
}

func parseTLSVerify(d *draft, value string) *flaw {
	verify, f := choose(value, map[string]bool{"true": true, "false": false})
	d.Instance.TLSInsecure = !verify
	return f
}

func parseTLSName(d *draft, value string) *flaw {
	name, f := parseHostPattern(value)
	if f != nil || strings.Contains(name, "*") {
		return &flaw{fmt.Sprintf("%s is not a name that a certificate could have", quote(value)), ""}
	}
	d.Instance.TLSName = strings.Trim(name, "[]")
	return nil
}

func parseUpstreamHost(d *draft, value string) *flaw {
	switch value {
	case "preserve":
		return nil
	case "address":
		d.Instance.HostIsAddress = true
		return nil
	}
	host, port := value, ""
	if i := strings.LastIndexByte(value, ':'); i >= 0 && i > strings.LastIndexByte(value, ']') {
		host, port = value[:i], value[i:]
		if _, f := number(port[1:], 1, 65535); f != nil {
			return &flaw{fmt.Sprintf("%s has no valid port", quote(value)), ""}
		}
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	switch {
	case err == nil && a.Zone() == "":
		host = hostOfAddr(a)
	case !validHostName(host):
		return &flaw{fmt.Sprintf("%s is not a host name", quote(value)), ""}
	}
	d.Instance.Host = host + port
	return nil
}

func parseBalance(d *draft, value string) *flaw {
	kind, name, named := cutSecond(value)
	b := &d.Options.Balance
	switch {
	case kind == "hash:header" && named && isToken(name):
		*b = upstream.Balance{Method: upstream.HashHeader, Name: strings.ToLower(name)}
	case kind == "hash:cookie" && named && isToken(name):
		*b = upstream.Balance{Method: upstream.HashCookie, Name: name}
	case kind == "hash:header" || kind == "hash:cookie":
		return &flaw{fmt.Sprintf("%s does not name what is hashed", quote(value)), kind + ":NAME"}
	default:
		method, f := choose(value, map[string]upstream.Method{
			"least": upstream.Least, "round-robin": upstream.RoundRobin, "random": upstream.Random, "hash:ip": upstream.HashIP,
		})
		if f != nil {
			f.instead += ", hash:header:NAME, hash:cookie:NAME"
			return f
		}
		b.Method = method
	}
	return nil
}

// cutSecond cuts s at its second colon.
func cutSecond(s string) (before, after string, found bool) {
	first, rest, ok := strings.Cut(s, ":")
	if !ok {
		return s, "", false
	}
	second, after, found := strings.Cut(rest, ":")
	return first + ":" + second, after, found
}

func parseWeight(d *draft, value string) (f *flaw) {
	d.Instance.Weight, f = number(value, 0, 1000)
	return f
}

func parseSticky(d *draft, value string) *flaw {
	if !isToken(value) || len(value) > maxRouteLen {
		return &flaw{fmt.Sprintf("%s is not a cookie name", quote(value)), ""}
	}
	d.Options.Sticky = value
	return nil
}

func parsePrefer(d *draft, value string) (f *flaw) {
	d.Options.Prefer, f = choose(value, map[string]upstream.Prefer{
		"node": upstream.PreferNode, "datacenter": upstream.PreferDatacenter,
	})
	return f
}

func parseCanary(d *draft, value string) *flaw {
	c := &upstream.Canary{}
	kind, rule, _ := strings.Cut(value, ":")
	switch {
	case strings.HasSuffix(value, "%"):
		percent, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return &flaw{fmt.Sprintf("%s is not a percentage", quote(value)), "0% to 100%"}
		}
		c.Percent = percent
	case kind == "header":
		name, want, _ := strings.Cut(rule, ":")
		// A name is a token before it is lower-cased: U+212A would become a k.
		name = trim(name)
		c.Header, c.Value = strings.ToLower(name), trim(want)
		if !isToken(name) || c.Value == "" {
			return &flaw{fmt.Sprintf("%s is not a header and its value", quote(rule)), "canary=header:NAME: VALUE"}
		}
	case kind == "cookie":
		name, want, _ := strings.Cut(rule, "=")
		c.Cookie, c.Value = trim(name), trim(want)
		if !isToken(c.Cookie) || c.Value == "" || strings.ContainsAny(c.Value, "\",;\\ ") {
			return &flaw{fmt.Sprintf("%s is not a cookie and its value", quote(rule)), "canary=cookie:NAME=VALUE"}
		}
	default:
		return &flaw{fmt.Sprintf("%s does not say which requests the canary takes", quote(value)), "canary=10%, canary=header:NAME: VALUE or canary=cookie:NAME=VALUE"}
	}
	d.Instance.Canary = c
	return nil
}

func parseCheck(d *draft, value string) *flaw {
	path, _, _ := strings.Cut(value, "?")
	if path == "" {
		path = value
	}
	if f := checkPath(path); f != nil {
		return f
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] >= 0x7f || value[i] == '#' {
			return &flaw{fmt.Sprintf("check %s contains a byte that no request has", quote(value)), fmt.Sprintf("%%%02X in its place", value[i])}
		}
	}
	d.Instance.Check.Path = value
	return nil
}

func parseCheckInterval(d *draft, value string) (f *flaw) {
	d.Instance.Check.Interval, f = duration(value, 100*time.Millisecond, time.Hour)
	return f
}

func parseCheckTimeout(d *draft, value string) (f *flaw) {
	d.Instance.Check.Timeout, f = duration(value, 10*time.Millisecond, 10*time.Minute)
	return f
}

func parseCheckStatus(d *draft, value string) *flaw {
	low, high, ranged := strings.Cut(value, "-")
	if !ranged {
		high = low
	}
	least, err := strconv.ParseUint(trim(low), 10, 16)
	most, err2 := strconv.ParseUint(trim(high), 10, 16)
	if err != nil || err2 != nil || least < 100 || most > 599 || least > most {
		return &flaw{fmt.Sprintf("%s is not a status or a range of them", quote(value)), "200, or 200-399, within 100-599"}
	}
	d.Instance.Check.StatusMin, d.Instance.Check.StatusMax = int(least), int(most)
	return nil
}

func parseWait(d *draft, value string) (f *flaw) {
	d.Options.Wait, f = duration(value, 0, time.Hour)
	return f
}

func parseRetries(d *draft, value string) (f *flaw) {
	d.Options.Retries, f = number(value, 0, 10)
	return f
}

func parseRetryPost(d *draft, value string) (f *flaw) {
	d.Options.RetryPost, f = choose(value, map[string]bool{"on": true, "off": false})
	return f
}

func parseTimeout(d *draft, value string) (f *flaw) {
	d.Options.Timeout, f = duration(value, time.Millisecond, longest)
	return f
}

func parseBodyIdle(d *draft, value string) (f *flaw) {
	d.Options.BodyIdle, f = duration(value, time.Millisecond, longest)
	return f
}

func parseMaxBody(d *draft, value string) (f *flaw) {
	d.Options.MaxBody, f = size(value)
	return f
}

func parseTLS(d *draft, value string) (f *flaw) {
	d.Options.TLS, f = choose(value, map[string]TLSMode{"auto": TLSAuto, "off": TLSOff, "only": TLSOnly})
	return f
}

// parseHSTS reads the hsts tag (RFC 6797 section 6.1).
func parseHSTS(d *draft, value string) *flaw {
	age := false
	for directive := range strings.SplitSeq(value, ";") {
		name, v, _ := strings.Cut(trim(directive), "=")
		if !isToken(name) || v != "" && !isToken(strings.Trim(v, `"`)) {
			return &flaw{fmt.Sprintf("%s is not a Strict-Transport-Security value", quote(value)), "max-age=31536000; includeSubDomains"}
		}
		if strings.EqualFold(name, "max-age") {
			_, err := strconv.ParseUint(strings.Trim(v, `"`), 10, 63)
			age = err == nil
		}
	}
	if !age {
		return &flaw{fmt.Sprintf("%s has no max-age in seconds", quote(value)), "max-age=31536000; includeSubDomains"}
	}
	d.Options.HSTS = value
	return nil
}

func parseProxyProtocol(d *draft, value string) (f *flaw) {
	d.Instance.ProxyProtocol, f = choose(value, map[string]uint8{"v1": 1, "v2": 2})
	return f
}

func parseMaxInflight(d *draft, value string) (f *flaw) {
	d.Instance.MaxInflight, f = number(value, 1, 1_000_000)
	return f
}
