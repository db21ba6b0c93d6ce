package main

import (
	"errors"
	"fmt"
)

// validateShares checks the flags that are a share of something. NaN is none.
func (c *serveCommand) validateShares() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value float64
	}{{"access-log-sample", c.AccessLogSample}, {"retry-share", c.RetryShare}} {
		if !(f.value >= 0 && f.value <= 1) {
			errs = append(errs, fmt.Errorf("--%s=%v is not between 0 and 1", f.name, f.value))
		}
	}
	if !(c.EjectShare >= 0 && c.EjectShare < 1) {
		errs = append(errs, fmt.Errorf("--eject-share=%v is not at least 0 and below 1", c.EjectShare))
	}
	return errors.Join(errs...)
}
