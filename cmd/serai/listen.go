package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"serai/front"
)

// bind opens an address for one of the listener flags: see front.Listen. The error says
// what to do, which depends on what is wrong.
func bind(address, flag string, shared bool, writeIdle time.Duration) (net.Listener, error) {
	if err := checkListen(address, flag); err != nil {
		return nil, &usageError{err}
	}
	l, err := front.Listen(address, shared, writeIdle)
	return l, bindError(err, address, flag)
}

// bindError says what to do about an address that could not be opened, nil for nil.
func bindError(err error, address, flag string) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("listen on %s: %w; ports below 1024 need root, the capability net_bind_service, or the sysctl net.ipv4.ip_unprivileged_port_start; or set --%s", address, err, flag)
	case errors.As(err, &dns):
		return fmt.Errorf("listen on %s: %w; --%s wants an address of this machine, or only a port, for all of them", address, err, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: %w; --%s wants an address that this machine has now, or only a port, for all of them", address, err, flag)
	case err != nil:
		return fmt.Errorf("listen on %s: %w; free the address or set --%s", address, err, flag)
	}
	return nil
}

// checkListen says what is wrong with the form of an address to listen on, and how to
// write what was probably meant.
func checkListen(address, flag string) error {
	refuse := func(want string) error {
		return fmt.Errorf("--%s=%s is no address to listen on: want %s", flag, address, want)
	}
	host, port, err := net.SplitHostPort(address)
	ip, ipErr := netip.ParseAddr(strings.Trim(address, "[]"))
	_, number := strconv.ParseUint(address, 10, 16)
	switch at := strings.LastIndexByte(address, ':'); {
	case strings.ContainsRune(address, ','):
		return refuse("one address; only a port, such as :80, is that port of all addresses of this machine")
	case err != nil && number == nil:
		return refuse(":" + address)
	case err != nil && ipErr == nil && ip.Is4(), err != nil && strings.HasPrefix(address, "["):
		return refuse(address + ":PORT")
	case err != nil && at > 0 && isIPv6(address[:at]) && strings.Trim(address[at+1:], "0123456789") == "" && address[at+1:] != "":
		return refuse("[" + address[:at] + "]" + address[at:] + ", where " + address[at+1:] + " is the port")
	case err != nil && ipErr == nil:
		return refuse("[" + address + "]:PORT")
	case err != nil, strings.ContainsAny(host, "/"):
		return refuse("HOST:PORT or :PORT")
	}
	if n, err := strconv.ParseInt(port, 10, 64); err == nil && (n < 0 || n > 65535) || port == "" {
		return refuse("a port from 1 to 65535")
	}
	return nil
}

func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6()
}
