package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// logLevel is a flag that takes DEBUG, INFO, WARN or ERROR, in any case.
type logLevel slog.Level

// UnmarshalText reads a level, also with an offset: INFO+2.
func (l *logLevel) UnmarshalText(text []byte) error {
	if err := (*slog.Level)(l).UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is not DEBUG, INFO, WARN or ERROR", text)
	}
	return nil
}

// duration is a flag that may not be negative.
type duration time.Duration

// UnmarshalText reads 500ms, 10s, 2m.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 500ms, 10s or 2m", text)
	}
	if v < 0 {
		return fmt.Errorf("%v is negative", v)
	}
	*d = duration(v)
	return nil
}

func (d duration) value() time.Duration { return time.Duration(d) }

// cidr is a flag that takes 10.0.0.0/8, and 10.0.0.1 for one address.
type cidr netip.Prefix

// UnmarshalText reads an address or a prefix.
func (c *cidr) UnmarshalText(text []byte) error {
	// A zone may contain anything: fe80::%eth0/10 is not one address.
	if a, err := netip.ParseAddr(string(text)); err == nil && !strings.Contains(a.Zone(), "/") {
		a = a.Unmap()
		*c = cidr(netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an address or CIDR such as 10.0.0.0/8", text)
	}
	// Addresses are compared as IPv4 where they are: ::ffff:10.0.0.0/104 is
	// 10.0.0.0/8.
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	*c = cidr(p.Masked())
	return nil
}

func prefixes(list []cidr) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, c := range list {
		all[i] = netip.Prefix(c)
	}
	return all
}
