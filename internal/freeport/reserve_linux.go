package freeport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// reserved keeps the sockets that mark ports as used from being garbage collected.
var reserved []net.Listener

// reserve marks a port for all processes of the machine, until this one ends, and
// reports whether no other one has. Tests of several packages run at once, and one
// could take a port between another one's check of it and its use.
func reserve(port int) bool {
	l, err := net.Listen("unix", fmt.Sprintf("@testnet-port-%d", port))
	if err != nil {
		return !errors.Is(err, syscall.EADDRINUSE)
	}
	mu.Lock()
	defer mu.Unlock()
	reserved = append(reserved, l)
	return true
}
