package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// binder says why addresses could not be listened on.
type binder struct {
	shared bool // with --reuse-port
	had    []netip.AddrPort
}

// try says why an address could not be listened on, beside those before, in the words of
// bind. It does not listen: with --reuse-port the kernel would give it connections of a serai
// that runs.
func (b *binder) try(address, flag string) error {
	if err := checkListen(address, flag); err != nil {
		return &usageError{err}
	}
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return bindError(err, address, flag)
	}
	at := resolved.AddrPort()
	if !b.shared && slices.ContainsFunc(b.had, func(o netip.AddrPort) bool { return overlap(o, at) }) {
		err = os.NewSyscallError("bind", unix.EADDRINUSE)
	} else {
		err = bindOnly(at, b.shared)
	}
	b.had = append(b.had, at)
	return bindError(err, address, flag)
}

// overlap reports whether one process cannot listen on both.
func overlap(a, b netip.AddrPort) bool {
	return a.Port() != 0 && a.Port() == b.Port() && (everywhere(a.Addr()) || everywhere(b.Addr()) || a.Addr().Unmap() == b.Addr().Unmap())
}

// everywhere reports whether a is all of this machine, of both families as the net package has it.
func everywhere(a netip.Addr) bool { return !a.IsValid() || a.Unmap().IsUnspecified() }

// bindOnly binds a socket, and closes it. An address that is not valid is all of this machine.
func bindOnly(at netip.AddrPort, shared bool) error {
	family, dual := unix.AF_INET6, everywhere(at.Addr())
	if at.Addr().Unmap().Is4() && !dual {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && dual { // a machine without IPv6
		family, dual = unix.AF_INET, false
		fd, err = unix.Socket(family, unix.SOCK_STREAM, 0)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}}
	if shared {
		options = append(options, [2]int{unix.SOL_SOCKET, unix.SO_REUSEPORT})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	var socket unix.Sockaddr
	if family == unix.AF_INET {
		v4 := &unix.SockaddrInet4{Port: int(at.Port())}
		if a := at.Addr().Unmap(); a.Is4() {
			v4.Addr = a.As4()
		}
		socket = v4
	} else {
		if dual {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		v6 := &unix.SockaddrInet6{Port: int(at.Port())}
		if !dual {
			v6.Addr = at.Addr().As16()
		}
		if zone := at.Addr().Zone(); zone != "" {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return fmt.Errorf("interface %s: %w", zone, err)
			}
			v6.ZoneId = uint32(i.Index)
		}
		socket = v6
	}
	return os.NewSyscallError("bind", unix.Bind(fd, socket))
}

// boundNowhere is what check has in the place of a listener.
type boundNowhere struct{}

// Accept fails.
func (boundNowhere) Accept() (net.Conn, error) { return nil, net.ErrClosed }

// Close does nothing.
func (boundNowhere) Close() error { return nil }

// Addr is no address.
func (boundNowhere) Addr() net.Addr { return &net.UnixAddr{} }
