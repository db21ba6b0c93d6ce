package upstream_test

import (
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"serai/upstream"
)

// TestAStartIsFound opens ports a while after the registration. How soon each is found
// is tested by the prober's model test, which has a clock of its own.
func TestAStartIsFound(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	for _, takes := range []time.Duration{70 * time.Millisecond, 520 * time.Millisecond, 1100 * time.Millisecond} {
		address := free(t)
		e := r.Acquire(upstream.Target{Address: address, Instance: takes.String()})
		defer r.Release(e)
		time.Sleep(takes)
		listen(t, address)
		await(t, "ready", func() bool { return e.State() == upstream.Ready })
	}
}

// TestSilentAddressesAreInNobodysWay has more addresses that drop packets than there
// are places, and each look lasts longer than this test: an instance that starts beside
// them is found all the same.
func TestSilentAddressesAreInNobodysWay(t *testing.T) {
	r := run(t, upstream.RegistryOptions{Probes: 4, ConnectTimeout: 4 * long})
	for i := range 12 {
		e := r.Acquire(upstream.Target{Address: silent(t), Instance: string(rune('a' + i))})
		defer r.Release(e)
	}
	time.Sleep(50 * time.Millisecond)
	address := free(t)
	e := r.Acquire(upstream.Target{Address: address, Instance: "starts"})
	defer r.Release(e)
	time.Sleep(300 * time.Millisecond)
	listen(t, address)
	await(t, "ready, beside addresses that say nothing", func() bool { return e.State() == upstream.Ready })
}

// silent returns an address whose listener's queue is full: the kernel drops new
// connections.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*syscall.SockaddrInet4).Port))
	// One connection fits in the queue.
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return address
}
