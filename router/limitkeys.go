package router

import (
	"strconv"
	"time"
)

// limitKeys are the keys for timeouts, retries and sizes.
func limitKeys() []key {
	return []key{{
		Key: Key{Name: "wait", Value: "DURATION", Default: "10s", Example: "0s",
			Meaning: "how long requests wait when no instance is ready (a redeploy with count = 1); with 0s they do not wait"},
		parse: parseWait,
		route: func(o *RouteOptions) string { return durationWord(o.Wait) },
	}, {
		Key: Key{Name: "retries", Value: "0 to 10", Default: "1", Example: "0",
			Meaning: "retries, each on another instance, if need be after waiting for one. A request is retried only if the instance has not processed it, or it is idempotent (GET, HEAD, OPTIONS, PUT, DELETE, TRACE, and no upgrade), or has an `Idempotency-Key`"},
		parse: parseRetries,
		also:  []string{"retry", "attempts"},
		route: func(o *RouteOptions) string { return strconv.Itoa(o.Retries) },
	}, {
		Key: Key{Name: "retry-post", Value: "on, off", Default: "off", Example: "on",
			Meaning: "`on`: requests of this route may be retried whatever their method, even if the instance may have processed them"},
		parse: parseRetryPost,
		also:  []string{"retry-non-idempotent"},
		route: func(o *RouteOptions) string {
			if !o.RetryPost {
				return ""
			}
			return "on"
		},
	}, {
		Key: Key{Name: "timeout", Value: "DURATION", Default: "60s", Example: "1h30m",
			Meaning: "time to the first byte of the response head"},
		parse: parseTimeout,
		also:  []string{"response-timeout", "read-timeout"},
		route: func(o *RouteOptions) string { return durationWord(o.Timeout) },
	}, {
		Key: Key{Name: "body-idle", Value: "DURATION", Default: "60s", Example: "10s",
			Meaning: "time of each later wait for more of the response"},
		parse: parseBodyIdle,
		also:  []string{"idle-timeout"},
		route: func(o *RouteOptions) string { return durationWord(o.BodyIdle) },
	}, {
		Key: Key{Name: "max-body", Value: "SIZE", Default: "none", Example: "1536k",
			Meaning: "largest request body; 413 beyond"},
		parse: parseMaxBody,
		also:  []string{"body-size", "max-body-size", "client-max-body-size"},
		route: func(o *RouteOptions) string {
			if o.MaxBody == 0 {
				return ""
			}
			return sizeWord(o.MaxBody)
		},
	}}
}

func parseRetryPost(d *draft, value string) (f *flaw) {
	d.Options.RetryPost, f = wordList[bool]{{"on", true}, {"off", false}}.parse(value)
	return f
}

func parseWait(d *draft, value string) (f *flaw) {
	d.Options.Wait, f = duration(value, 0, time.Hour)
	return f
}

func parseRetries(d *draft, value string) (f *flaw) {
	d.Options.Retries, f = number(value, 0, 10)
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
