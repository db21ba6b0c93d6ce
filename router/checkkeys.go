package router

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"serai/upstream"
)

// checkKeys are the keys that decide how an instance is probed.
func checkKeys() []key {
	return []key{{
		Key: Key{Name: "check", Value: "/PATH, grpc, grpc:SERVICE", Default: "TCP connect at start only", Example: "/up?x=1",
			Meaning: "path that is requested as a health check; with an HTTP/2 scheme also `grpc`: gRPC's health service (`grpc.health.v1`), which passes with `SERVING`, for SERVICE or for the whole server. Not Nomad's own `check` block: see below"},
		parse:  parseCheck,
		also:   []string{"health", "health-check", "healthcheck", "check-path"},
		member: func(_ *upstream.Member, t *upstream.Target) string { return checkWord(&t.Check) },
	}, {
		Key: Key{Name: "check-interval", Value: "DURATION", Default: "5s", Example: "90s", With: "check=/up",
			Meaning: "pause between two probes, at least `--min-check-interval` after a good one"},
		parse:  parseCheckInterval,
		also:   []string{"interval"},
		member: ofCheck(func(c *upstream.Check) string { return durationWord(c.Interval) }),
	}, {
		Key: Key{Name: "check-timeout", Value: "DURATION", Default: "2s", Example: "10m", With: "check=/up",
			Meaning: "longest time of one probe, at most `--max-check-time`"},
		parse:  parseCheckTimeout,
		member: ofCheck(func(c *upstream.Check) string { return durationWord(c.Timeout) }),
	}, {
		Key: Key{Name: "check-status", Value: "N or N-N", Default: "200-399", Example: "204", With: "check=/up",
			Meaning: "statuses that pass"},
		parse: parseCheckStatus,
		member: ofCheck(func(c *upstream.Check) string {
			if c.GRPC {
				return ""
			}
			return fmt.Sprintf("%d-%d", c.StatusMin, c.StatusMax)
		}),
	}}
}

// ofCheck restricts a word to members with an active check.
func ofCheck(word func(*upstream.Check) string) func(*upstream.Member, *upstream.Target) string {
	return func(_ *upstream.Member, t *upstream.Target) string {
		if t.Check.Path == "" {
			return ""
		}
		return word(&t.Check)
	}
}

func checkWord(c *upstream.Check) string {
	switch {
	case !c.GRPC:
		return c.Path
	case c.Service == "":
		return "grpc"
	}
	return "grpc:" + c.Service
}

// parseGRPCCheck reads what follows check=grpc.
func parseGRPCCheck(d *draft, value, service string) *flaw {
	const longest = 200
	for i := range len(service) {
		if service[i] <= ' ' || service[i] >= 0x7f {
			return &flaw{fmt.Sprintf("%s is not the name of a gRPC service", quote(value)), "check=grpc:package.Service, or check=grpc"}
		}
	}
	if len(service) > longest {
		return &flaw{fmt.Sprintf("%s is longer than %d bytes", quote(value), longest), "check=grpc"}
	}
	d.Instance.Check.Path, d.Instance.Check.GRPC, d.Instance.Check.Service = upstream.HealthMethod, true, service
	return nil
}

func parseCheck(d *draft, value string) *flaw {
	if kind, service, _ := strings.Cut(value, ":"); kind == "grpc" {
		return parseGRPCCheck(d, value, service)
	}
	if value == "nomad" { // docs/decisions/0015
		return &flaw{"Nomad tells nobody of a change of its checks, so serai does not know their results", `check=/PATH, which serai requests itself; or provider = "consul" in the service block, whose checks count`}
	}
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
	if most < 200 {
		return &flaw{fmt.Sprintf("no answer ends with %s: a status below 200 is followed by another one", quote(value)), "200, or 200-399, within 100-599"}
	}
	d.Instance.Check.StatusMin, d.Instance.Check.StatusMax = int(least), int(most)
	return nil
}
