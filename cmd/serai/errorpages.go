package main

import (
	"errors"
	"fmt"

	"serai/internal/memory"
	"serai/proxy"
)

// errorPageFlags bound what the pages cost that answers with errors show.
type errorPageFlags struct {
	Bytes   int64    `name:"error-page-bytes" default:"262144" help:"Bytes of one error page (errors); a larger page is not used." group:"Limits"`
	Timeout duration `name:"error-page-timeout" default:"2s" help:"Timeout for fetching an error page; the response then keeps its own body." group:"Limits"`
	Keep    duration `name:"error-page-keep" default:"10s" help:"How long an error page is cached; 0 fetches it for each error." group:"Limits"`
	Memory  int64    `name:"error-pages-memory" default:"4194304" help:"Bytes of all error pages that are cached or being sent; at most a 32nd of the memory. A namespace has half of it; when it is full, the namespace with the most loses pages first." group:"Limits"`
	Fetches int      `name:"error-page-fetches" default:"64" help:"Concurrent fetches of error pages, a quarter of them for one namespace; responses beyond keep their own body." group:"Limits"`
}

// validate reports all that is wrong with the flags.
func (f *errorPageFlags) validate() error {
	var errs []error
	for _, l := range []struct {
		name       string
		value, low int64
	}{{"error-page-bytes", f.Bytes, 1}, {"error-pages-memory", f.Memory, 1}, {"error-page-fetches", int64(f.Fetches), 1}} {
		if l.value < l.low {
			errs = append(errs, fmt.Errorf("--%s=%d is not at least %d", l.name, l.value, l.low))
		}
	}
	if f.Timeout == 0 {
		errs = append(errs, errors.New("--error-page-timeout wants more than 0"))
	}
	return errors.Join(errs...)
}

// options are the flags as the proxy takes them. Limit is what the process may use, in
// bytes; 0 when nobody sets a limit.
func (f *errorPageFlags) options(limit int64, b *memory.Budget) proxy.PageOptions {
	most := f.Memory
	if limit > 0 {
		most = min(most, limit/32)
	}
	return proxy.PageOptions{
		MaxBytes: f.Bytes, Timeout: f.Timeout.value(), Keep: orNever(f.Keep.value()), MaxMemory: most, MaxFetches: f.Fetches, Memory: b,
	}
}
