package main

import (
	"errors"
	"fmt"

	"serai/internal/memory"
	"serai/proxy"
)

// errorPageFlags bound what the pages cost that answers with errors show.
type errorPageFlags struct {
	Bytes   int64    `name:"error-page-bytes" default:"262144" help:"Bytes of one page that answers with errors show; one that is larger is not shown." group:"Limits"`
	Timeout duration `name:"error-page-timeout" default:"2s" help:"Time that such a page takes, and that an answer waits for one; then it keeps its own body." group:"Limits"`
	Keep    duration `name:"error-page-keep" default:"10s" help:"How long such a page is shown before it is asked for again; 0 asks for it with each error." group:"Limits"`
	Memory  int64    `name:"error-pages-memory" default:"4194304" help:"Bytes of all such pages that are kept or sent, a 32nd of the memory at most. A namespace has half of it; whose pages have the most make room." group:"Limits"`
	Fetches int      `name:"error-page-fetches" default:"64" help:"Such pages that are asked for at once; those of one namespace are a quarter. Answers beyond keep their own body." group:"Limits"`
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
