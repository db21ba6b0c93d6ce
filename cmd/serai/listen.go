package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"serai/front"
)

// bind opens an address for one of the listener flags: see front.Listen.
func bind(address, flag string, shared bool, writeIdle time.Duration) (net.Listener, error) {
	l, err := front.Listen(address, shared, writeIdle)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("listen on %s: %w; ports below 1024 need root, the capability net_bind_service, or the sysctl net.ipv4.ip_unprivileged_port_start; or set --%s", address, err, flag)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w; free the address or set --%s", address, err, flag)
	}
	return l, nil
}
